package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// span is one range of a cut list, counted from 1, both ends in it.
type span struct{ from, to int }

const noEnd = int(^uint(0) >> 1)

func cut(p *proc, args []string) error {
	o, names, err := parse("b/bytes: c/characters: f/fields: d/delimiter: s/only-delimited n complement output-delimiter:", args)
	if err != nil {
		return err
	}
	kind, list := "", ""
	for _, k := range []string{"b", "c", "f"} {
		if o.has(k) {
			if kind != "" {
				return usagef("only one type of list may be specified")
			}
			kind, list = k, o.value(k, "")
		}
	}
	if kind == "" {
		return usagef("you must specify a list of bytes, characters, or fields")
	}
	spans, err := parseSpans(list)
	if err != nil {
		return err
	}
	delimiter := o.value("d", "\t")
	if len([]rune(delimiter)) != 1 {
		return usagef("the delimiter must be a single character")
	}
	return p.inputs(names, func(_ string, r io.Reader) error {
		return lines(r, func(line []byte, _ bool) error {
			switch kind {
			case "b":
				line = bytes.Join(pick(split(line, 1), spans), nil)
			case "c":
				line = bytes.Join(pick(bytes.Split(line, nil), spans), nil)
			default:
				if !bytes.Contains(line, []byte(delimiter)) {
					if o.has("s") {
						return nil
					}
					break
				}
				line = bytes.Join(pick(bytes.Split(line, []byte(delimiter)), spans), []byte(delimiter))
			}
			p.out.Write(line)
			return p.out.WriteByte('\n')
		})
	})
}

func split(line []byte, size int) [][]byte {
	return slices.Collect(slices.Chunk(line, size))
}

func pick(parts [][]byte, spans []span) [][]byte {
	var kept [][]byte
	for i, part := range parts {
		if slices.ContainsFunc(spans, func(s span) bool { return s.from <= i+1 && i+1 <= s.to }) {
			kept = append(kept, part)
		}
	}
	return kept
}

func parseSpans(list string) ([]span, error) {
	var spans []span
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		low, high, isRange := strings.Cut(item, "-")
		s := span{1, noEnd}
		var err error
		if low != "" || !isRange {
			s.from, err = strconv.Atoi(low)
		}
		if err == nil && high != "" {
			s.to, err = strconv.Atoi(high)
		}
		if !isRange {
			s.to = s.from
		}
		if err != nil || s.from < 1 || s.to < s.from || item == "-" {
			return nil, usagef("invalid range %q", item)
		}
		spans = append(spans, s)
	}
	if len(spans) == 0 {
		return nil, usagef("the list is empty")
	}
	return spans, nil
}

func tr(p *proc, args []string) error {
	o, sets, err := parse("+ c/complement C d/delete s/squeeze-repeats", args)
	if err != nil {
		return err
	}
	complement, remove, squeeze := o.has("c") || o.has("C"), o.has("d"), o.has("s")
	want := 2
	if remove != squeeze && (remove || len(sets) == 1) {
		want = 1
	}
	if len(sets) != want {
		return usagef("%d operands are needed, not %d", want, len(sets))
	}
	from, err := expandSet(sets[0])
	if err != nil {
		return err
	}
	var to []rune
	if want == 2 {
		if to, err = expandSet(sets[1]); err != nil {
			return err
		}
		if len(to) == 0 && !remove {
			return usagef("the second set is empty")
		}
	}
	in := map[rune]int{}
	for i, r := range from {
		if _, ok := in[r]; !ok || !complement {
			in[r] = i
		}
	}
	member := func(r rune) (int, bool) {
		i, ok := in[r]
		if complement {
			return noEnd, !ok
		}
		return i, ok
	}
	squeezed := func(r rune) bool { _, ok := member(r); return ok }
	if want == 2 {
		squeezed = func(r rune) bool { return slices.Contains(to, r) }
	}
	previous := rune(-1)
	return p.inputs(nil, func(_ string, r io.Reader) error {
		return eachRune(r, func(c rune, raw []byte) error {
			if i, ok := member(c); ok {
				if remove {
					return nil
				}
				if want == 2 {
					c = to[min(i, len(to)-1)]
					raw = []byte(string(c))
				}
			}
			if squeeze && c == previous && squeezed(c) {
				return nil
			}
			previous = c
			_, err := p.out.Write(raw)
			return err
		})
	})
}

func paste(p *proc, args []string) error {
	o, names, err := parse("d/delimiters: s/serial", args)
	if err != nil {
		return err
	}
	delimiters := unescapeAll(o.value("d", "\t"))
	var columns [][]string
	err = p.inputs(names, func(_ string, r io.Reader) error {
		var column []string
		err := lines(r, func(line []byte, _ bool) error {
			column = append(column, string(line))
			return nil
		})
		columns = append(columns, column)
		return err
	})
	if err != nil {
		return err
	}
	rows := columns
	if !o.has("s") {
		longest := 0
		for _, column := range columns {
			longest = max(longest, len(column))
		}
		rows = make([][]string, longest)
		for i := range rows {
			for _, column := range columns {
				cell := ""
				if i < len(column) {
					cell = column[i]
				}
				rows[i] = append(rows[i], cell)
			}
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 && len(delimiters) > 0 {
				p.out.WriteRune(delimiters[(i-1)%len(delimiters)])
			}
			p.out.WriteString(cell)
		}
		p.out.WriteByte('\n')
	}
	return nil
}

func comm(p *proc, args []string) error {
	o, names, err := parse("1 2 3", args)
	if err != nil {
		return err
	}
	if len(names) != 2 {
		return usagef("two files are needed, not %d", len(names))
	}
	var files [2][]string
	i := 0
	err = p.inputs(names, func(_ string, r io.Reader) error {
		err := lines(r, func(line []byte, _ bool) error {
			files[i] = append(files[i], string(line))
			return nil
		})
		i++
		return err
	})
	if err != nil || p.failed {
		return err
	}
	show := func(column int, line string) {
		indent := 0
		for c := 1; c <= column; c++ {
			if c < column && !o.has(strconv.Itoa(c)) {
				indent++
			}
		}
		if !o.has(strconv.Itoa(column)) {
			fmt.Fprintf(p.out, "%s%s\n", strings.Repeat("\t", indent), line)
		}
	}
	a, b := files[0], files[1]
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			show(1, a[0])
			a = a[1:]
		case len(a) == 0 || b[0] < a[0]:
			show(2, b[0])
			b = b[1:]
		default:
			show(3, a[0])
			a, b = a[1:], b[1:]
		}
	}
	return nil
}
