package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestFS(t *testing.T) {
	files := FS(fstest.MapFS{
		"a/z":  {Data: []byte("1"), Mode: 0o640, ModTime: time.Unix(7, 5)},
		"a.b":  {Data: []byte("22"), Mode: 0o755},
		"link": {Data: []byte("a/z"), Mode: fs.ModeSymlink | 0o777},
		"big":  {Data: make([]byte, 3*hashBuffer)},
		"way":  {Data: []byte("a"), Mode: fs.ModeSymlink | 0o777},
	}, "test files")
	entries := mustList(t, files)
	if got, want := paths(entries), "a a/z a.b big link way"; got != want {
		t.Errorf("listing %s, want %s", got, want)
	}
	if e := entries[1]; e.Mode != 0o640 || e.Size != 1 || e.Mtime != 7_000_000_005 {
		t.Errorf("%+v", e)
	}
	if e := entries[0]; !e.Mode.IsDir() || e.Mtime != 0 {
		t.Errorf("%+v", e)
	}
	if e := entries[4]; e.Link != "a/z" {
		t.Errorf("%+v", e)
	}
	digests := mustHash(t, files)
	if digests["a/z"] != digestOf("1") || digests["a.b"] != digestOf("22") || digests["big"] != digestOf(string(make([]byte, 3*hashBuffer))) {
		t.Errorf("digests %v", digests)
	}
	for p, want := range map[string]error{"a": ErrNotRegular, "link": ErrNotRegular, "way/z": ErrNotRegular, "gone": fs.ErrNotExist, "../x": fs.ErrInvalid, ".": fs.ErrInvalid} {
		if _, err := files.Open(p); !errors.Is(err, want) {
			t.Errorf("Open(%s): %v, want %v", p, err, want)
		}
	}
	r, err := files.Open("a.b")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, _ := io.ReadAll(r); string(b) != "22" {
		t.Errorf("read %q", b)
	}
}

// lying is a file system that breaks one promise.
type lying struct {
	fstest.MapFS
	names []string // given for the root
}

func (l lying) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return l.MapFS.ReadDir(name)
	}
	var out []fs.DirEntry
	for _, n := range l.names {
		out = append(out, renamed{fs.FileInfoToDirEntry(must(l.MapFS.Stat("f"))), n})
	}
	return out, nil
}

type renamed struct {
	fs.DirEntry
	name string
}

func (r renamed) Name() string { return r.name }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestFSHostileNames(t *testing.T) {
	base := fstest.MapFS{"f": {Data: []byte("x")}}
	for _, names := range [][]string{{".."}, {"."}, {""}, {"a/b"}, {"/etc"}, {"f", "f"}, {strings.Repeat("x", maxPath+1)}} {
		if _, err := FS(lying{base, names}, "lies").List(t.Context()); err == nil {
			t.Errorf("names %.20q are accepted", names)
		}
	}
	if e, err := FS(lying{base, []string{"f", "b"}}, "unsorted").List(t.Context()); err != nil || paths(e) != "b f" {
		t.Errorf("%v %v", e, err)
	}
}

func TestFSChanging(t *testing.T) {
	m := fstest.MapFS{"a": {Data: []byte("one")}}
	files := FS(m, "m")
	entries := mustList(t, files)
	m["a"] = &fstest.MapFile{Data: []byte("longer")}
	var changed *ChangedError
	if err := files.Hash(t.Context(), pointers(entries)); !errors.As(err, &changed) || changed.Path != "a" {
		t.Errorf("error %v", err)
	}
}

// TestDirAndFSAgree reads one tree both ways.
func TestDirAndFSAgree(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a/b x\nf a.c yy\nl l a/b\nd e")
	one, two := mustList(t, mustDir(t, dir, DirOptions{})), mustList(t, FS(os.DirFS(dir), "dir"))
	if paths(one) != paths(two) {
		t.Fatalf("%s\n%s", paths(one), paths(two))
	}
	for n := range one {
		a, b := one[n], two[n]
		if a.Mode != b.Mode || a.Size != b.Size || a.Mtime != b.Mtime || a.Link != b.Link {
			t.Errorf("%+v\n%+v", a, b)
		}
	}
}

func TestUnixNano(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want int64
	}{
		{time.Time{}, 0},
		{time.Unix(1, 2), 1_000_000_002},
		{time.Unix(-1, 0), -1_000_000_000},
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), 9_223_372_036_000_000_000},
		{time.Date(1000, 1, 1, 0, 0, 0, 0, time.UTC), -9_223_372_036_000_000_000},
	} {
		if got := unixNano(c.at); got != c.want {
			t.Errorf("unixNano(%v) = %d, want %d", c.at, got, c.want)
		}
	}
}
