package conformance

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Text returns the dump in the form of a golden file: a line "base NAME", then one "KEY VALUE" a line; or a line "failure" with the message
// behind it.
func (d *Dump) Text() []byte {
	var b bytes.Buffer
	if d.Failure != "" {
		fmt.Fprintf(&b, "failure\n%s\n", strings.TrimSpace(d.Failure))
		return b.Bytes()
	}
	base := d.Base
	if base == "" {
		base = "scratch"
	}
	fmt.Fprintf(&b, "base %s\n", base)
	for _, l := range d.Lines {
		fmt.Fprintf(&b, "%s\t%s\n", l.Key, l.Value)
	}
	return b.Bytes()
}

// ParseGolden reads what Text wrote.
func ParseGolden(data []byte) (*Dump, error) {
	first, rest, _ := strings.Cut(string(data), "\n")
	if first == "failure" {
		return &Dump{Failure: strings.TrimSpace(rest)}, nil
	}
	base, ok := strings.CutPrefix(first, "base ")
	if !ok {
		return nil, fmt.Errorf("a golden begins with base or failure, not %q", first)
	}
	d := &Dump{Base: base}
	if base == "scratch" {
		d.Base = ""
	}
	for line := range strings.Lines(rest) {
		key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			return nil, fmt.Errorf("golden: no tab in %q", line)
		}
		d.add(key, value)
	}
	return d, nil
}

// GoldenPath is where the golden of a case is, below the directory of goldens.
func GoldenPath(dir string, c *Case) string {
	return filepath.Join(dir, filepath.FromSlash(c.Name)+".txt")
}

// ReadGolden reads the golden of a case.
func ReadGolden(dir string, c *Case) (*Dump, error) {
	data, err := os.ReadFile(GoldenPath(dir, c))
	if err != nil {
		return nil, err
	}
	return ParseGolden(data)
}

// WriteGolden stores the golden of a case.
func WriteGolden(dir string, c *Case, d *Dump) error {
	path := GoldenPath(dir, c)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, d.Text(), 0o644)
}

// Diff tells how got differs from want: for each field or file, the line of either. It is empty when nothing does. Of two failures the
// messages may differ.
func Diff(want, got *Dump, wantName, gotName string) string {
	var b strings.Builder
	pair := func(key, w, g string) {
		if w == g {
			return
		}
		fmt.Fprintf(&b, "  %s\n    - %s: %s\n    + %s: %s\n", key, wantName, orNone(w), gotName, orNone(g))
	}
	if want.Failure != "" || got.Failure != "" {
		if (want.Failure == "") != (got.Failure == "") {
			pair("result", orBuilt(want.Failure), orBuilt(got.Failure))
		}
		return b.String()
	}
	pair("base", "bases.test/"+want.Base, "bases.test/"+got.Base)
	w, g := want.byKey(), got.byKey()
	keys := maps.Clone(w)
	maps.Copy(keys, g)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		pair(key, w[key], g[key])
	}
	return b.String()
}

func (d *Dump) byKey() map[string]string {
	m := map[string]string{}
	for _, l := range d.Lines {
		m[l.Key] = l.Value
	}
	return m
}

func orNone(s string) string {
	if s == "" {
		return "(nothing)"
	}
	return s
}

func orBuilt(failure string) string {
	if failure == "" {
		return "built"
	}
	return "failed: " + failure
}
