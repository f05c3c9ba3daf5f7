package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// headCount turns the old form -5 into -n 5.
func headCount(args []string) []string {
	if len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && digits(args[0][1:]) == len(args[0])-1 {
		return append([]string{"-n", args[0][1:]}, args[1:]...)
	}
	return args
}

// count parses the value of -n and -c, with the suffixes k and M.
func count(text string) (n int64, sign byte, err error) {
	number := text
	if number != "" && (number[0] == '+' || number[0] == '-') {
		sign, number = number[0], number[1:]
	}
	unit := int64(1)
	switch {
	case strings.HasSuffix(number, "k"), strings.HasSuffix(number, "K"):
		unit, number = 1<<10, number[:len(number)-1]
	case strings.HasSuffix(number, "M"):
		unit, number = 1<<20, number[:len(number)-1]
	}
	n, err = strconv.ParseInt(number, 10, 40)
	if err != nil || n < 0 {
		return 0, 0, usagef("invalid number %q", text)
	}
	return n * unit, sign, nil
}

func (p *proc) title(o *options, names []string, name string, first *bool) {
	if len(names) < 2 && !o.has("v") || o.has("q") {
		return
	}
	if !*first {
		p.out.WriteByte('\n')
	}
	*first = false
	if name == "-" {
		name = "standard input"
	}
	fmt.Fprintf(p.out, "==> %s <==\n", name)
}

func head(p *proc, args []string) error {
	o, names, err := parse("n/lines: c/bytes: q/quiet v/verbose", headCount(args))
	if err != nil {
		return err
	}
	n, sign, err := count(o.value("c", o.value("n", "10")))
	if err != nil {
		return err
	}
	first := true
	return p.inputs(names, func(name string, r io.Reader) error {
		p.title(o, names, name, &first)
		switch {
		case o.has("c") && sign == '-':
			data, err := io.ReadAll(r)
			p.out.Write(data[:max(0, int64(len(data))-n)])
			return err
		case o.has("c"):
			_, err := io.CopyN(p.out, r, n)
			return ignoreEOF(err)
		case sign == '-':
			var held [][]byte
			return lines(r, func(line []byte, bare bool) error {
				held = append(held, terminated(line, bare))
				if int64(len(held)) > n {
					p.out.Write(held[0])
					held = held[1:]
				}
				return nil
			})
		}
		if n == 0 {
			return nil
		}
		left := n
		return ignoreEOF(lines(r, func(line []byte, bare bool) error {
			p.out.Write(terminated(line, bare))
			if left--; left == 0 {
				return io.EOF
			}
			return nil
		}))
	})
}

func terminated(line []byte, bare bool) []byte {
	line = bytes.Clone(line)
	if !bare {
		line = append(line, '\n')
	}
	return line
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

func tail(p *proc, args []string) error {
	if len(args) > 0 && strings.HasPrefix(args[0], "+") && digits(args[0][1:]) == len(args[0])-1 && len(args[0]) > 1 {
		args = append([]string{"-n", args[0]}, args[1:]...)
	}
	o, names, err := parse("n/lines: c/bytes: q/quiet v/verbose f/follow", headCount(args))
	if err != nil {
		return err
	}
	if o.has("f") {
		return usagef("-f is not supported")
	}
	n, sign, err := count(o.value("c", o.value("n", "10")))
	if err != nil {
		return err
	}
	first := true
	return p.inputs(names, func(name string, r io.Reader) error {
		p.title(o, names, name, &first)
		if sign == '+' {
			return p.tailFrom(r, n, o.has("c"))
		}
		if o.has("c") {
			data, err := io.ReadAll(r)
			p.out.Write(data[max(0, int64(len(data))-n):])
			return err
		}
		var kept [][]byte
		err := lines(r, func(line []byte, bare bool) error {
			kept = append(kept, terminated(line, bare))
			if int64(len(kept)) > n {
				kept = kept[1:]
			}
			return nil
		})
		for _, line := range kept {
			p.out.Write(line)
		}
		return err
	})
}

// tailFrom prints from the n-th byte or line on.
func (p *proc) tailFrom(r io.Reader, n int64, inBytes bool) error {
	if inBytes {
		if _, err := io.CopyN(io.Discard, r, max(0, n-1)); err != nil {
			return ignoreEOF(err)
		}
		_, err := io.Copy(p.out, r)
		return err
	}
	number := int64(0)
	return lines(r, func(line []byte, bare bool) error {
		if number++; number >= n {
			p.out.Write(terminated(line, bare))
		}
		return nil
	})
}

func wc(p *proc, args []string) error {
	o, names, err := parse("l/lines w/words c/bytes m/chars L/max-line-length", args)
	if err != nil {
		return err
	}
	if len(o.set) == 0 {
		o.set = map[string]bool{"l": true, "w": true, "c": true}
	}
	type counts struct{ l, w, m, c, L int }
	show := func(n counts, name string) {
		var fields []string
		for _, f := range []struct {
			name string
			n    int
		}{{"l", n.l}, {"w", n.w}, {"m", n.m}, {"c", n.c}, {"L", n.L}} {
			if o.has(f.name) {
				fields = append(fields, strconv.Itoa(f.n))
			}
		}
		// Separated by one blank, as POSIX has it: no width depends on the sizes of other files.
		if len(names) > 0 {
			fields = append(fields, name)
		}
		fmt.Fprintln(p.out, strings.Join(fields, " "))
	}
	var total counts
	err = p.inputs(names, func(name string, r io.Reader) error {
		var n counts
		err := lines(r, func(line []byte, bare bool) error {
			n.w += len(bytes.Fields(line))
			n.c += len(line)
			n.m += utf8.RuneCount(line)
			n.L = max(n.L, utf8.RuneCount(line))
			if !bare {
				n.l, n.c, n.m = n.l+1, n.c+1, n.m+1
			}
			return nil
		})
		total = counts{total.l + n.l, total.w + n.w, total.m + n.m, total.c + n.c, max(total.L, n.L)}
		show(n, name)
		return err
	})
	if len(names) > 1 {
		show(total, "total")
	}
	return err
}

func uniq(p *proc, args []string) error {
	o, names, err := parse("c/count d/repeated u/unique i/ignore-case", args)
	if err != nil {
		return err
	}
	if len(names) > 2 {
		return usagef("extra operand '%s'", names[2])
	}
	out := io.Writer(p.out)
	if len(names) == 2 {
		f, err := os.Create(names[1])
		if err != nil {
			return err
		}
		defer f.Close()
		out, names = f, names[:1]
	}
	var previous []byte
	n := 0
	flush := func() (err error) {
		switch {
		case n == 0, o.has("d") && n == 1, o.has("u") && n > 1:
		case o.has("c"):
			_, err = fmt.Fprintf(out, "%7d %s\n", n, previous)
		default:
			_, err = fmt.Fprintf(out, "%s\n", previous)
		}
		return err
	}
	err = p.inputs(names, func(_ string, r io.Reader) error {
		return lines(r, func(line []byte, _ bool) error {
			if n > 0 && (bytes.Equal(line, previous) || o.has("i") && bytes.EqualFold(line, previous)) {
				n++
				return nil
			}
			if err := flush(); err != nil {
				return err
			}
			previous, n = bytes.Clone(line), 1
			return nil
		})
	})
	if err != nil {
		return err
	}
	return flush()
}

func tee(p *proc, args []string) error {
	o, names, err := parse("a/append i", args)
	if err != nil {
		return err
	}
	mode := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	if o.has("a") {
		mode = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	}
	writers := []io.Writer{os.Stdout}
	for _, name := range names {
		f, err := os.OpenFile(name, mode, 0o666)
		if err != nil {
			p.warn(err)
			continue
		}
		defer f.Close()
		writers = append(writers, f)
	}
	_, err = io.Copy(io.MultiWriter(writers...), p.in)
	return err
}

func yes(p *proc, args []string) error {
	text := "y"
	if len(args) > 0 {
		text = strings.Join(args, " ")
	}
	for {
		if _, err := p.out.WriteString(text + "\n"); err != nil {
			return err
		}
	}
}
