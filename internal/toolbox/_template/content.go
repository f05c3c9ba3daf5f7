package main

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
)

// replaceFile copies a file's bytes to a new file of that name: an old one may be in use as a running program.
func replaceFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func sha256sum(p *proc, args []string) error { return checksums(p, args, sha256.New) }
func md5sum(p *proc, args []string) error    { return checksums(p, args, md5.New) }

// checksums prints the digest of each file, or with -c compares with such a listing.
func checksums(p *proc, args []string, create func() hash.Hash) error {
	o, names, err := parse("c/check b/binary t/text s/status quiet w strict", args)
	if err != nil {
		return err
	}
	sum := func(r io.Reader) (string, error) {
		h := create()
		_, err := io.Copy(h, r)
		return hex.EncodeToString(h.Sum(nil)), err
	}
	if !o.has("c") {
		return p.inputs(names, func(name string, r io.Reader) error {
			digest, err := sum(r)
			if err == nil {
				fmt.Fprintf(p.out, "%s  %s\n", digest, name)
			}
			return err
		})
	}
	bad, seen := 0, 0
	err = p.inputs(names, func(list string, r io.Reader) error {
		return lines(r, func(line []byte, _ bool) error {
			want, name, ok := strings.Cut(string(line), " ")
			if !ok || len(want) != hex.EncodedLen(create().Size()) {
				return nil
			}
			seen++
			name = strings.TrimPrefix(strings.TrimPrefix(name, " "), "*")
			verdict := "OK"
			err := p.input(name, func(r io.Reader) error {
				got, err := sum(r)
				if got != strings.ToLower(want) {
					verdict = "FAILED"
				}
				return err
			})
			if err != nil {
				p.warn(err)
				verdict = "FAILED open or read"
			}
			if verdict != "OK" {
				bad++
			}
			if !o.has("s") && (verdict != "OK" || !o.has("quiet")) {
				fmt.Fprintf(p.out, "%s: %s\n", name, verdict)
			}
			return nil
		})
	})
	switch {
	case err != nil:
		return err
	case seen == 0:
		return errors.New("no properly formatted checksum lines found")
	case bad > 0 && !o.has("s"):
		p.warn(fmt.Errorf("WARNING: %d of %d computed checksums did NOT match", bad, seen))
	case bad > 0:
		return exitStatus(1)
	}
	return nil
}

func cmpFiles(p *proc, args []string) error {
	o, names, err := parse("s/silent/quiet l", args)
	if err != nil {
		return err
	}
	if len(names) == 1 {
		names = append(names, "-")
	}
	if len(names) != 2 {
		return usagef("two files are needed, not %d", len(names))
	}
	return p.input(names[0], func(ra io.Reader) error {
		return p.input(names[1], func(rb io.Reader) error {
			a, b := bufio.NewReader(ra), bufio.NewReader(rb)
			for at, line := 1, 1; ; at++ {
				x, xerr := a.ReadByte()
				y, yerr := b.ReadByte()
				switch {
				case xerr == io.EOF && yerr == io.EOF:
					return nil
				case xerr != nil && xerr != io.EOF:
					return xerr
				case yerr != nil && yerr != io.EOF:
					return yerr
				case xerr != nil || yerr != nil:
					if !o.has("s") {
						shorter := names[0]
						if yerr != nil {
							shorter = names[1]
						}
						fmt.Fprintf(p.err, "cmp: EOF on %s after byte %d\n", shorter, at-1)
					}
					return exitStatus(1)
				case x != y:
					if !o.has("s") {
						fmt.Fprintf(p.out, "%s %s differ: byte %d, line %d\n", names[0], names[1], at, line)
					}
					return exitStatus(1)
				}
				if x == '\n' {
					line++
				}
			}
		})
	})
}

// od prints bytes: in octal words as od always has, and with -t x1, -t c and -An as scripts use it.
func od(p *proc, args []string) error {
	o, names, err := parse("A/address-radix: t/format: N/read-bytes: v c x", args)
	if err != nil {
		return err
	}
	format := o.value("t", "o2")
	switch {
	case o.has("c"):
		format = "c"
	case o.has("x"):
		format = "x2"
	}
	var cell func(b []byte) string
	size := 1
	switch format {
	case "x1":
		cell = func(b []byte) string { return fmt.Sprintf(" %02x", b[0]) }
	case "u1":
		cell = func(b []byte) string { return fmt.Sprintf(" %3d", b[0]) }
	case "o1":
		cell = func(b []byte) string { return fmt.Sprintf(" %03o", b[0]) }
	case "c":
		cell = func(b []byte) string { return fmt.Sprintf(" %3s", odChar(b[0])) }
	case "o2", "x2":
		size = 2
		verb := map[string]string{"o2": " %06o", "x2": " %04x"}[format]
		cell = func(b []byte) string { return fmt.Sprintf(verb, int(b[0])|int(b[1])<<8) }
	default:
		return usagef("-t %s is not supported; x1, x2, o1, o2, u1 and c are", format)
	}
	var data bytes.Buffer
	if err := p.inputs(names, func(_ string, r io.Reader) error { _, err := io.Copy(&data, r); return err }); err != nil {
		return err
	}
	all := data.Bytes()
	if o.has("N") {
		n, _, err := count(o.value("N", ""))
		if err != nil {
			return err
		}
		all = all[:min(int64(len(all)), n)]
	}
	address := func(at int) {
		switch o.value("A", "o") {
		case "n":
		case "d":
			fmt.Fprintf(p.out, "%07d", at)
		case "x":
			fmt.Fprintf(p.out, "%06x", at)
		default:
			fmt.Fprintf(p.out, "%07o", at)
		}
	}
	for at := 0; at < len(all); at += 16 {
		address(at)
		row := all[at:min(at+16, len(all))]
		for i := 0; i < len(row); i += size {
			p.out.WriteString(cell(append(bytes.Clone(row[i:min(i+size, len(row))]), 0)))
		}
		p.out.WriteByte('\n')
	}
	if o.value("A", "o") != "n" {
		address(len(all))
		p.out.WriteByte('\n')
	}
	return nil
}

func odChar(b byte) string {
	if i := strings.IndexByte("\x00\a\b\t\n\v\f\r", b); i >= 0 {
		return []string{`\0`, `\a`, `\b`, `\t`, `\n`, `\v`, `\f`, `\r`}[i]
	}
	if b < 0x20 || b > 0x7e {
		return fmt.Sprintf("%03o", b)
	}
	return string(rune(b))
}
