package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// sedRun is one pass of a sed script over its input: the files as one stream, or, with -i, one file.
type sedRun struct {
	script *sedScript
	quiet  bool
	out    *bufio.Writer
	number int
	hold   []byte
	space  []byte
	// queue is printed at the end of the cycle: the texts of `a` and the files of `r`.
	queue [][]byte
	// active are the ranges that have begun, with the line that ends them when that is known.
	active map[*sedCommand]bool
	quit   bool
}

func sed(p *proc, args []string) error {
	o, operands, err := parse("n/quiet/silent E/regexp-extended r s/separate u/unbuffered z e/expression: f/file: i/in-place?", args)
	if err != nil {
		return err
	}
	var text []byte
	for _, v := range o.order {
		switch v.name {
		case "e":
			text = append(append(text, v.value...), '\n')
		case "f":
			data, err := os.ReadFile(v.value)
			if err != nil {
				return err
			}
			text = append(append(text, bytes.TrimSuffix(data, []byte("\n"))...), '\n')
		}
	}
	if !o.has("e") && !o.has("f") {
		if len(operands) == 0 {
			return usagef("usage: sed [-nEi] script [file...]")
		}
		text, operands = []byte(operands[0]), operands[1:]
	}
	if o.has("z") {
		return usagef("-z is not supported")
	}
	script, err := parseSed(string(text), o.has("E") || o.has("r"))
	if err != nil {
		return err
	}
	if o.has("i") {
		return sedInPlace(p, script, o.has("n"), o.value("i", ""), operands)
	}
	run := newSedRun(script, o.has("n"), p.out)
	if len(operands) == 0 {
		operands = []string{"-"}
	}
	status, err := run.files(p, operands)
	switch {
	case err != nil:
		return err
	case status != 0:
		return exitStatus(status)
	case p.failed:
		return exitStatus(2) // as POSIX leaves it to, and GNU has it, for a file that cannot be read
	}
	return nil
}

// sedInPlace writes each file anew beside it and moves the result there, with the old mode.
func sedInPlace(p *proc, script *sedScript, quiet bool, suffix string, files []string) error {
	if len(files) == 0 {
		return usagef("-i needs a file")
	}
	for _, name := range files {
		if err := sedReplace(p, script, quiet, suffix, name); err != nil {
			p.warn(err)
		}
	}
	if p.failed {
		return exitStatus(2)
	}
	return nil
}

func sedReplace(p *proc, script *sedScript, quiet bool, suffix, name string) error {
	fi, err := os.Stat(name)
	if err != nil {
		return err
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("couldn't edit %s: not a regular file", name)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), ".sed*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	run := newSedRun(script, quiet, bufio.NewWriter(tmp))
	if _, err := run.files(p, []string{name}); err != nil {
		return err
	}
	if err := run.out.Flush(); err != nil {
		return err
	}
	if err := tmp.Chmod(fi.Mode()); err != nil {
		return err
	}
	if uid, gid, ok := owner(fi); ok {
		_ = tmp.Chown(uid, gid) // kept where the user may
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if suffix != "" {
		if err := os.Rename(name, name+suffix); err != nil {
			return err
		}
	}
	return os.Rename(tmp.Name(), name)
}

func newSedRun(script *sedScript, quiet bool, out *bufio.Writer) *sedRun {
	return &sedRun{script: script, quiet: quiet || script.quiet, out: out, active: map[*sedCommand]bool{}}
}

// files runs the script over the lines of all files, one line behind, so that `$` knows the last one.
func (s *sedRun) files(p *proc, names []string) (status int, err error) {
	in := &sedInput{p: p, names: names}
	defer in.close()
	for !s.quit {
		line, ok, err := in.next()
		if err != nil || !ok {
			return s.script.status, err
		}
		s.space = append(s.space[:0], line...)
		s.number++
		if err := s.cycle(in); err != nil {
			return 0, err
		}
	}
	return s.script.status, nil
}

// cycle runs the script once on the pattern space.
func (s *sedRun) cycle(in *sedInput) error {
	printed, err := s.commands(in)
	if err != nil {
		return err
	}
	if printed && !s.quiet {
		s.print(s.space, in.unterminated && in.last())
	}
	for _, text := range s.queue {
		s.out.Write(text)
	}
	s.queue = s.queue[:0]
	return nil
}

func (s *sedRun) print(line []byte, bare bool) {
	s.out.Write(line)
	if !bare {
		s.out.WriteByte('\n')
	}
}

// sedInput reads lines across files and knows whether there is another one.
type sedInput struct {
	p     *proc
	names []string
	file  io.Closer
	r     *bufio.Reader
	// unterminated is set when the line that next returned had no newline.
	unterminated bool
	ahead        []byte
	hasAhead     bool
}

func (in *sedInput) close() {
	if in.file != nil {
		in.file.Close()
		in.file = nil
	}
}

func (in *sedInput) fill() error {
	for !in.hasAhead {
		if in.r == nil {
			if len(in.names) == 0 {
				return nil
			}
			name := in.names[0]
			in.names = in.names[1:]
			if name == "-" {
				in.r = bufio.NewReader(in.p.in)
				continue
			}
			f, err := os.Open(name)
			if err != nil {
				in.p.warn(err)
				continue
			}
			in.file, in.r = f, bufio.NewReader(f)
		}
		line, err := in.r.ReadBytes('\n')
		if len(line) > 0 {
			in.ahead, in.hasAhead = line, true
		}
		if err != nil {
			in.close()
			in.r = nil
			if err != io.EOF {
				in.p.warn(err)
			}
		}
	}
	return nil
}

func (in *sedInput) next() (line []byte, ok bool, err error) {
	if err := in.fill(); err != nil || !in.hasAhead {
		return nil, false, err
	}
	line, in.hasAhead = in.ahead, false
	trimmed := bytes.TrimSuffix(line, []byte("\n"))
	in.unterminated = len(trimmed) == len(line)
	return trimmed, true, nil
}

func (in *sedInput) last() bool {
	_ = in.fill()
	return !in.hasAhead
}

func sedNumber(n int) []byte { return append(strconv.AppendInt(nil, int64(n), 10), '\n') }
