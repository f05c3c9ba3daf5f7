package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// small is a tree with one of everything; its digests are golden.
func small(t testing.TB) *Node {
	t.Helper()
	e := Edit(nil)
	hello := digestOf("hello\n")
	dir := Meta{Mode: 0o755, Mtime: 1e9}
	put := func(p string, n *Node) {
		t.Helper()
		if err := e.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	put("bin", NewDir(dir))
	put("bin/a", NewFile(Meta{Mode: 0o4755, Xattrs: []Xattr{{"user.x", []byte("1")}}}, hello, 6, 7))
	put("bin/b", NewFile(Meta{Mode: 0o4755, Xattrs: []Xattr{{"user.x", []byte("1")}}}, hello, 6, 7))
	put("dev", NewDir(dir))
	put("dev/null", NewDevice(CharDevice, Meta{Mode: 0o666}, 1, 3))
	put("dev/sda", NewDevice(BlockDevice, Meta{Mode: 0o660, GID: 6}, 8, 0))
	put("dev/log", NewFifo(Meta{Mode: 0o600}))
	put("etc", NewDir(dir))
	put("etc/sh", NewSymlink(Meta{Mtime: -5}, "/bin/a"))
	put("tmp", NewDir(Meta{Mode: 0o1777}))
	return e.Tree()
}

func TestGoldenDigests(t *testing.T) {
	root := small(t)
	for _, c := range []struct{ name, got, want string }{
		{"identity", root.Identity().String(), goldenIdentity},
		{"key", root.Key().String(), goldenKey},
		{"marshal", digestOf(string(Marshal(Diff(nil, root)))).String(), goldenMarshal},
		{"empty", Edit(nil).Tree().Identity().String(), goldenEmpty},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s: the recipe changed, so give it a new version", c.name, c.got, c.want)
		}
	}
}

func TestKeyLeavesMtimesOut(t *testing.T) {
	root := small(t)
	e := Edit(root)
	for p, n := range Walk(root) {
		m := n.Meta()
		m.Mtime += 77
		if err := e.SetMeta(p, m); err != nil {
			t.Fatal(err)
		}
	}
	touched := e.Tree()
	if touched.Key() != root.Key() || touched.Identity() == root.Identity() {
		t.Error("Key must ignore mtimes and Identity must not")
	}
}

func TestLinks(t *testing.T) {
	file := func(group uint64) *Node { return NewFile(Meta{Mode: 0o644}, Digest{1}, 1, group) }
	tree := func(groups ...uint64) *Node {
		e := Edit(nil)
		for i, g := range groups {
			dir := string(rune('a' + i%2))
			if err := errors.Join(e.MkdirAll(dir, Meta{}), e.Put(fmt.Sprintf("%s/%d", dir, i), file(g))); err != nil {
				t.Fatal(err)
			}
		}
		return e.Tree()
	}
	for _, c := range []struct {
		old, new *Node
		changes  int
	}{
		{tree(1, 1, 0, 0), tree(9, 9, 0, 0), 0}, // numbers do not matter
		{tree(1, 2, 3, 4), tree(0, 0, 0, 0), 0}, // a group of one is none
		{tree(0, 0, 0, 0), tree(1, 1, 0, 0), 2},
		{tree(1, 1, 1, 0), tree(1, 1, 1, 1), 4}, // a set is made anew as a whole
		{tree(1, 1, 1, 1), tree(1, 1, 1, 0), 1}, // the rest of a set stays
		{tree(1, 1, 1, 1), tree(1, 1, 2, 2), 2},
		{tree(1, 1, 1), tree(1, 1), 1},
		{tree(1, 1, 2, 2), tree(1, 2, 1, 2), 4},
	} {
		if got := Diff(c.old, c.new); len(got) != c.changes {
			t.Errorf("%v\nto\n%v\nare %d changes, want %d: %v", describe(c.old), describe(c.new), len(got), c.changes, got)
		}
		checkDiff(t, -1, c.old, c.new)
		if (c.old.Identity() == c.new.Identity()) != (c.changes == 0) || (c.old.Key() == c.new.Key()) != (c.changes == 0) {
			t.Errorf("%v\nand\n%v: digests do not follow the links", describe(c.old), describe(c.new))
		}
	}
}

func TestGraftKeepsGroupsApart(t *testing.T) {
	e := Edit(small(t)) // has group 7
	g := e.Graft()
	other := NewFile(Meta{Mode: 0o4755, Xattrs: []Xattr{{"user.x", []byte("1")}}}, digestOf("hello\n"), 6, 7)
	sub := Edit(nil)
	if err := errors.Join(sub.Put("x", other), g.Put("tmp/one", other), g.Put("tmp/d", sub.Tree())); err != nil {
		t.Fatal(err)
	}
	want := []linkSet{{"bin/a", "bin/b"}, {"tmp/d/x", "tmp/one"}}
	if got := linkSets(e.Tree(), true); !slices.EqualFunc(got, want, func(a, b linkSet) bool { return slices.Equal(a, b) }) {
		t.Errorf("links %v, want %v", got, want)
	}
}

func TestResolve(t *testing.T) {
	e := Edit(nil)
	for p, target := range map[string]string{
		"abs": "/usr/bin", "up": "../../../usr", "loop": "loop2", "loop2": "/loop", "chain": "abs/../lib", "gone": "nowhere",
		"deep": "gone/x", "empty": "", "usr/lnk": "./bin/", "file": "usr/bin/sh",
	} {
		if err := errors.Join(e.MkdirAll("usr/bin", Meta{}), e.MkdirAll("usr/lib", Meta{}), e.Put(p, NewSymlink(Meta{}, target))); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Put("usr/bin/sh", NewFile(Meta{}, Digest{}, 0, 0)); err != nil {
		t.Fatal(err)
	}
	root := e.Tree()
	for _, c := range []struct {
		path   string
		follow bool
		want   string
		exists bool
		err    error
	}{
		{"", true, "", true, nil},
		{"/", true, "", true, nil},
		{"..", true, "", true, nil},
		{"abs", true, "usr/bin", true, nil},
		{"abs", false, "abs", true, nil},
		{"abs/", false, "abs", true, nil},
		{"abs/sh", false, "usr/bin/sh", true, nil},
		{"/abs//./sh", false, "usr/bin/sh", true, nil},
		{"up/lnk/new", true, "usr/bin/new", false, nil},
		{"chain", true, "usr/lib", true, nil},
		{"gone", true, "nowhere", false, nil},
		{"loop", true, "", false, ErrLoop},
		{"loop", false, "loop", true, nil},
		{"deep", true, "", false, fs.ErrNotExist},
		{"gone/x", true, "", false, fs.ErrNotExist},
		{"usr/none/x", true, "", false, fs.ErrNotExist},
		{"file/x", true, "", false, ErrNotDir},
		{"usr/bin/sh/..", true, "", false, ErrNotDir},
		{"empty", true, "", false, fs.ErrNotExist},
		{"a\x00b", true, "", false, ErrName},
		{strings.Repeat("x", 256), true, "", false, ErrTooLong},
		{strings.Repeat("./", 70_000), true, "", false, ErrTooLong},
	} {
		got, n, err := Resolve(root, c.path, c.follow)
		if got != c.want || (n != nil) != c.exists || !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("Resolve(%.20q, %v) = %q, %v, %v; want %q", c.path, c.follow, got, n, err, c.want)
		}
		if _, typed := errors.AsType[*PathError](err); err != nil && !typed {
			t.Errorf("Resolve(%.20q): %T, want *PathError", c.path, err)
		}
	}
}

func TestBadPaths(t *testing.T) {
	for path, want := range map[string]error{
		"a/":                              ErrName,
		"/a":                              ErrName,
		"a//b":                            ErrName,
		".":                               ErrName,
		"a/../b":                          ErrName,
		"a\x00":                           ErrName,
		strings.Repeat("n", 256):          ErrTooLong,
		strings.Repeat("d/", 2047) + "ef": ErrTooLong,
		"missing/x":                       fs.ErrNotExist,
		"file/x":                          ErrNotDir,
	} {
		e := Edit(nil)
		f := NewFile(Meta{}, Digest{}, 0, 0)
		if err := e.Put("file", f); err != nil {
			t.Fatal(err)
		}
		for op, err := range map[string]error{"put": e.Put(path, f), "set": e.SetMeta(path, Meta{})} {
			if _, typed := errors.AsType[*PathError](err); !typed || !errors.Is(err, want) {
				t.Errorf("%s %.10q: %v, want %v", op, path, err, want)
			}
		}
		if _, err := Apply(nil, []Change{{Path: path}}); want != fs.ErrNotExist && want != ErrNotDir && !errors.Is(err, want) {
			t.Errorf("apply %.10q: %v, want %v", path, err, want)
		}
	}
}

// A tree put into itself again and again would become deeper than any stack.
func TestDepthIsBounded(t *testing.T) {
	n := NewDir(Meta{})
	for i := range 10_000 {
		e := Edit(nil)
		err := e.Put("d", n)
		if errors.Is(err, ErrTooLong) {
			if i < MaxPath/2-1 {
				t.Errorf("refused at depth %d", i)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		n = e.Tree()
	}
	t.Error("no bound on depth")
}

// What was removed no longer counts against the bound.
func TestDepthAfterRemove(t *testing.T) {
	e := Edit(nil)
	long := strings.Repeat("d/", 2000) + "f"
	if _, err := Apply(nil, []Change{{Path: long, Node: NewFifo(Meta{})}}); err != nil {
		t.Fatal(err)
	}
	root, _ := Apply(nil, []Change{{Path: long, Node: NewFifo(Meta{})}})
	sub := Edit(root)
	if err := errors.Join(sub.Remove("d/d/d"), e.MkdirAll(strings.Repeat("e/", 1000)+"e", Meta{})); err != nil {
		t.Fatal(err)
	}
	if err := e.Put(strings.Repeat("e/", 1000)+"x", sub.Tree()); err != nil {
		t.Error(err)
	}
}

func TestApplyFollowsParents(t *testing.T) {
	root := small(t)
	f := NewFile(Meta{}, Digest{9}, 1, 0)
	e := Edit(root)
	if err := errors.Join(e.Put("lib", NewSymlink(Meta{}, "usr/lib")), e.Put("self", NewSymlink(Meta{}, "self"))); err != nil {
		t.Fatal(err)
	}
	got, err := Apply(e.Tree(), []Change{
		{Path: "lib", Node: NewSymlink(Meta{}, "bin")},
		{Path: "lib/x", Node: f},
		{Path: "new/deep/x", Node: f},
		{Path: "self/x"}, // removal where nothing can be
	})
	if err != nil {
		t.Fatal(err)
	}
	if Lookup(got, "bin/x") == nil || Lookup(got, "new/deep/x") == nil || Lookup(got, "lib").Kind() != Symlink {
		t.Errorf("got %v", describe(got))
	}
	if m := Lookup(got, "new").Meta(); !m.Equal(Meta{Mode: 0o755}) {
		t.Errorf("missing parent has %+v", m)
	}
	for path, want := range map[string]error{"self/x": ErrLoop, "bin/a/x": ErrNotDir} {
		if _, err := Apply(e.Tree(), []Change{{Path: path, Node: f}}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if _, err := Apply(root, []Change{{Path: ""}}); !errors.Is(err, ErrRoot) {
		t.Errorf("removing the root: %v", err)
	}
	opaque, err := Apply(root, []Change{{Path: "bin", Node: NewDir(Meta{}), Opaque: true}, {Path: "bin/z", Node: f}})
	if err != nil || Lookup(opaque, "bin").Len() != 1 {
		t.Errorf("opaque: %v %v", describe(opaque), err)
	}
}

func TestSnapshotsDuringEdits(t *testing.T) {
	e := Edit(nil)
	if err := e.Put("d", NewDir(Meta{})); err != nil {
		t.Fatal(err)
	}
	var seen []*Node
	for i := range 1000 {
		if err := e.Put(fmt.Sprintf("d/%04d", (i*7919)%1000), NewFifo(Meta{})); err != nil {
			t.Fatal(err)
		}
		seen = append(seen, e.Lookup("d"))
	}
	for i, n := range seen {
		count := 0
		for range n.All() {
			count++
		}
		if n.Len() != i+1 || count != i+1 {
			t.Fatalf("snapshot %d has %d names, counts %d", i, count, n.Len())
		}
	}
}

func TestDigestsConcurrently(t *testing.T) {
	root := small(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if root.Identity().String() != goldenIdentity || root.Key().String() != goldenKey {
				t.Error("wrong digest")
			}
		})
	}
	wg.Wait()
}

func TestFS(t *testing.T) {
	e := Edit(small(t))
	// TestFS opens everything, which devices and fifos refuse.
	if err := errors.Join(e.Remove("dev"), e.Put("etc/rel", NewSymlink(Meta{}, "../bin")), e.Put("etc/abs", NewSymlink(Meta{}, "/etc/rel"))); err != nil {
		t.Fatal(err)
	}
	fsys := FS(e.Tree(), openHello)
	if err := fstest.TestFS(fsys, "bin/a", "bin/b", "etc/sh", "etc/rel", "tmp"); err != nil {
		t.Error(err)
	}
	if b, err := fs.ReadFile(fsys, "etc/abs/a"); string(b) != "hello\n" || err != nil {
		t.Errorf("through links: %q, %v", b, err)
	}
	info, err := fs.Stat(fsys, "bin/a")
	if err != nil || info.Mode() != fs.ModeSetuid|0o755 || info.Sys().(*Node).Group() != 7 {
		t.Errorf("stat: %v, %v", info, err)
	}
	if _, err := FS(small(t), openHello).Open("dev/null"); err == nil {
		t.Error("a device could be opened")
	}
	for name, want := range map[string]error{"nope": fs.ErrNotExist, "../x": fs.ErrInvalid, "bin/a/b": ErrNotDir} {
		_, err := fs.Stat(fsys, name)
		if pe, ok := errors.AsType[*fs.PathError](err); !ok || pe.Path != name || !errors.Is(err, want) {
			t.Errorf("stat %s: %v, want %v", name, err, want)
		}
	}
}

func openHello(Digest) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader([]byte("hello\n"))), nil
}

func TestDigestText(t *testing.T) {
	d := digestOf("x")
	if got, err := ParseDigest(d.String()); got != d || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "sha256:", "sha512:" + strings.Repeat("0", 64), "sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("g", 64)} {
		if _, err := ParseDigest(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestMetaIsNormal(t *testing.T) {
	x := []Xattr{{"b", []byte("1")}, {"a", nil}, {"b", []byte("2")}}
	m := NewDir(Meta{Mode: 0o170755, Xattrs: x}).Meta()
	if m.Mode != 0o755 || len(m.Xattrs) != 2 || m.Xattrs[0].Name != "a" || string(m.Xattrs[1].Value) != "2" {
		t.Errorf("got %+v", m)
	}
	if x[0].Name != "b" {
		t.Error("the caller's slice was sorted")
	}
}

func TestWithParents(t *testing.T) {
	root := small(t)
	e := Edit(root)
	f := NewFifo(Meta{})
	if err := errors.Join(e.MkdirAll("a/b", Meta{Mode: 0o700}), e.Put("a/b/c", f), e.Put("tmp/x", f), e.Put("tmp/y", f),
		e.Remove("bin/a"), e.Put("a-b", f)); err != nil {
		t.Fatal(err)
	}
	now := e.Tree()
	changes := Diff(root, now)
	var got []string
	for _, c := range WithParents(changes, now) {
		line := c.Path + " gone"
		if c.Node != nil {
			line = fmt.Sprintf("%s %#o", c.Path, c.Node.Meta().Mode)
		}
		got = append(got, line)
	}
	want := []string{"a 0700", "a/b 0700", "a/b/c 0", "a-b 0", "bin 0755", "bin/a gone", "tmp 01777", "tmp/x 0", "tmp/y 0"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	after, err := Apply(root, WithParents(changes, now))
	if err != nil || after.Identity() != now.Identity() {
		t.Errorf("parents changed the result: %v", err)
	}
	again := WithParents(WithParents(changes, now), now)
	if len(again) != len(got) {
		t.Errorf("added twice: %v", again)
	}
}
