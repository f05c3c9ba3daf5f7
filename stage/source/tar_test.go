package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// packed makes a tar: "f name content [mode]", "d name", "l name target", "h name target", "c name".
func packed(t testing.TB, lines string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		f = append(f, "", "")
		h := &tar.Header{Name: f[1], Mode: 0o640, Uid: 7, Gid: 8, ModTime: time.Unix(1_500_000_000, 0)}
		switch f[0] {
		case "f":
			h.Typeflag, h.Size = tar.TypeReg, int64(len(f[2]))
			if f[3] != "" {
				fmt.Sscanf(f[3], "%o", &h.Mode)
			}
		case "d":
			h.Typeflag, h.Mode = tar.TypeDir, 0o2750
		case "l":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f[2]
		case "h":
			h.Typeflag, h.Linkname = tar.TypeLink, f[2]
		case "c":
			h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[2])[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archiveOf returns an archive of bytes and where its spool lies.
func archiveOf(t testing.TB, data []byte, o TarOptions) (*TarFiles, string) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = filepath.Join(t.TempDir(), "spool")
	}
	a := Tar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, "test.tar", o)
	t.Cleanup(func() { a.Close() })
	return a, o.Dir
}

func content(t testing.TB, f Files, path string) string {
	t.Helper()
	r, err := f.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestTarKeepsWhatTheArchiveSays(t *testing.T) {
	a, dir := archiveOf(t, packed(t, `
		f a one 4755
		d d
		f d/b two
		h d/c a
		l link ../../etc/passwd
		c null
		f a second 600`), TarOptions{})
	entries := mustList(t, a)
	var got []string
	for _, e := range entries {
		got = append(got, fmt.Sprintf("%s %v %d:%d %d", e.Path, e.Mode, e.UID, e.GID, e.Mtime/1e9))
	}
	want := []string{
		"a -rw------- 7:8 1500000000",
		"d dg-rwxr-x--- 7:8 1500000000", // fs.FileMode writes setgid so
		"d/b -rw-r----- 7:8 1500000000",
		"d/c urwxr-xr-x 7:8 1500000000",
		"link Lrwxrwxrwx 7:8 1500000000",
		"null Dcrw-r----- 7:8 1500000000",
	}
	want[1] = entries[1].Path + " " + (fs.ModeDir | fs.ModeSetgid | 0o750).String() + " 7:8 1500000000"
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	digests := mustHash(t, a)
	if digests["a"] != digestOf("second") || digests["d/c"] != digestOf("one") {
		t.Error("the digests are not those of the contents")
	}
	if content(t, a, "d/c") != "one" || content(t, a, "a") != "second" {
		t.Error("the contents are not those of the archive")
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 0 {
		t.Errorf("%v is left in the directory", names)
	}
}

func TestTarFormats(t *testing.T) {
	plain := packed(t, "f x hello\nd y\nf y/z world")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(plain)
	z.Close()
	datas := map[string][]byte{"plain": plain, "gzip": zipped.Bytes(), "rest": append(bytes.Clone(plain), make([]byte, 20*512)...)}
	for _, program := range []string{"bzip2", "xz", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Logf("%s is not installed", program)
			continue
		}
		cmd := exec.Command(program, "-c")
		cmd.Stdin = bytes.NewReader(plain)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		datas[program] = out
	}
	for name, data := range datas {
		path := filepath.Join(t.TempDir(), "misnamed.zip")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		a := TarFile(path, TarOptions{Dir: t.TempDir()})
		if got := paths(mustList(t, a)); got != "x y y/z" {
			t.Errorf("%s: %q", name, got)
		}
		if content(t, a, "y/z") != "world" {
			t.Errorf("%s: wrong content", name)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTarIsReadOnce(t *testing.T) {
	opened := 0
	data := packed(t, "f x hello")
	a := Tar(func() (io.ReadCloser, error) { opened++; return io.NopCloser(bytes.NewReader(data)), nil }, "stdin", TarOptions{Dir: t.TempDir()})
	if _, err := a.Open("x"); err == nil {
		t.Error("opened before the listing")
	}
	mustHash(t, a)
	mustList(t, a)
	if opened != 1 {
		t.Errorf("the stream was opened %d times", opened)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	if _, err := a.List(t.Context()); err == nil || opened != 1 {
		t.Error("listed after Close")
	}
}

func TestTarRefuses(t *testing.T) {
	big := packed(t, "f x "+strings.Repeat("y", 4000))
	for _, c := range []struct {
		name string
		data []byte
		o    TarOptions
		want string
	}{
		{"what is no archive", []byte("hello, world, this is a text"), TarOptions{}, "not a tar archive"},
		{"a damaged gzip", []byte("\x1f\x8b\x08garbage"), TarOptions{}, "test.tar"},
		{"a cut archive", big[:700], TarOptions{}, "unexpected EOF"},
		{"a name that leaves", packed(t, "f ../../etc/cron.d/x evil"), TarOptions{}, `".."`},
		{"a hard link that leaves", packed(t, "h x /etc/shadow"), TarOptions{}, "not before it in the archive"},
		{"too many bytes", big, TarOptions{MaxBytes: 2000}, "limit of 2000"},
	} {
		a, dir := archiveOf(t, c.data, c.o)
		if _, err := a.List(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v; want one with %q", c.name, err, c.want)
		}
		if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 0 {
			t.Errorf("%s: %v is left in the directory", c.name, names)
		}
	}
	var limit *LimitError
	a, _ := archiveOf(t, big, TarOptions{MaxBytes: 2000})
	if _, err := a.List(t.Context()); !errors.As(err, &limit) {
		t.Errorf("error %v; want a LimitError", err)
	}
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrNoProgress)
	a, _ = archiveOf(t, big, TarOptions{})
	if _, err := a.List(canceled); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error %v; want the context's cause", err)
	}
	if _, err := TarFile(filepath.Join(t.TempDir(), "none.tar"), TarOptions{}).List(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v; want fs.ErrNotExist", err)
	}
	if _, err := TarFile(t.TempDir(), TarOptions{}).List(t.Context()); !errors.Is(err, ErrNotRegular) {
		t.Errorf("error %v; want ErrNotRegular", err)
	}
}

func TestTarOpenAndWhy(t *testing.T) {
	a, _ := archiveOf(t, packed(t, "f dir/readme.md x\nl dir/link readme.md\nd empty"), TarOptions{})
	mustList(t, a)
	for path, want := range map[string]error{
		"dir/link": ErrNotRegular, "dir": ErrNotRegular, "none": fs.ErrNotExist, "../x": fs.ErrInvalid, "dir/readme.md/x": ErrNotRegular,
	} {
		if _, err := a.Open(path); !errors.Is(err, want) {
			t.Errorf("Open(%q): %v, want %v", path, err, want)
		}
	}
	v, err := a.Why("dir/raedme.md")
	if err != nil || !strings.Contains(v.String(), "did you mean dir/readme.md") {
		t.Errorf("%v, %v", v, err)
	}
}

// FuzzTar: no archive makes List panic, write outside, or list what cannot be opened.
func FuzzTar(f *testing.F) {
	f.Add(packed(f, "f a one\nd d\nl d/x ../a\nh b a\nc n"))
	f.Add(packed(f, "f ../x y"))
	f.Add(packed(f, "d x\nl y x\nf y/z 1\nf x 3"))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		a := Tar(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, "fuzz", TarOptions{Dir: dir, MaxBytes: 1 << 20})
		defer a.Close()
		entries, err := a.List(t.Context())
		if err != nil {
			return
		}
		for i, e := range entries {
			if !cleanRelative(e.Path) || i > 0 && comparePaths(entries[i-1].Path, e.Path) >= 0 {
				t.Fatalf("entry %q is out of order or not clean", e.Path)
			}
			if e.Mode.IsRegular() && digestOf(content(t, a, e.Path)) != e.Digest {
				t.Fatalf("%q has another digest", e.Path)
			}
		}
	})
}
