package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strconv"
	"strings"
)

// sortKey is one -k: fields and characters count from 1, 0 means the end of the line or field.
type sortKey struct {
	fromField, fromChar, toField, toChar int
	numeric, reverse, fold, blanks       bool
	// own is set when the key has letters of its own, so that the global ones do not apply.
	own bool
}

type sorter struct {
	keys      []sortKey
	separator string
	reverse   bool
	unique    bool
	stable    bool
	version   bool
}

func sortLines(p *proc, args []string) error {
	o, operands, err := parse("n/numeric-sort r/reverse u/unique f/ignore-case b/ignore-leading-blanks s/stable c/check V/version-sort h g m z k/key: t/field-separator: o/output: T:", args)
	if err != nil {
		return err
	}
	for _, name := range []string{"h", "g", "z"} {
		if o.has(name) {
			return usagef("-%s is not supported", name)
		}
	}
	s := &sorter{separator: o.value("t", ""), reverse: o.has("r"), unique: o.has("u"), stable: o.has("s"), version: o.has("V")}
	if s.separator == `\t` {
		s.separator = "\t"
	}
	if o.has("t") && len(s.separator) != 1 {
		return usagef("-t: one character is needed, not %q", s.separator)
	}
	for _, text := range o.values["k"] {
		key, err := parseSortKey(text)
		if err != nil {
			return err
		}
		if !key.own {
			key.numeric, key.reverse, key.fold, key.blanks = o.has("n"), o.has("r"), o.has("f"), o.has("b")
		}
		s.keys = append(s.keys, key)
	}
	if len(s.keys) == 0 {
		s.keys = []sortKey{{fromField: 1, fromChar: 1, numeric: o.has("n"), reverse: o.has("r"), fold: o.has("f"), blanks: o.has("b")}}
	}
	var all [][]byte
	err = p.inputs(operands, func(_ string, r io.Reader) error {
		return lines(r, func(line []byte, _ bool) error {
			all = append(all, bytes.Clone(line))
			return nil
		})
	})
	if err != nil {
		return err
	}
	if p.failed {
		return exitStatus(2) // an input that is missing is not a shorter output
	}
	if o.has("c") {
		return s.check(p, all)
	}
	slices.SortStableFunc(all, s.compare)
	if s.unique {
		all = slices.CompactFunc(all, func(a, b []byte) bool { return s.compareKeys(a, b) == 0 })
	}
	return writeLines(p, o.value("o", ""), all)
}

func (s *sorter) check(p *proc, all [][]byte) error {
	for i := 1; i < len(all); i++ {
		if d := s.compare(all[i-1], all[i]); d > 0 || d == 0 && s.unique {
			fmt.Fprintf(p.err, "sort: disorder at line %d: %s\n", i+1, all[i])
			return exitStatus(1)
		}
	}
	return nil
}

func writeLines(p *proc, name string, all [][]byte) error {
	var out bytes.Buffer
	if name == "" {
		for _, line := range all {
			p.out.Write(line)
			p.out.WriteByte('\n')
		}
		return nil
	}
	for _, line := range all {
		out.Write(line)
		out.WriteByte('\n')
	}
	// Only now: the output may be one of the inputs.
	return os.WriteFile(name, out.Bytes(), 0o666)
}

// compare orders by the keys, then by the whole line, in byte order: there are no locales here.
func (s *sorter) compare(a, b []byte) int {
	if c := s.compareKeys(a, b); c != 0 || s.stable || s.unique {
		return c
	}
	c := bytes.Compare(a, b)
	if s.reverse {
		return -c
	}
	return c
}

func (s *sorter) compareKeys(a, b []byte) int {
	for i := range s.keys {
		key := &s.keys[i]
		c := s.compareKey(key, s.cut(key, a), s.cut(key, b))
		if key.reverse {
			c = -c
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

func (s *sorter) compareKey(key *sortKey, a, b []byte) int {
	switch {
	case s.version:
		return compareVersions(string(a), string(b))
	case key.numeric:
		return compareNumbers(leadingNumber(a), leadingNumber(b))
	case key.fold:
		return bytes.Compare(bytes.ToUpper(a), bytes.ToUpper(b))
	}
	return bytes.Compare(a, b)
}

// cut returns the part of the line that the key names.
func (s *sorter) cut(key *sortKey, line []byte) []byte {
	from := s.offset(line, key.fromField, max(key.fromChar, 1), key.blanks)
	to := len(line)
	if key.toField > 0 {
		if key.toChar == 0 {
			to = s.fieldEnd(line, key.toField)
		} else {
			to = min(len(line), s.offset(line, key.toField, key.toChar, key.blanks)+1)
		}
	}
	if from >= to {
		return nil
	}
	return line[from:to]
}

func (s *sorter) offset(line []byte, field, char int, skipBlanks bool) int {
	at := 0
	for range field - 1 {
		if at = s.endFrom(line, at); s.separator != "" && at < len(line) {
			at++
		}
	}
	if skipBlanks {
		for at < len(line) && (line[at] == ' ' || line[at] == '\t') {
			at++
		}
	}
	return min(len(line), at+char-1)
}

func (s *sorter) fieldEnd(line []byte, field int) int {
	return s.endFrom(line, s.offset(line, field, 1, false))
}

// endFrom finds the end of the field that begins at at. Without a separator a field has the blanks before it.
func (s *sorter) endFrom(line []byte, at int) int {
	if s.separator != "" {
		if i := bytes.IndexByte(line[at:], s.separator[0]); i >= 0 {
			return at + i
		}
		return len(line)
	}
	for at < len(line) && (line[at] == ' ' || line[at] == '\t') {
		at++
	}
	for at < len(line) && line[at] != ' ' && line[at] != '\t' {
		at++
	}
	return at
}

func parseSortKey(text string) (sortKey, error) {
	var key sortKey
	from, to, hasTo := strings.Cut(text, ",")
	var err error
	if key.fromField, key.fromChar, err = key.position(text, from); err != nil {
		return key, err
	}
	if hasTo {
		key.toField, key.toChar, err = key.position(text, to)
	}
	return key, err
}

// position reads `field[.char][letters]`.
func (key *sortKey) position(text, s string) (field, char int, err error) {
	numbers := strings.TrimRight(s, "nrfbd")
	for _, letter := range s[len(numbers):] {
		key.own = true
		switch letter {
		case 'n':
			key.numeric = true
		case 'r':
			key.reverse = true
		case 'f':
			key.fold = true
		case 'b':
			key.blanks = true
		}
	}
	f, c, hasChar := strings.Cut(numbers, ".")
	field, err = strconv.Atoi(f)
	if err == nil && hasChar {
		char, err = strconv.Atoi(c)
	}
	if err != nil || field < 1 || char < 0 {
		return 0, 0, usagef("-k: invalid field specification %q", text)
	}
	return field, char, nil
}

// leadingNumber is the number that a line starts with, in a form that compareNumbers takes: "" is zero.
func leadingNumber(b []byte) string {
	s := strings.TrimLeft(string(b), " \t")
	end, point := 0, false
	if strings.HasPrefix(s, "-") {
		end = 1
	}
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == '.' && !point) {
		point = point || s[end] == '.'
		end++
	}
	return s[:end]
}

func compareNumbers(a, b string) int {
	// Numbers of any length are compared exactly; nearly all are short.
	if len(a) < 16 && len(b) < 16 {
		x, _ := strconv.ParseFloat(a, 64)
		y, _ := strconv.ParseFloat(b, 64)
		return cmp.Compare(x, y)
	}
	return exactNumber(a).Cmp(exactNumber(b))
}

func exactNumber(s string) *big.Rat {
	if x, ok := new(big.Rat).SetString(strings.TrimSuffix(s, ".")); ok {
		return x
	}
	return new(big.Rat)
}

// compareVersions compares runs of digits as numbers and the rest as text.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		da, db := digits(a), digits(b)
		if da > 0 && db > 0 {
			x, y := strings.TrimLeft(a[:da], "0"), strings.TrimLeft(b[:db], "0")
			if c := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y)); c != 0 {
				return c
			}
			a, b = a[da:], b[db:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(a[0], b[0])
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(len(a), len(b))
}

func digits(s string) int { return len(s) - len(strings.TrimLeft(s, "0123456789")) }
