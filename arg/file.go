package arg

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// MaxFile bounds a file of values, in bytes.
const MaxFile = 1 << 20

// ReadValues reads the values of arguments from a file of lines NAME=VALUE. Blank lines
// and lines that begin with "#" are left out; blanks around a line and its name do
// not count; a value is taken as it stands, quotes and "$" included. An argument that
// stands twice is an error, and so is a text of more than [MaxFile] bytes.
//
// name stands in messages. Errors are a [FileError], except those of reading.
func ReadValues(r io.Reader, name string) (Values, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("arguments of %s: %w", name, err)
	}
	if len(text) > MaxFile {
		return nil, fmt.Errorf("arguments of %s: %w: it has more than %d bytes", name, ErrLimit, MaxFile)
	}
	values, lines := Values{}, map[string]int{}
	scan := bufio.NewScanner(bytes.NewReader(bytes.TrimPrefix(text, []byte("\uFEFF"))))
	scan.Buffer(nil, MaxFile+1)
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		var msg string
		switch {
		case !ok || key == "":
			msg = "want NAME=VALUE"
		case strings.ContainsFunc(key, func(r rune) bool { return r == ' ' || r == '\t' }):
			msg = fmt.Sprintf("the name %q has blanks in it", key)
		case lines[key] > 0:
			msg = fmt.Sprintf("%s stands in line %d already", key, lines[key])
		case !utf8.ValidString(line) || strings.ContainsRune(line, 0):
			msg = "it is no text (UTF-8)"
		}
		if msg != "" {
			return nil, &FileError{File: name, Line: n, Msg: msg}
		}
		values[key], lines[key] = value, n
	}
	return values, nil
}

// FileError is a line of a file of values that is wrong.
type FileError struct {
	File string
	Line int // from 1
	Msg  string
}

// Error names the line and says what is wrong with it.
func (e *FileError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Msg) }
