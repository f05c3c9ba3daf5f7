package conformance

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// modes applies the lines of a "modes" file; the package comment has the notation.
func (s *fileset) modes(text string) error {
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		words, err := modeWords(line)
		if err != nil {
			return fmt.Errorf("modes: %q: %w", line, err)
		}
		if form, ok := archiveForm(words); ok {
			inside := &fileset{byPath: map[string]*entry{}, archive: true}
			first := i + 1
			for i+1 < len(lines) && (strings.HasPrefix(lines[i+1], " ") || strings.HasPrefix(lines[i+1], "\t")) {
				i++
			}
			if err := inside.modes(undent(lines[first : i+1])); err != nil {
				return err
			}
			data, err := inside.pack(form)
			if err != nil {
				return err
			}
			err = s.add(&entry{path: strings.TrimSuffix(words[1], ":"), kind: kindFile, mode: 0o644, data: data})
			if err != nil {
				return fmt.Errorf("modes: %q: %w", line, err)
			}
			continue
		}
		if err := s.mode(words); err != nil {
			return fmt.Errorf("modes: %q: %w", line, err)
		}
	}
	return nil
}

func archiveForm(words []string) (string, bool) {
	if len(words) != 2 || !strings.HasSuffix(words[1], ":") {
		return "", false
	}
	form, ok := strings.CutPrefix(words[0], "tar")
	return strings.TrimPrefix(form, "."), ok
}

func undent(lines []string) string {
	trimmed := make([]string, len(lines))
	for i, l := range lines {
		trimmed[i] = strings.TrimSpace(l)
	}
	return strings.Join(trimmed, "\n")
}

// modeWords splits at blanks; a word in double quotes is a Go string.
func modeWords(line string) ([]string, error) {
	var words []string
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " \t") {
		if rest[0] != '"' {
			end := strings.IndexAny(rest, " \t")
			if end < 0 {
				end = len(rest)
			}
			words = append(words, rest[:end])
			rest = rest[end:]
			continue
		}
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, err
		}
		word, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, err
		}
		words = append(words, word)
		rest = rest[len(quoted):]
	}
	return words, nil
}

// mode applies one line.
func (s *fileset) mode(words []string) error {
	switch {
	case len(words) == 3 && words[1] == "->":
		return s.add(&entry{path: words[0], kind: kindLink, mode: 0o777, target: words[2]})
	case len(words) == 3 && words[1] == "=>":
		e := &entry{path: words[0], kind: kindHard, target: words[2]}
		if to := s.byPath[e.target]; to != nil {
			e.mode, e.uid, e.gid = to.mode, to.uid, to.gid // what the header of a link says again
		}
		return s.add(e)
	case len(words) == 2 && (words[0] == "fifo" || words[0] == "socket"):
		return s.add(&entry{path: words[1], kind: kind(words[0]), mode: 0o644})
	case len(words) == 3 && words[0] == "base64":
		data, err := base64.StdEncoding.DecodeString(words[2])
		if err != nil {
			return err
		}
		return s.add(&entry{path: words[1], kind: kindFile, mode: 0o644, data: data})
	case len(words) == 3 && (words[0] == "char" || words[0] == "block"):
		var major, minor uint32
		if _, err := fmt.Sscanf(words[1], "%d:%d", &major, &minor); err != nil {
			return err
		}
		return s.add(&entry{path: words[2], kind: kind(words[0]), mode: 0o644, major: major, minor: minor})
	case len(words) >= 3 && words[0] == "xattr":
		return s.xattr(words[1], strings.Join(words[2:], " "))
	case len(words) == 3 && words[0] == "dir":
		return s.dirEntry(words[1], "0:0", words[2])
	case len(words) == 4 && words[0] == "dir":
		return s.dirEntry(words[1], words[2], words[3])
	case len(words) == 3 || len(words) == 4:
		return s.chmod(words)
	}
	return fmt.Errorf("not an entry of modes")
}

func (s *fileset) dirEntry(mode, owner, path string) error {
	e := &entry{path: strings.TrimSuffix(path, "/"), kind: kindDir}
	if s.archive {
		e.path = path
	}
	if err := e.set(mode, owner); err != nil {
		return err
	}
	return s.add(e)
}

// chmod is "MODE UID:GID PATH", of what is there or of a new file whose content follows.
func (s *fileset) chmod(words []string) error {
	e := s.byPath[strings.TrimSuffix(words[2], "/")]
	switch {
	case len(words) == 4 || s.archive && e == nil:
		e = &entry{path: words[2], kind: kindFile}
		if len(words) == 4 {
			e.data = []byte(words[3])
		}
		if err := s.add(e); err != nil {
			return err
		}
	case e == nil && words[2] == ".":
		e = &entry{path: ".", kind: kindDir, mode: 0o755}
		if err := s.add(e); err != nil {
			return err
		}
	case e == nil:
		return fmt.Errorf("no file %s", words[2])
	}
	return e.set(words[0], words[1])
}

func (s *fileset) xattr(path, pair string) error {
	e := s.byPath[path]
	if e == nil {
		return fmt.Errorf("no file %s", path)
	}
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		return fmt.Errorf("no value")
	}
	e.xattrs = append(e.xattrs, Pair{name, value})
	return nil
}

// set parses mode and owner, each of which may be "-".
func (e *entry) set(mode, owner string) error {
	if mode != "-" {
		m, err := strconv.ParseUint(mode, 8, 12)
		if err != nil {
			return fmt.Errorf("mode %q is not octal up to 7777", mode)
		}
		e.mode = uint32(m)
	}
	if owner == "-" {
		return nil
	}
	uid, gid, ok := strings.Cut(owner, ":")
	var err1, err2 error
	e.uid, err1 = strconv.Atoi(uid)
	e.gid, err2 = strconv.Atoi(gid)
	if !ok || err1 != nil || err2 != nil {
		return fmt.Errorf("owner %q is not UID:GID", owner)
	}
	return nil
}
