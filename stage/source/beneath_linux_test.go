package source

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func makeFifo(t *testing.T, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o644); err != nil {
		t.Skip("no named pipes here:", err)
	}
}

// TestWithoutOpenat2 runs the way of kernels before 5.6.
func TestWithoutOpenat2(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a/b/c hello\nl a/out /etc\nl a/b/link c")
	r, err := openBeneath(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.(*linuxRoot).noOpen2.Store(true)
	for _, p := range []string{"a/out/passwd", "a/b/link", "a/out"} {
		if f, err := r.openFile(p); err == nil {
			f.Close()
			t.Errorf("%s was opened", p)
		} else if !isReplaced(err) {
			t.Errorf("%s: %v", p, err)
		}
	}
	before := descriptors(t)
	for range 50 {
		f, err := r.openFile("a/b/c")
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		if _, err := r.openFile("a/x/c"); err == nil {
			t.Fatal("a/x/c was opened")
		}
		var e Entry
		if err := r.lstat("a/b/link", &e); err != nil || e.Mode&os.ModeSymlink == 0 {
			t.Fatal(e, err)
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here:", err)
	}
	return len(fds)
}

func TestXattrs(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a x\nf none x\nl link a")
	big := make([]byte, 1000)
	for name, value := range map[string][]byte{"user.b": []byte("2"), "user.a": nil, "user.c": big} {
		if err := unix.Lsetxattr(filepath.Join(dir, "a"), name, value, 0); err != nil {
			t.Skip("no extended attributes here:", err)
		}
	}
	entries := mustList(t, mustDir(t, dir, DirOptions{Xattrs: true}))
	x := entries[0].Xattrs
	if len(x) != 3 || x[0].Name != "user.a" || len(x[0].Value) != 0 || x[1].Name != "user.b" || string(x[1].Value) != "2" || len(x[2].Value) != 1000 {
		t.Errorf("xattrs %+v", x)
	}
	if entries[1].Xattrs != nil || entries[2].Xattrs != nil {
		t.Errorf("xattrs on others: %+v", entries[1:])
	}
	if e := mustList(t, mustDir(t, dir, DirOptions{})); e[0].Xattrs != nil {
		t.Error("xattrs were not asked for")
	}
}
