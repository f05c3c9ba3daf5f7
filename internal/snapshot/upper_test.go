//go:build linux

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

func mustUpper(t testing.TB, s *Store, base *tree.Node) *Upper {
	t.Helper()
	u, err := s.NewUpper(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestUpperTakesTheRootsMetadata(t *testing.T) {
	var c contents
	s := openStore(t, tempDir(t))
	u := mustUpper(t, s, c.parse(t, `d / 1555 0:0 @77`))
	st, err := os.Stat(u.Dir)
	if err != nil || st.Mode() != fs.ModeDir|fs.ModeSticky|0o555 || !st.ModTime().Equal(time.Unix(77, 0)) {
		t.Errorf("%v %v, %v", st.Mode(), st.ModTime(), err)
	}
	if err := first(u.Discard(), u.Discard()); err != nil {
		t.Error(err)
	}
	s.session.sweeper.Wait()
	if _, err := os.Stat(u.Work); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Discard: %v", err)
	}
	if _, err := u.Scan(t.Context(), nil, ScanOptions{}); err == nil {
		t.Error("Scan after Discard")
	}
	if _, err := u.Adopt(t.Context(), digestOf(""), nil); err == nil {
		t.Error("Adopt after Discard")
	}
}

// From the second upper on the next one's directories are there before somebody asks; one that nobody takes goes with the store.
func TestUpperIsMadeAhead(t *testing.T) {
	dir := tempDir(t)
	s := openStore(t, dir)
	mustUpper(t, s, nil)
	s.session.sweeper.Wait()
	if s.session.ahead != "" {
		t.Errorf("after one upper %q was made, which no second may want", s.session.ahead)
	}
	mustUpper(t, s, nil)
	s.session.sweeper.Wait()
	ahead := s.session.ahead
	if u := mustUpper(t, s, nil); ahead == "" || u.name != ahead {
		t.Errorf("the third upper is %q, and %q was made ahead", u.name, ahead)
	}
	s.session.sweeper.Wait()
	if ahead := s.session.ahead; ahead == "" {
		t.Error("nothing was made ahead of the fourth")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(dir + "/*/tmp/*/"); len(left) > 0 {
		t.Errorf("left after Close: %q", left)
	}
}

// On ext4 the directories of a step get a place of their own.
func TestSessionIsSpread(t *testing.T) {
	s := openStore(t, tempDir(t))
	var st unix.Statfs_t
	if err := unix.Fstatfs(s.session.fd, &st); err != nil || st.Type != unix.EXT4_SUPER_MAGIC {
		t.Skipf("no ext4: type %#x, %v", st.Type, err)
	}
	if flags, err := unix.IoctlGetUint32(s.session.fd, unix.FS_IOC_GETFLAGS); err != nil || flags&topDir == 0 {
		t.Errorf("flags %#x, %v", flags, err)
	}
}

// More rubbish than may wait, and a Close in the middle of its removal.
func TestDiscardInTheBackground(t *testing.T) {
	dir := tempDir(t)
	s := openStore(t, dir)
	var uppers []*Upper
	for range 2 * maxTrash {
		u := mustUpper(t, s, nil)
		if err := first(os.WriteFile(u.Dir+"/f", nil, 0o644), os.Mkdir(u.Work+"/work", 0)); err != nil {
			t.Fatal(err)
		}
		uppers = append(uppers, u)
	}
	for _, u := range uppers {
		if err := u.Discard(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(dir + "/*/tmp/*")
	if err != nil || len(left) != 1 || filepath.Base(left[0]) != lockFile {
		t.Errorf("left after Close: %q, %v", left, err)
	}
}

func TestScanSetsTimesOnDisk(t *testing.T) {
	var c contents
	base := c.parse(t, smallTree)
	u := mustUpper(t, openStore(t, tempDir(t)), base)
	if err := first(os.Mkdir(u.Dir+"/a", 0o755), os.Chmod(u.Dir+"/a", 0o755), os.WriteFile(u.Dir+"/z", []byte("zzzz"), 0o644), os.Chmod(u.Dir+"/z", 0o644),
		os.WriteFile(u.Dir+"/a/new", nil, 0o644), os.Symlink("gone", u.Dir+"/a/link")); err != nil {
		t.Fatal(err)
	}
	changes, err := u.Scan(t.Context(), base, ScanOptions{Epoch: time.Unix(5, 6)})
	if err != nil || len(changes) != 2 {
		t.Fatalf("%v\n%s", err, list(changes))
	}
	for path, want := range map[string]time.Time{"": time.Unix(1e9, 0), "/a": time.Unix(1e9, 0), "/z": time.Unix(1e9, 0), "/a/new": time.Unix(5, 6), "/a/link": time.Unix(5, 6)} {
		st, err := os.Lstat(u.Dir + path)
		if err != nil || !st.ModTime().Equal(want) {
			t.Errorf("%q: %v, %v; want %v", path, st.ModTime(), err, want)
		}
	}
	again, err := u.Scan(t.Context(), base, ScanOptions{Epoch: time.Unix(5, 6)})
	mustDiff(t, fmt.Sprintf("a second Scan (%v)", err), list(again), list(changes))
}

func TestScanBounds(t *testing.T) {
	s := openStore(t, tempDir(t))
	u := mustUpper(t, s, nil)
	for i := range 20 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", u.Dir, i), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err := u.Scan(t.Context(), nil, ScanOptions{MaxEntries: 19})
	if e, ok := errors.AsType[*LimitError](err); !ok || e.Max != 19 {
		t.Errorf("entries: %v", err)
	}
	if changes, err := u.Scan(t.Context(), nil, ScanOptions{MaxEntries: 20}); err != nil || len(changes) != 20 {
		t.Errorf("entries: %d, %v", len(changes), err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the cause")
	cancel(cause)
	if _, err := u.Scan(ctx, nil, ScanOptions{}); !errors.Is(err, cause) {
		t.Errorf("cancelled: %v", err)
	}

	big := mustUpper(t, s, nil)
	if err := first(os.WriteFile(big.Dir+"/sparse", nil, 0o644), os.Truncate(big.Dir+"/sparse", 1<<40)); err != nil {
		t.Fatal(err)
	}
	_, err = big.Scan(t.Context(), nil, ScanOptions{})
	if e, ok := errors.AsType[*LimitError](err); !ok || e.Path != "sparse" {
		t.Errorf("size: %v", err)
	}

	deep := mustUpper(t, s, nil)
	makeDeep(t, deep.Dir, 1500)
	_, err = deep.Scan(t.Context(), nil, ScanOptions{})
	if _, ok := errors.AsType[*LimitError](err); !ok {
		t.Errorf("depth: %v", err)
	}
	if err := deep.Discard(); err != nil {
		t.Errorf("Discard of a deep tree: %v", err)
	}
	s.session.sweeper.Wait()
	if _, err := os.Lstat(deep.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Discard: %v", err)
	}
}

// makeDeep makes directories in each other, deeper than any path can name, with a file and a shut mode in each.
func makeDeep(t testing.TB, dir string, depth int) {
	t.Helper()
	at, err := openat(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	for range depth {
		if err != nil {
			t.Fatal(err)
		}
		err = first(unix.Mkdirat(at, "dd", 0o755), unix.Symlinkat("/etc/passwd", at, "link"))
		next := -1
		if err == nil {
			next, err = openat(at, "dd", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		}
		unix.Close(at)
		at = next
	}
	unix.Close(at)
}

func TestRemoveTree(t *testing.T) {
	dir := tempDir(t)
	if err := first(os.MkdirAll(dir+"/top/shut/in", 0o755), os.WriteFile(dir+"/top/shut/in/x", nil, 0), os.Chmod(dir+"/top/shut/in", 0o500),
		os.Chmod(dir+"/top/shut", 0), os.Mkdir(dir+"/kept", 0o755), os.Symlink(dir+"/kept", dir+"/top/kept"), os.WriteFile(dir+"/kept/x", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	makeDeep(t, dir+"/top", 300)
	at, err := openRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer at.close()
	if err := removeTree(at.fd, "top", func() bool { return true }); !errors.Is(err, errStopped) {
		t.Errorf("stopped: %v", err)
	}
	if err := first(removeTree(at.fd, "top", nil), removeTree(at.fd, "top", nil)); err != nil {
		t.Error(err)
	}
	names, _ := os.ReadDir(dir)
	if _, err := os.Stat(dir + "/kept/x"); err != nil || len(names) != 1 {
		t.Errorf("left: %v; behind the link: %v", names, err)
	}
}

func TestAdopt(t *testing.T) {
	dir := tempDir(t)
	s := openStore(t, dir)
	id := digestOf("adopted")
	var adopted string
	for range 2 { // the second finds the first there
		u := mustUpper(t, s, nil)
		if _, err := u.Adopt(t.Context(), id, nil); err == nil {
			t.Error("Adopt before Scan")
		}
		if err := os.WriteFile(u.Dir+"/x", []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		changes, err := u.Scan(t.Context(), nil, ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := u.Adopt(t.Context(), id, changes)
		if err != nil || adopted != "" && got != adopted {
			t.Fatalf("%s, %v", got, err)
		}
		adopted = got
		if left, _ := filepath.Glob(dir + "/*/tmp/*/*/"); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
	if b, err := os.ReadFile(adopted + "/x"); string(b) != "x" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

// TestAdoptedWhiteouts: overlayfs makes whiteouts as links of one inode in the work directory, which goes when the upper is adopted.
func TestAdoptedWhiteouts(t *testing.T) {
	var c contents
	base := c.parse(t, smallTree)
	dir := tempDir(t)
	s := openStore(t, dir)
	u := mustUpper(t, s, base)
	shared := filepath.Join(u.Work, "whiteout")
	if err := unix.Mknod(shared, unix.S_IFCHR, 0); err != nil {
		t.Skipf("whiteouts cannot be made: %v", err)
	}
	if err := os.Link(shared, filepath.Join(u.Dir, "z")); err != nil {
		t.Fatal(err)
	}
	changes, err := u.Scan(t.Context(), base, ScanOptions{})
	if err != nil || len(changes) != 1 || changes[0].Node != nil {
		t.Fatalf("%v, %v", changes, err)
	}
	id := digestOf("whiteouts")
	adopted, err := u.Adopt(t.Context(), id, changes)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // the work directory is gone
		t.Fatal(err)
	}
	full, err := tree.Apply(base, changes)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Dir(adopted))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openStore(t, dir).Layer(t.Context(), id, full, changes, c.open); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(filepath.Dir(adopted)); err != nil || !os.SameFile(before, after) {
		t.Errorf("the directory was made again (%v)", err)
	}
}

// A store on an overlay takes its uppers elsewhere and adopts them by a copy.
func TestStoreOnAnOverlay(t *testing.T) {
	needOverlay(t)
	tmp := tempDir(t)
	for _, d := range []string{"u", "w", "m"} {
		if err := os.Mkdir(filepath.Join(tmp, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	out := inChild(t, childSpec{Action: "nested", Lowers: []string{emptyDir(t)}, Upper: tmp + "/u", Work: tmp + "/w", Mount: tmp + "/m"})
	mustDiff(t, "adopted", out, "overlayfs refused\nnew <new> copied\nleft 0\n")
}

func init() {
	actions["nested"] = func([]string) error {
		ctx := context.Background()
		cwd, err := os.Getwd()
		if err != nil {
			return err
		}
		s, err := Open(cwd+"/cache", Options{})
		if err != nil {
			return err
		}
		if _, err = s.NewUpper(ctx, nil); err == nil {
			return errors.New("an upper on an overlay")
		}
		if e, ok := errors.AsType[*UpperError](err); ok && strings.Contains(e.Error(), "UpperDir") {
			fmt.Println(e.Filesystem, "refused")
		}
		if err := first(s.Close(), os.Mkdir("tmpfs", 0o755), unix.Mount("tmpfs", "tmpfs", "tmpfs", 0, "")); err != nil {
			return err
		}
		if s, err = Open(cwd+"/cache", Options{UpperDir: cwd + "/tmpfs"}); err != nil {
			return err
		}
		u, err := s.NewUpper(ctx, nil)
		if err != nil {
			return err
		}
		if err := os.WriteFile(u.Dir+"/new", []byte("<new>"), 0o644); err != nil {
			return err
		}
		changes, err := u.Scan(ctx, nil, ScanOptions{})
		if err != nil {
			return err
		}
		dir, err := u.Adopt(ctx, digestOf("x"), changes)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(dir + "/new")
		if err != nil {
			return err
		}
		fmt.Println("new", string(b), "copied")
		if err := s.Close(); err != nil {
			return err
		}
		left, _ := filepath.Glob("tmpfs/*/*/*/")
		fmt.Println("left", len(left))
		return nil
	}
}
