package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// each runs a test on the way to the files that this system has and on the
// portable one.
func each(t *testing.T, test func(t *testing.T, open func(string) (beneath, error))) {
	t.Run("native", func(t *testing.T) { test(t, openBeneath) })
	t.Run("portable", func(t *testing.T) { test(t, openPortable) })
}

func TestListOrder(t *testing.T) {
	each(t, func(t *testing.T, open func(string) (beneath, error)) {
		dir := t.TempDir()
		plant(t, dir, "f a/z 1\nf a.b 2\nf a/b/c 3\nf b 4\nd empty\nf Z 5\nl link a/z\nl out ../..")
		d := mustDir(t, dir, DirOptions{Parallel: 3})
		d.open = open
		entries := mustList(t, d)
		if got, want := paths(entries), "Z a a/b a/b/c a/z a.b b empty link out"; got != want {
			t.Errorf("listing %s\nwant    %s", got, want)
		}
		if !slices.IsSortedFunc(entries, func(a, b Entry) int { return comparePaths(a.Path, b.Path) }) {
			t.Error("comparePaths disagrees with the listing order")
		}
		link := entries[slices.IndexFunc(entries, func(e Entry) bool { return e.Path == "link" })]
		if link.Link != "a/z" || link.Mode.Type() != fs.ModeSymlink || link.Size != 0 {
			t.Errorf("link %+v", link)
		}
		if s := d.Stats(); s.Opened != 0 || s.Dirs != 4 || s.Stats != int64(len(entries)) {
			t.Errorf("listing cost %+v", s)
		}
	})
}

func TestListIgnores(t *testing.T) {
	each(t, func(t *testing.T, open func(string) (beneath, error)) {
		dir := t.TempDir()
		plant(t, dir, `f main.go
			f node_modules/a/x
			f node_modules/b/README.md
			f dist/keep/it
			f dist/drop/it
			d dist/hollow
			f app.log`)
		if err := os.WriteFile(filepath.Join(dir, ".dockerignore"), []byte("node_modules\ndist\n!dist/keep\n*.log\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		d := mustDir(t, dir, DirOptions{Ignore: []string{".dockerignore"}})
		d.open = open
		if got, want := paths(mustList(t, d)), "dist dist/keep dist/keep/it main.go"; got != want {
			t.Errorf("listing %s\nwant    %s", got, want)
		}
		// The root, dist, keep, and drop and hollow not: no pattern can match there.
		if s := d.Stats(); s.Dirs != 3 {
			t.Errorf("%d directories opened", s.Dirs)
		}
		none := mustDir(t, dir, DirOptions{IgnoreFile: "-"})
		if got := len(mustList(t, none)); got != 14 {
			t.Errorf("%d entries without an ignore file: %s", got, paths(mustList(t, none)))
		}
	})
}

// TestListAgreesWithMatch compares the pruning walk with the plain verdict.
func TestListAgreesWithMatch(t *testing.T) {
	dir := t.TempDir()
	for _, a := range []string{"a", "b", "c.x"} {
		for _, b := range []string{"a", "b", "c.x"} {
			for _, c := range []string{"a", "b", "c.x"} {
				plant(t, dir, fmt.Sprintf("f %s/%s/%s x", a, b, c))
			}
		}
	}
	all := mustList(t, mustDir(t, dir, DirOptions{}))
	for _, rules := range []string{"*|!a/b", "**|!**/c.x", "a|!a/b/c*", "*/*|!a/*/a|b", "**/b|!b/b/[ab]", "a/*|!a/b|a/b/*|!a/b/c.x", "**/*.x|!**/b/**", "*|!*/b/a"} {
		d := mustDir(t, dir, DirOptions{Ignore: strings.Split(rules, "|")})
		want := map[string]bool{}
		for _, e := range all {
			if ignored, _ := d.ignore.Match(e.Path); !ignored {
				for p := e.Path; p != "."; p = filepath.Dir(p) {
					want[p] = true
				}
			}
		}
		got := mustList(t, d)
		for _, e := range got {
			if !want[e.Path] {
				t.Errorf("%s: %s is listed", rules, e.Path)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d listed, want %d", rules, len(got), len(want))
		}
	}
}

func TestListOddNames(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems change names")
	}
	dir := t.TempDir()
	names := []string{"new\nline", "\xff\xfe", " space ", "-rf", "tab\t", "*", "[", "\\", strings.Repeat("n", 255)}
	for _, n := range names {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(n), 0o600); err != nil {
			t.Skipf("this filesystem has no name %q: %v", n, err)
		}
	}
	slices.Sort(names)
	digests := mustHash(t, mustDir(t, dir, DirOptions{}))
	for _, n := range names {
		if digests[n] != digestOf(n) {
			t.Errorf("digest of %q is %v", n, digests[n])
		}
	}
}

func TestListDeepAndTooDeep(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	d := mustDir(t, root.Name(), DirOptions{})
	name, at := strings.Repeat("d", 200), ""
	below := root
	for depth := 1; ; depth++ {
		if err := below.Mkdir(name, 0o755); err != nil {
			t.Skip("no deep trees here:", err)
		}
		next, err := below.OpenRoot(name)
		if err != nil {
			t.Skip("no deep trees here:", err)
		}
		defer next.Close()
		below, at = next, at+"/"+name
		if len(at)-1 > maxPath {
			break
		}
		if depth == 15 { // within what Linux takes as one path
			if got := len(mustList(t, d)); got != 15 {
				t.Errorf("%d entries listed of 15", got)
			}
		}
	}
	var limit *LimitError
	if _, err := d.List(t.Context()); !errors.As(err, &limit) || limit.Limit != maxPath {
		t.Errorf("error %v, want a LimitError for the path length", err)
	}
}

func TestSpecialFilesAreNeverOpened(t *testing.T) {
	dir := t.TempDir()
	makeFifo(t, filepath.Join(dir, "pipe"))
	l, err := net.Listen("unix", filepath.Join(dir, "sock"))
	if err != nil {
		t.Skip("no sockets here:", err)
	}
	defer l.Close()
	each(t, func(t *testing.T, open func(string) (beneath, error)) {
		d := mustDir(t, dir, DirOptions{Memo: OpenMemo(t.TempDir())})
		d.open = open
		entries := mustList(t, d)
		if paths(entries) != "pipe sock" || entries[0].Mode.Type() != fs.ModeNamedPipe || entries[1].Mode.Type() != fs.ModeSocket {
			t.Fatalf("%+v", entries)
		}
		if err := d.Hash(t.Context(), pointers(entries)); err != nil {
			t.Error(err)
		}
		for _, p := range []string{"pipe", "sock"} {
			if _, err := d.Open(p); !errors.Is(err, ErrNotRegular) {
				t.Errorf("Open(%s): %v", p, err)
			}
		}
		if s := d.Stats(); s.Opened != 0 {
			t.Errorf("opened: %+v", s)
		}
	})
}

func TestGroups(t *testing.T) {
	each(t, func(t *testing.T, open func(string) (beneath, error)) {
		dir, other := t.TempDir(), t.TempDir()
		plant(t, dir, "f a 1\nh b/c a\nf d 2\nh e d\nf lone 3\nf f 4\nh z a")
		if err := os.Link(filepath.Join(dir, "lone"), filepath.Join(other, "twin")); err != nil {
			t.Skip("no hard links here:", err)
		}
		d := mustDir(t, dir, DirOptions{})
		d.open = open
		var got []string
		for _, e := range mustList(t, d) {
			got = append(got, fmt.Sprint(e.Path, "=", e.Group))
		}
		if want := "a=1 b=0 b/c=1 d=2 e=2 f=0 lone=0 z=1"; strings.Join(got, " ") != want && runtime.GOOS != "windows" {
			t.Errorf("groups %v, want %s", got, want)
		}
	})
}

func TestOpenStaysInside(t *testing.T) {
	each(t, func(t *testing.T, open func(string) (beneath, error)) {
		outside, dir := t.TempDir(), t.TempDir()
		plant(t, outside, "f secret s")
		plant(t, dir, "f in/file hello\nl self in/file\nl way in")
		if err := os.Symlink(outside, filepath.Join(dir, "out")); err != nil {
			t.Fatal(err)
		}
		// The control: without the guard the secret can be read this way.
		if b, err := os.ReadFile(filepath.Join(dir, "out/secret")); err != nil || string(b) != "s" {
			t.Fatal("the control does not reach the file", err)
		}
		d := mustDir(t, dir, DirOptions{})
		d.open = open
		for _, p := range []string{"out/secret", "self", "way/file", "in", "in/file/x"} {
			if f, err := d.Open(p); err == nil {
				f.Close()
				t.Errorf("Open(%s) works", p)
			} else if !errors.Is(err, ErrNotRegular) {
				t.Errorf("Open(%s): %v", p, err)
			}
		}
		for _, p := range []string{"", ".", "..", "../x", "/etc/passwd", "in/../in/file", "in//file", "a\x00b", strings.Repeat("x/", 3000) + "x"} {
			if _, err := d.Open(p); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("Open(%.20q): %v", p, err)
			}
		}
		if _, err := d.Open("gone"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(gone): %v", err)
		}
		f, err := d.Open("in/file")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if b, err := io.ReadAll(f); err != nil || string(b) != "hello" {
			t.Errorf("read %q, %v", b, err)
		}
	})
}

// TestSwappedForLink swaps what was listed for a link to a file outside.
func TestSwappedForLink(t *testing.T) {
	each(t, func(t *testing.T, open func(string) (beneath, error)) {
		outside, dir := t.TempDir(), t.TempDir()
		plant(t, outside, "f file hello\nf dir/file hello")
		plant(t, dir, "f file hello\nf dir/file hello")
		d := mustDir(t, dir, DirOptions{})
		d.open = open
		entries := mustList(t, d)
		for _, p := range []string{"file", "dir"} {
			if err := errors.Join(os.RemoveAll(filepath.Join(dir, p)), os.Symlink(filepath.Join(outside, p), filepath.Join(dir, p))); err != nil {
				t.Fatal(err)
			}
		}
		for n := range entries {
			if e := &entries[n]; e.Mode.IsRegular() {
				var changed *ChangedError
				if err := d.Hash(t.Context(), []*Entry{e}); !errors.As(err, &changed) || changed.Path != e.Path || !e.Digest.IsZero() {
					t.Errorf("Hash(%s): %v", e.Path, err)
				}
			}
		}
	})
}

func TestHashRefusesWhatMoved(t *testing.T) {
	for name, change := range map[string]func(p string) error{
		"removed": os.Remove,
		"grown":   func(p string) error { return os.WriteFile(p, []byte("longer than before"), 0o644) },
		"replaced": func(p string) error {
			return errors.Join(os.WriteFile(p+"2", []byte("hello"), 0o644), os.Rename(p+"2", p))
		},
		"directory": func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			plant(t, dir, "f a hello\nf b other")
			d := mustDir(t, dir, DirOptions{})
			entries := mustList(t, d)
			if err := change(filepath.Join(dir, "a")); err != nil {
				t.Fatal(err)
			}
			err := d.Hash(t.Context(), pointers(entries))
			var changed *ChangedError
			if !errors.As(err, &changed) || changed.Path != "a" {
				t.Fatalf("error %v", err)
			}
			if !strings.HasPrefix(err.Error(), "a in directory "+dir+" changed while it was read") {
				t.Errorf("message %q", err)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("this user may read everything")
	}
	dir := t.TempDir()
	plant(t, dir, "f secret x\nm secret 0\nf locked/in x\nm locked 0\nf shut/in x\nm shut 444")
	t.Cleanup(func() { os.Chmod(filepath.Join(dir, "locked"), 0o755); os.Chmod(filepath.Join(dir, "shut"), 0o755) })
	for rules, want := range map[string]string{
		"shut":           "cannot read directory locked in directory " + dir + " (mode d---------, owner ",
		"locked":         "cannot read directory shut in directory " + dir + " (mode dr--r--r--, owner ",
		"locked|shut":    "cannot read file secret in directory " + dir + " (mode ----------, owner ",
		"secret|s*|lock": "cannot read directory locked in",
	} {
		d := mustDir(t, dir, DirOptions{Ignore: strings.Split(rules, "|"), Parallel: 1})
		entries, err := d.List(t.Context())
		if err == nil {
			err = d.Hash(t.Context(), pointers(entries))
		}
		var denied *AccessError
		if !errors.As(err, &denied) || !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), want) ||
			!strings.HasSuffix(err.Error(), "make it readable, or add it to the ignore file when the build does not need it") {
			t.Errorf("%s: %v\nwant %s...", rules, err, want)
		}
	}
	d := mustDir(t, dir, DirOptions{Ignore: []string{"*"}})
	if got := mustList(t, d); len(got) != 0 {
		t.Errorf("what is ignored was looked at: %v", got)
	}
	if _, err := Dir(filepath.Join(dir, "locked"), DirOptions{}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error %v", err)
	}
}

func TestDirErrors(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f file x\nf bad/.dockerignore [\nd dir/.dockerignore\nl way/.dockerignore /etc/passwd\nf mine/.dockerignore a\nf mine/other b")
	if _, err := Dir(filepath.Join(dir, "none"), DirOptions{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir+"/none does not exist") {
		t.Errorf("error %v", err)
	}
	if _, err := Dir(filepath.Join(dir, "file"), DirOptions{}); err == nil || !strings.Contains(err.Error(), "file is a file: not a directory; name the directory that holds it") {
		t.Errorf("error %v", err)
	}
	for sub, o := range map[string]DirOptions{"bad": {}, "dir": {}, "way": {}, "mine": {IgnoreFile: "absent"}, "mine/.": {Ignore: []string{"a\nb"}}, "mine/./.": {Ignore: []string{"["}}} {
		var wrong *IgnoreError
		if _, err := Dir(filepath.Join(dir, sub), o); !errors.As(err, &wrong) {
			t.Errorf("%s: error %v, want an IgnoreError", sub, err)
		}
	}
	for _, name := range []string{"other", filepath.Join(dir, "mine/other")} {
		d := mustDir(t, filepath.Join(dir, "mine"), DirOptions{IgnoreFile: name})
		if hit, rule := d.ignore.Match("b"); !hit || rule.File != name {
			t.Errorf("ignore file %s: %t %+v", name, hit, rule)
		}
	}
}

func TestListCancelled(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a/b x")
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	d := mustDir(t, dir, DirOptions{})
	entries := mustList(t, d)
	if _, err := d.List(ctx); !errors.Is(err, reason) {
		t.Errorf("List: %v", err)
	}
	if err := d.Hash(ctx, pointers(entries)); !errors.Is(err, reason) {
		t.Errorf("Hash: %v", err)
	}
}

func TestListNativeEqualsPortable(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a/b x\nl c d\nf s 1\nm s 4755\nd t\nm t 1777\nf g 1\nm g 2711\nh hard g")
	makeFifo(t, filepath.Join(dir, "pipe"))
	d := mustDir(t, dir, DirOptions{})
	native := mustList(t, d)
	d.open = openPortable
	if got := mustList(t, d); fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", native) {
		t.Errorf("portable %+v\nnative   %+v", got, native)
	}
}

func TestDirOptionsZero(t *testing.T) {
	o := DirOptions{}.withDefaults()
	if o.IgnoreFile != ".dockerignore" || o.Parallel < 1 || o.Parallel > 32 {
		t.Errorf("%+v", o)
	}
}
