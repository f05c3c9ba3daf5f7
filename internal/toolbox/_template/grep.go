package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// grepper is one call of grep: its pattern, what it prints, and whether it selected a line.
type grepper struct {
	*options
	p         *proc
	re        *regexp.Regexp
	withNames bool
	max       int // of -m, -1 without
	selected  bool
}

const grepOptions = `E/extended-regexp F/fixed-strings G/basic-regexp i/ignore-case y v/invert-match q/quiet/silent n/line-number c/count r/recursive R
	l/files-with-matches L/files-without-match o/only-matching w/word-regexp x/line-regexp s/no-messages h/no-filename H/with-filename
	a/text e/regexp: f/file: m/max-count: A/after-context: B/before-context: C/context:`

func grep(p *proc, args []string) error {
	o, operands, err := parse(grepOptions, withoutColour(args))
	if err != nil {
		return err
	}
	for _, context := range []string{"A", "B", "C"} {
		if o.has(context) {
			return usagef("-%s: context lines are not supported", context)
		}
	}
	g := &grepper{options: o, p: p, max: -1}
	if m := o.value("m", ""); m != "" {
		if g.max, err = strconv.Atoi(m); err != nil || g.max < 0 {
			return usagef("invalid max count %q", m)
		}
	}
	if operands, err = g.compile(operands); err != nil {
		return err
	}
	recursive := o.has("r") || o.has("R")
	if recursive && len(operands) == 0 {
		operands = []string{"."}
	}
	g.withNames = (len(operands) > 1 || recursive || o.has("H")) && !o.has("h")
	if recursive {
		operands = g.expand(operands)
		if len(operands) == 0 {
			return exitStatus(1)
		}
	}
	if g.has("s") {
		operands = g.readable(operands)
	}
	if err := p.inputs(operands, g.file); err != nil {
		return err
	}
	switch {
	case g.selected && (!p.failed || o.has("q")):
		return exitStatus(0)
	case p.failed:
		return exitStatus(2)
	}
	return exitStatus(1)
}

// withoutColour drops --color: there is no terminal to colour for.
func withoutColour(args []string) []string {
	var kept []string
	for i, arg := range args {
		if arg == "--" {
			return append(kept, args[i:]...)
		}
		if !strings.HasPrefix(arg, "--color") && !strings.HasPrefix(arg, "--colour") {
			kept = append(kept, arg)
		}
	}
	return kept
}

// compile takes the patterns, from -e, -f or the first operand, and returns the other operands.
func (g *grepper) compile(operands []string) ([]string, error) {
	var patterns []string
	for _, v := range g.order {
		switch v.name {
		case "e":
			patterns = append(patterns, strings.Split(v.value, "\n")...)
		case "f":
			data, err := os.ReadFile(v.value)
			if err != nil {
				return nil, err
			}
			if text := strings.TrimSuffix(string(data), "\n"); len(data) > 0 {
				patterns = append(patterns, strings.Split(text, "\n")...)
			}
		}
	}
	if !g.has("e") && !g.has("f") {
		if len(operands) == 0 {
			return nil, usagef("usage: grep [-EFivqncrlLowxsh] [-m max] pattern [file...]")
		}
		patterns, operands = strings.Split(operands[0], "\n"), operands[1:]
	}
	var alternatives []string
	for _, pattern := range patterns {
		expr := regexp.QuoteMeta(pattern)
		if !g.has("F") {
			var err error
			if expr, err = goRegexp(pattern, g.has("E")); err != nil {
				return nil, err
			}
		}
		alternatives = append(alternatives, "(?:"+expr+")")
	}
	expr := strings.Join(alternatives, "|")
	switch {
	case len(patterns) == 0:
		expr = `[^\x00-\x{10FFFF}]` // no pattern matches no line
	case g.has("x"):
		expr = "^(?:" + expr + ")$"
	case g.has("w"):
		expr = `(?:^|\b)(?:` + expr + `)(?:\b|$)`
	}
	if g.has("i") || g.has("y") {
		expr = "(?i)" + expr
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", patterns, err)
	}
	re.Longest()
	g.re = re
	return operands, nil
}

// readable leaves out, without a message but with the status that it has, what cannot be opened.
func (g *grepper) readable(names []string) []string {
	kept := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		if name == "-" {
			return false
		}
		f, err := os.Open(name)
		if err == nil {
			f.Close()
		}
		return err != nil
	})
	if len(kept) < len(names) {
		g.p.failed = true
		if len(kept) == 0 {
			return []string{os.DevNull} // no name at all would be the standard input
		}
	}
	return kept
}

// expand names the regular files below the operands.
func (g *grepper) expand(operands []string) []string {
	var files []string
	for _, operand := range operands {
		_ = filepath.WalkDir(operand, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				if !g.has("s") {
					g.p.warn(err)
				}
			case d.Type().IsRegular() || path == operand && !d.IsDir():
				files = append(files, path)
			}
			return nil
		})
	}
	return files
}

func (g *grepper) file(name string, r io.Reader) error {
	if name == "-" {
		name = "(standard input)"
	}
	count, number, binary := 0, 0, false
	err := lines(r, func(line []byte, _ bool) error {
		number++
		if g.max == 0 || g.re.Match(line) == g.has("v") {
			return nil
		}
		count++
		g.selected = true
		if g.has("q") {
			return &stopError{}
		}
		if !g.has("c") && !g.has("l") && !g.has("L") {
			if !g.has("a") && bytes.IndexByte(line, 0) >= 0 {
				binary = true
				return io.EOF
			}
			g.print(name, number, line)
		}
		if g.has("l") || g.has("L") || count == g.max {
			return io.EOF
		}
		return nil
	})
	if err != nil && err != io.EOF {
		if g.has("s") {
			g.p.failed = true
			return nil
		}
		return err
	}
	switch {
	case binary:
		fmt.Fprintf(g.p.out, "Binary file %s matches\n", name)
	case g.has("l") && count > 0, g.has("L") && count == 0:
		fmt.Fprintln(g.p.out, name)
	case g.has("c") && !g.has("l") && !g.has("L"):
		if g.withNames {
			fmt.Fprintf(g.p.out, "%s:", name)
		}
		fmt.Fprintln(g.p.out, count)
	}
	return nil
}

func (g *grepper) print(name string, number int, line []byte) {
	emit := func(text []byte) {
		if g.withNames {
			fmt.Fprintf(g.p.out, "%s:", name)
		}
		if g.has("n") {
			fmt.Fprintf(g.p.out, "%d:", number)
		}
		g.p.out.Write(text)
		g.p.out.WriteByte('\n')
	}
	if !g.has("o") {
		emit(line)
		return
	}
	if g.has("v") {
		return
	}
	for _, match := range g.re.FindAll(line, -1) {
		if len(match) > 0 {
			emit(match)
		}
	}
}
