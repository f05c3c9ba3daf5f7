//go:build linux

package snapshot

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

const smallTree = `
	d / 0755 0:0
	d a 0755 0:0
	f a/x 0644 0:0 xx
	f a/y 0600 0:0 yyy
	f z 0644 0:0 zzzz`

func TestLayerIsUsedAgainWhileItsSealHolds(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string) error{
		"nothing": func(*testing.T, string) error { return nil },
		"content": func(_ *testing.T, dir string) error { // same size and mtime
			st, err := os.Stat(dir + "/z")
			return first(err, os.WriteFile(dir+"/z", []byte("ZZZZ"), 0o644), os.Chtimes(dir+"/z", st.ModTime(), st.ModTime()))
		},
		"truncated": func(_ *testing.T, dir string) error { return os.Truncate(dir+"/a/x", 1) },
		"removed":   func(_ *testing.T, dir string) error { return os.Remove(dir + "/a/y") },
		"added":     func(_ *testing.T, dir string) error { return os.WriteFile(dir+"/a/new", nil, 0o644) },
		"mode":      func(_ *testing.T, dir string) error { return os.Chmod(dir+"/a", 0o700) },
		"manifest":  func(_ *testing.T, dir string) error { return os.Truncate(dir+"/../manifest", 100) },
		"unlisted":  func(_ *testing.T, dir string) error { return os.Remove(dir + "/../manifest") },
		"gone":      func(_ *testing.T, dir string) error { return os.RemoveAll(filepath.Dir(dir)) },
		"otherboot": func(t *testing.T, dir string) error { return reseal(t, dir, "another") },
		"crash": func(t *testing.T, dir string) error { // a lost write that the seal does not show
			return first(os.WriteFile(dir+"/z", []byte("\x00\x00\x00\x00"), 0o644), reseal(t, dir, "another"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var c contents
			full := c.parse(t, smallTree)
			store := tempDir(t)
			s := openStore(t, store)
			dir := mustLayer(t, s, &c, nil, full)
			if !s.Has(full.Identity()) || c.opens != 3 {
				t.Fatalf("after Layer: Has %v, %d contents opened", s.Has(full.Identity()), c.opens)
			}
			if err := damage(t, dir); err != nil {
				t.Fatal(err)
			}
			c.opens = 0
			other := openStore(t, store) // another process has not verified anything yet
			again := mustLayer(t, other, &c, nil, full)
			want := 3
			if name == "nothing" || name == "otherboot" {
				want = 0
			}
			if again != dir || c.opens != want {
				t.Errorf("got %s with %d contents opened, want %s with %d", again, c.opens, dir, want)
			}
			if b, err := os.ReadFile(dir + "/z"); string(b) != "zzzz" {
				t.Errorf("z is %q, %v", b, err)
			}
			m, err := readManifest(unix.AT_FDCWD, filepath.Dir(dir)+"/manifest")
			if err != nil || m.boot != bootID() {
				t.Errorf("manifest %v, %v", m, err)
			}
		})
	}
}

// reseal makes the manifest of a directory as it would be had it been sealed as it is now, in another boot.
func reseal(t *testing.T, dir, boot string) error {
	s := openStore(t, tempDir(t))
	r, err := openRoot(dir)
	if err != nil {
		return err
	}
	defer r.close()
	m, err := s.seal(t.Context(), r)
	m.boot = boot
	return first(err, writeManifest(unix.AT_FDCWD, filepath.Dir(dir), m))
}

func TestWithoutABootIDLayersAreSyncedAndTrusted(t *testing.T) {
	var c contents
	full := c.parse(t, smallTree)
	dir := tempDir(t)
	s := openStore(t, dir)
	s.boot = ""
	mustLayer(t, s, &c, nil, full)
	c.opens = 0
	mustLayer(t, openStore(t, dir), &c, nil, full)
	if c.opens != 0 {
		t.Errorf("a synced layer was made again")
	}
}

func TestLayerIsMadeOnce(t *testing.T) {
	var c contents
	full := c.parse(t, smallTree)
	dir := tempDir(t)
	var wg sync.WaitGroup
	for range 3 { // stores of one directory exclude each other as processes do: flock is per open file
		s := openStore(t, dir)
		for range 8 {
			wg.Go(func() {
				if _, err := s.Layer(t.Context(), full.Identity(), full, tree.Diff(nil, full), c.open); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if c.opens != 3 {
		t.Errorf("%d contents opened, want each of 3 once", c.opens)
	}
}

func TestWaiterTriesForItselfWhenTheOtherFails(t *testing.T) {
	var c contents
	full := c.parse(t, smallTree)
	s := openStore(t, tempDir(t))
	ctx, cancel := context.WithCancel(t.Context())
	inside, leave := make(chan bool, 3), make(chan bool)
	failed := make(chan error)
	go func() {
		_, err := s.Layer(ctx, full.Identity(), full, tree.Diff(nil, full), func(d tree.Digest) (io.ReadCloser, error) {
			inside <- true
			<-leave
			return c.open(d)
		})
		failed <- err
	}()
	<-inside
	done := make(chan error)
	go func() {
		_, err := s.Layer(t.Context(), full.Identity(), full, tree.Diff(nil, full), c.open)
		done <- err
	}()
	cancel()
	close(leave)
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the second: %v", err)
	}
}

func TestFailedLayerLeavesNothing(t *testing.T) {
	errBroken := errors.New("broken")
	long := strings.Repeat("d/", 2100) + "d"
	for name, tt := range map[string]struct {
		open    tree.Opener
		changes []tree.Change
		want    func(error) bool
	}{
		"opener": {func(tree.Digest) (io.ReadCloser, error) { return nil, errBroken }, nil, func(err error) bool { return errors.Is(err, errBroken) }},
		"reader": {func(tree.Digest) (io.ReadCloser, error) { return io.NopCloser(iotest.ErrReader(errBroken)), nil }, nil,
			func(err error) bool { return errors.Is(err, errBroken) }},
		"short": {func(tree.Digest) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("")), nil }, nil,
			func(err error) bool { _, ok := errors.AsType[*SizeError](err); return ok }},
		"long": {func(tree.Digest) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("123456")), nil }, nil,
			func(err error) bool { _, ok := errors.AsType[*SizeError](err); return ok }},
		"path": {nil, []tree.Change{{Path: long, Node: tree.NewFifo(tree.Meta{})}}, func(err error) bool { _, ok := errors.AsType[*LimitError](err); return ok }},
		"name": {nil, []tree.Change{{Path: strings.Repeat("n", 256), Node: tree.NewFifo(tree.Meta{})}},
			func(err error) bool { _, ok := errors.AsType[*LimitError](err); return ok }},
		"dotdot": {nil, []tree.Change{{Path: "a/../../x", Node: tree.NewFifo(tree.Meta{})}}, func(err error) bool { return err != nil }},
		"twice": {nil, []tree.Change{{Path: "x", Node: tree.NewFifo(tree.Meta{})}, {Path: "x", Node: tree.NewFifo(tree.Meta{})}},
			func(err error) bool { return errors.Is(err, fs.ErrExist) }},
	} {
		t.Run(name, func(t *testing.T) {
			var c contents
			full := c.parse(t, smallTree)
			dir := tempDir(t)
			s := openStore(t, dir)
			changes := tt.changes
			if changes == nil {
				changes = tree.Diff(nil, full)
			}
			_, err := s.Layer(t.Context(), full.Identity(), full, changes, tt.open)
			if err == nil || !tt.want(err) {
				t.Errorf("error %v", err)
			}
			if s.Has(full.Identity()) {
				t.Error("the layer is there")
			}
			left, _ := filepath.Glob(dir + "/*/tmp/*/*/")
			if len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// A list of changes in which a link takes the place of a directory must not lead a write out of the layer.
func TestLinksInALayerAreNeverFollowed(t *testing.T) {
	for _, walk := range []bool{false, true} {
		outside := tempDir(t)
		dir := tempDir(t)
		if err := first(os.Symlink(outside, dir+"/out"), os.Mkdir(dir+"/in", 0o755), os.Symlink("../in", dir+"/in/self")); err != nil {
			t.Fatal(err)
		}
		// The control: through plain paths the link is followed.
		if err := os.WriteFile(dir+"/out/control", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := openRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		r.walk = walk
		for _, path := range []string{"out/x", "out", "in/self/x", "in/../out", "../" + filepath.Base(outside) + "/x", "in/x/../../out/x"} {
			if fd, err := r.open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_NOFOLLOW, 0o600); err == nil {
				unix.Close(fd)
				t.Errorf("walk %v: %q was opened", walk, path)
			}
		}
		if fd, err := r.open("in/ok", unix.O_CREAT|unix.O_WRONLY|unix.O_NOFOLLOW, 0o600); err != nil {
			t.Errorf("walk %v: in/ok: %v", walk, err)
		} else {
			unix.Close(fd)
		}
		r.close()
		if names, _ := os.ReadDir(outside); len(names) != 1 {
			t.Errorf("walk %v: written outside: %v", walk, names)
		}
	}
	outside := tempDir(t)
	s := openStore(t, tempDir(t))
	m := tree.Meta{Mode: 0o644}
	for _, changes := range [][]tree.Change{
		{{Path: "a", Node: tree.NewSymlink(m, outside)}, {Path: "a/b", Node: tree.NewFifo(m)}},
		{{Path: "a/b", Node: tree.NewFifo(m)}, {Path: "a", Node: tree.NewSymlink(m, outside)}},
		{{Path: "a", Node: tree.NewSymlink(m, outside)}, {Path: "a", Node: tree.NewDir(m)}, {Path: "a/b", Node: tree.NewFifo(m)}},
	} {
		if _, err := s.Layer(t.Context(), digestOf(list(changes)), nil, changes, nil); err == nil {
			t.Errorf("no error for\n%s", list(changes))
		}
		if names, _ := os.ReadDir(outside); len(names) != 0 {
			t.Errorf("written outside: %v", names)
		}
	}
}

func TestOpenFile(t *testing.T) {
	var c contents
	s := openStore(t, tempDir(t))
	base := c.parse(t, baseTree)
	mustLayer(t, s, &c, nil, base)
	id := base.Identity()
	for path, want := range map[string]string{"etc/passwd": "root:x:0:0", "etc/shadow": "secret", "locked/in": "in"} {
		f, err := s.OpenFile(id, path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if string(b) != want || err != nil {
			t.Errorf("%s: %q, %v", path, b, err)
		}
		f.Close()
	}
	for _, path := range []string{"run", "dev", "bin", "bin/su", "nothing", "etc/passwd/x", "var/lib", ""} {
		if _, err := s.OpenFile(id, path); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v, want ErrNotFound", path, err)
		}
	}
	if _, err := s.OpenFile(digestOf("none"), "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no layer: %v", err)
	}
	if _, err := s.OpenFile(id, "../x"); err == nil {
		t.Error("a path out of the layer")
	}
	c.opens = 0 // opening denied files changed no seal
	mustLayer(t, openStore(t, filepath.Dir(s.base)), &c, nil, base)
	if c.opens != 0 {
		t.Error("the layer was made again after OpenFile")
	}
}

func TestLeftoversOfDeadProcessesAreRemoved(t *testing.T) {
	dir := tempDir(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf(`%s={"Action":"hold","Args":[%q]}`, childEnv, dir))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	upper, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	upper = strings.TrimSpace(upper)
	s := openStore(t, dir)
	s.session.sweeper.Wait()
	if _, err := os.Lstat(upper); err != nil {
		t.Errorf("the upper of a living process: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	s = openStore(t, dir)
	s.session.sweeper.Wait()
	if _, err := os.Lstat(upper); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the upper of a dead process: %v", err)
	}
	left, _ := filepath.Glob(dir + "/*/tmp/*/*/")
	if len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func init() {
	actions["hold"] = func(args []string) error {
		s, err := Open(args[0], Options{})
		if err != nil {
			return err
		}
		u, err := s.NewUpper(context.Background(), nil)
		if err != nil {
			return err
		}
		if err := first(os.Mkdir(u.Work+"/work", 0o755), os.WriteFile(u.Work+"/work/x", nil, 0o600), os.Chmod(u.Work+"/work", 0)); err != nil {
			return err
		}
		fmt.Println(u.Dir)
		_, err = io.Copy(io.Discard, os.Stdin) // until killed
		return err
	}
}

func TestCloseRemovesUppers(t *testing.T) {
	dir := tempDir(t)
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.NewUpper(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := first(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(dir + "/*/tmp/*/"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if _, err := s.NewUpper(t.Context(), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("NewUpper: %v", err)
	}
	if _, err := s.Layer(t.Context(), digestOf(""), nil, nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Layer: %v", err)
	}
}

func TestOpenRefusesADirectoryThatOthersCanWrite(t *testing.T) {
	dir := tempDir(t)
	s := openStore(t, dir)
	if err := os.Chmod(s.base, 0o777); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(s.base, 0o700)
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "writable by nobody else") {
		t.Errorf("error %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add(manifest{boot: "x"}.encode())
	f.Add(manifest{seal: [32]byte{1}}.encode())
	f.Add([]byte("stagewright layer 1\nseal \nboot \nsum \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(b)
		if err == nil && string(m.encode()) != string(b) {
			t.Errorf("%q reads as %q", b, m.encode())
		}
	})
}
