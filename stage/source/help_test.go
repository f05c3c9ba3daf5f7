package source

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// plant makes files below dir, one line each: "d path [mode]", "f path [content]",
// "l path target", "h path existing", "m path mode".
func plant(t testing.TB, dir, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		arg := strings.Join(f[2:], " ")
		p := filepath.Join(dir, f[1])
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch f[0] {
		case "d":
			err = os.MkdirAll(p, 0o755)
		case "f":
			err = os.WriteFile(p, []byte(arg), 0o644)
		case "l":
			err = os.Symlink(arg, p)
		case "h":
			err = os.Link(filepath.Join(dir, arg), p)
		case "m":
			mode, perr := strconv.ParseUint(arg, 8, 32)
			if perr != nil {
				t.Fatal(perr)
			}
			err = os.Chmod(p, fs.FileMode(mode))
		default:
			t.Fatalf("unknown line %q", line)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func mustDir(t testing.TB, dir string, o DirOptions) *Directory {
	t.Helper()
	d, err := Dir(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustList(t testing.TB, f Files) []Entry {
	t.Helper()
	entries, err := f.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func mustHash(t testing.TB, f Files) map[string]cache.Digest {
	t.Helper()
	entries := mustList(t, f)
	if err := f.Hash(t.Context(), pointers(entries)); err != nil {
		t.Fatal(err)
	}
	digests := map[string]cache.Digest{}
	for _, e := range entries {
		if e.Mode.IsRegular() {
			digests[e.Path] = e.Digest
		}
	}
	return digests
}

func pointers(entries []Entry) []*Entry {
	out := make([]*Entry, len(entries))
	for n := range entries {
		out[n] = &entries[n]
	}
	return out
}

func paths(entries []Entry) string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Path)
	}
	return strings.Join(out, " ")
}

func digestOf(content string) cache.Digest { return sha256.Sum256([]byte(content)) }

// age waits until the times of what was written so far are out of the racy
// window, so that the count of opened files is the same on any machine.
func age(t testing.TB, d *Directory) {
	t.Helper()
	root, err := d.open(d.path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, e := range mustList(t, d) {
		if ok, err := settle(context.Background(), root, &e); err != nil {
			t.Fatal(err)
		} else if !ok {
			t.Skip("file times here are whole seconds or another machine's: the memo takes seconds to trust a new file")
		}
	}
}

// synthetic makes n small files in directories of 20 and returns the root.
func synthetic(t testing.TB, n int) string {
	t.Helper()
	dir := t.TempDir()
	for k := range n {
		d := filepath.Join(dir, fmt.Sprintf("pkg%03d", k/400), fmt.Sprintf("dir%02d", k/20%20))
		if k%20 == 0 {
			if err := os.MkdirAll(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("file%02d.txt", k%20)), []byte(strconv.Itoa(k)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	_ = os.Chtimes(dir, old, old)
	return dir
}
