//go:build linux

package snapshot

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// TestSharedBlocks makes a layer of a file that another layer has, on a file system whose files can share blocks: its
// bytes are there once.
func TestSharedBlocks(t *testing.T) {
	const size = 64 << 20
	dir := mountXFS(t)
	store, err := Open(filepath.Join(dir, "snapshots"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var c contents
	text := "f big 0644 0:0 " + string(bytes.Repeat([]byte("x"), size))
	first := c.parse(t, text)
	changes := tree.Diff(nil, first)
	if _, err := store.Layer(t.Context(), tree.Digest{1}, first, changes, c.open); err != nil {
		t.Fatal(err)
	}
	before := free(t, dir)
	second := c.parse(t, "d sub 0755 0:0\n"+"f sub/copy 0600 0:0 "+string(bytes.Repeat([]byte("x"), size)))
	out, err := store.Layer(t.Context(), tree.Digest{2}, second, tree.Diff(nil, second), store.Opener(tree.Digest{1}, changes))
	if err != nil {
		t.Fatal(err)
	}
	if used := before - free(t, dir); used > size/8 {
		t.Errorf("the second layer of the same %d bytes takes %d more", size, used)
	}
	before = free(t, dir)
	if _, err := store.Layer(t.Context(), tree.Digest{3}, second, tree.Diff(nil, second), c.open); err != nil {
		t.Fatal(err)
	}
	if used := before - free(t, dir); used < size {
		t.Errorf("bytes out of memory take %d, so this file system cannot show what is shared", used)
	}
	f, err := os.Open(filepath.Join(out, "sub/copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := io.Copy(io.Discard, f); n != size || err != nil {
		t.Errorf("the copy has %d bytes, %v", n, err)
	}
}

// free returns the free bytes of a file system, once everything is written.
func free(t *testing.T, dir string) int64 {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}

// mountXFS gives the test an XFS of its own, in a file.
func mountXFS(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	dir := t.TempDir()
	img, mnt := filepath.Join(dir, "img"), filepath.Join(dir, "mnt")
	if err := os.Mkdir(mnt, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(img, 400<<20); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"mkfs.xfs", "-q", "-m", "reflink=1", img}, {"mount", "-o", "loop", img, mnt}} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s does not work here: %v\n%s", argv[0], err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mnt, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return mnt
}
