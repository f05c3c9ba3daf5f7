package arg_test

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/arg"
)

// An expandCase is one line of testdata/expand.txt, where the notation is explained.
type expandCase struct {
	line    int
	options arg.Options
	words   bool
	env     arg.Values
	input   string
	want    string
	bad     bool
}

func readCorpus(tb testing.TB) []expandCase {
	tb.Helper()
	f, err := os.Open("testdata/expand.txt")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var cases []expandCase
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, " |")
		if len(fields) < 4 {
			tb.Fatalf("line %d: want mode | environment | input | result", n)
		}
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		c := expandCase{line: n, env: environment(tb, n, fields[1]), input: unquote(tb, n, fields[2])}
		mode, escape := strings.CutSuffix(fields[0], "`")
		if escape {
			c.options.Escape = '`'
		}
		mode, c.words = strings.CutSuffix(mode, "+")
		quotes, ok := map[string]arg.QuoteMode{"text": arg.Text, "word": arg.Word, "body": arg.Body}[mode]
		if !ok {
			tb.Fatalf("line %d: unknown mode %q", n, fields[0])
		}
		c.options.Quotes = quotes
		result := fields[3]
		if result == "" || (result[0] != '=' && result[0] != '!') {
			tb.Fatalf("line %d: the result starts with neither = nor !", n)
		}
		c.want, c.bad = unquote(tb, n, result[1:]), result[0] == '!'
		cases = append(cases, c)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return cases
}

// unquote reads a field that starts with go" as a Go string.
func unquote(tb testing.TB, line int, s string) string {
	tb.Helper()
	quoted, ok := strings.CutPrefix(s, "go\"")
	if !ok {
		return s
	}
	u, err := strconv.Unquote("\"" + quoted)
	if err != nil {
		tb.Fatalf("line %d: %s: %v", line, s, err)
	}
	return u
}

func environment(tb testing.TB, line int, s string) arg.Values {
	tb.Helper()
	env := arg.Values{"E": "", "A": "1", "P": "/x/y.tar.gz", "S": "a  b", "D": "$A", "Q": `"q"`}
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			tb.Fatalf("line %d: no '=' in environment %q", line, s)
		}
		value, after, _ := strings.Cut(rest, " ")
		if quoted, ok := strings.CutPrefix(rest, "go"); ok && strings.HasPrefix(quoted, `"`) {
			prefix, err := strconv.QuotedPrefix(quoted)
			if err != nil {
				tb.Fatalf("line %d: %s: %v", line, rest, err)
			}
			value, after = unquote(tb, line, "go"+prefix), quoted[len(prefix):]
		}
		env[name], s = value, after
	}
	return env
}

func TestCorpus(t *testing.T) {
	cases := readCorpus(t)
	if len(cases) < 150 {
		t.Fatalf("only %d cases; the corpus is damaged", len(cases))
	}
	for _, c := range cases {
		got, err := expand(c)
		switch {
		case c.bad && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("line %d: %q gives %q, %v; want an error with %q", c.line, c.input, got, err, c.want)
		case c.bad:
			checkError(t, c, err)
		case err != nil || got != c.want:
			t.Errorf("line %d: %q gives %q, %v; want %q", c.line, c.input, got, err, c.want)
		}
	}
}

func expand(c expandCase) (string, error) {
	if !c.words {
		return arg.Expand(c.input, c.env.Lookup, c.options)
	}
	words, err := arg.ExpandWords(c.input, c.env.Lookup, c.options)
	var b strings.Builder
	for _, w := range words {
		b.WriteString("[" + w + "]")
	}
	return b.String(), err
}

// checkError asserts that err is typed and points into the text.
func checkError(t *testing.T, c expandCase, err error) {
	t.Helper()
	var syntax *arg.SyntaxError
	var unset *arg.UnsetError
	switch {
	case errors.As(err, &syntax):
		if syntax.Text != c.input || syntax.Offset < 0 || syntax.Offset > len(c.input) {
			t.Errorf("line %d: %#v does not point into %q", c.line, syntax, c.input)
		}
	case errors.As(err, &unset):
		if unset.Offset < 0 || unset.Offset >= len(c.input) || c.input[unset.Offset] != '$' {
			t.Errorf("line %d: offset %d of %q is no dollar sign", c.line, unset.Offset, c.input)
		}
		if unset.Empty != (unset.Name == "E") {
			t.Errorf("line %d: Empty is %v for %s", c.line, unset.Empty, unset.Name)
		}
	default:
		t.Errorf("line %d: error of type %T", c.line, err)
	}
}
