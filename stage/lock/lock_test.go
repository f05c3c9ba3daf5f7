package lock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

var (
	amd64 = platform.MustParse("linux/amd64")
	arm64 = platform.MustParse("linux/arm64")
)

// registry answers for any reference, and counts what is asked.
type registry struct {
	tag   string // what tags point to now
	asked []string
	err   error
}

func (r *registry) Resolve(_ context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	r.asked = append(r.asked, ref)
	base, sum, pinned := strings.Cut(ref, "@")
	if !pinned {
		sum = digest.FromString(r.tag + base).String()
	}
	return stage.BaseImage{Name: "registry/" + base + "@" + sum, Digest: digest.FromString(sum + p.String())}, r.err
}

func lockFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stagewright.lock")
	if text != "" {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func open(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// resolve resolves references, "ref" for amd64 or "ref arm64", and saves.
func resolve(t testing.TB, path string, r *registry, mode Mode, refs ...string) error {
	t.Helper()
	f := open(t, path)
	res := f.Resolver(r, mode)
	for _, ref := range refs {
		p := amd64
		ref, arm := strings.CutSuffix(ref, " arm64")
		if arm {
			p = arm64
		}
		if _, err := res.Resolve(t.Context(), ref, p); err != nil {
			return err
		}
	}
	if err := f.Save(); err != nil {
		t.Fatal(err)
	}
	return nil
}

func text(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAdd(t *testing.T) {
	path := lockFile(t, "")
	r := &registry{tag: "monday"}
	if err := resolve(t, path, r, Add, "b:1", "a:1", "a:1 arm64", "c@"+digest.FromString("x").String()); err != nil {
		t.Fatal(err)
	}
	sum := func(s string) string { return digest.FromString(s).String() }
	want := "stagewright lock 1\na:1 linux/amd64 " + sum("mondaya:1") + "\na:1 linux/arm64 " + sum("mondaya:1") + "\nb:1 linux/amd64 " + sum("mondayb:1") + "\n"
	if got := text(t, path); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	r.tag, r.asked = "tuesday", nil
	if err := resolve(t, path, r, Add, "a:1", "d:1"); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a:1@" + sum("mondaya:1"), "d:1"}; !slices.Equal(r.asked, want) {
		t.Errorf("asked %q; want %q", r.asked, want)
	}
	if got := text(t, path); !strings.Contains(got, "b:1 ") || !strings.Contains(got, "d:1 linux/amd64 "+sum("tuesdayd:1")) {
		t.Errorf("got\n%s", got)
	}
	before, _ := os.Stat(path)
	if err := resolve(t, path, r, Add, "a:1"); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("the file was written though nothing was added")
	}
}

func TestFrozen(t *testing.T) {
	path := lockFile(t, "")
	r := &registry{}
	if err := resolve(t, path, r, Add, "a:1"); err != nil {
		t.Fatal(err)
	}
	if err := resolve(t, path, r, Frozen, "a:1"); err != nil {
		t.Error(err)
	}
	was := text(t, path)
	for _, ref := range []string{"b:1", "a:1 arm64"} {
		err := resolve(t, path, r, Frozen, ref)
		var missing *MissingError
		if !errors.As(err, &missing) || !strings.Contains(err.Error(), "lock.Add") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if text(t, path) != was {
		t.Error("the file changed")
	}
}

func TestUpdate(t *testing.T) {
	path := lockFile(t, "")
	r := &registry{tag: "monday"}
	if err := resolve(t, path, r, Add, "a:1", "b:1"); err != nil {
		t.Fatal(err)
	}
	r.tag = "tuesday"
	if err := resolve(t, path, r, Update, "a:1"); err != nil {
		t.Fatal(err)
	}
	if got, want := text(t, path), "stagewright lock 1\na:1 linux/amd64 "+digest.FromString("tuesdaya:1").String()+"\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestErrorsOfTheRegistryNameTheLock(t *testing.T) {
	path := lockFile(t, "")
	r := &registry{}
	if err := resolve(t, path, r, Add, "a:1"); err != nil {
		t.Fatal(err)
	}
	r.err = errors.New("gone")
	err := resolve(t, path, r, Add, "a:1")
	if !errors.Is(err, r.err) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if err := resolve(t, path, r, Mode("x"), "a:1"); err == nil || !strings.Contains(err.Error(), "lock.Frozen") {
		t.Errorf("error %v", err)
	}
	if err := resolve(t, lockFile(t, ""), r, Add, "new:1"); !errors.Is(err, r.err) {
		t.Errorf("error %v", err)
	}
}

func TestTwoBuildsAddSideBySide(t *testing.T) {
	path := lockFile(t, "")
	r := &registry{}
	one, two := open(t, path), open(t, path)
	for i, f := range []*File{one, two} {
		if _, err := f.Resolver(r, Add).Resolve(t.Context(), fmt.Sprint("img:", i), amd64); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(one.Save(), two.Save()); err != nil {
		t.Fatal(err)
	}
	if n := len(open(t, path).Entries()); n != 2 {
		t.Errorf("%d lines; want 2\n%s", n, text(t, path))
	}
}

func TestSyntax(t *testing.T) {
	sum := digest.FromString("x").String()
	for _, c := range []struct {
		text string
		line int
		want string
	}{
		{"stagewright lock 2\n", 1, "want the line"},
		{"{}", 1, "want the line"},
		{header + "\na:1 linux/amd64\n", 2, "REFERENCE PLATFORM DIGEST"},
		{header + "\na:1 linux/amd64 " + sum + "\n<<<<<<< HEAD\n", 3, "REFERENCE PLATFORM DIGEST"},
		{header + "\n\n", 2, "REFERENCE"},
		{header + "\na:1 linux/amd64 sha256:abc\n", 2, "digest"},
		{header + "\na:1 a/b/c/d " + sum + "\n", 2, "a/b/c/d"},
		{header + "\na:1 linux/amd64 " + sum + "\na:1 linux/amd64 " + sum + "\n", 3, "twice"},
	} {
		path := lockFile(t, c.text)
		_, err := Open(path)
		var bad *SyntaxError
		if !errors.As(err, &bad) || bad.Line != c.line || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), fmt.Sprintf("%s:%d: ", path, c.line)) {
			t.Errorf("%q: error %v; want one for line %d with %q", c.text, err, c.line, c.want)
		}
	}
	if f := open(t, lockFile(t, strings.ReplaceAll(header+"\na:1 linux/amd64 "+sum+"\n", "\n", "\r\n"))); len(f.Entries()) != 1 {
		t.Error("line ends of Windows are not taken")
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory is taken")
	}
}

// FuzzLock: what is read is written to a text that reads the same.
func FuzzLock(f *testing.F) {
	f.Add(header + "\na:1 linux/amd64 " + digest.FromString("x").String() + "\n")
	f.Add(header + "\nb linux/arm/v7 " + digest.FromString("y").String() + "\nb linux/arm64 " + digest.FromString("y").String())
	f.Fuzz(func(t *testing.T, text string) {
		entries, err := parse("f", []byte(text))
		if err != nil {
			return
		}
		again, err := parse("f", format(entries))
		if err != nil || len(again) != len(entries) {
			t.Fatalf("%q: %v", format(entries), err)
		}
		for k, d := range entries {
			if again[k] != d {
				t.Fatalf("%v is lost", k)
			}
		}
	})
}
