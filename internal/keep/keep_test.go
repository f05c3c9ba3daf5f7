package keep_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/keep"
)

// dirsOf lists what is kept in a directory by its names.
func dirsOf(t *testing.T, parent string, lazy bool) map[string]keep.Entry {
	t.Helper()
	all := map[string]keep.Entry{}
	if err := keep.Dirs(t.Context(), parent, lazy, func(e keep.Entry) error { all[e.Name] = e; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func setTime(t *testing.T, name string, at time.Time) {
	t.Helper()
	if err := os.Chtimes(name, at, at); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryThatIsHeldStays(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no flock")
	}
	parent, trash := t.TempDir(), t.TempDir()
	dir := filepath.Join(parent, "a")
	release, err := keep.Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir+"/f", strings.Repeat("x", 10_000))
	write(t, dir+keep.LockSuffix, "")
	future := time.Now().Add(time.Hour)
	if _, err := keep.RemoveDir(t.Context(), dir, trash, future); !errors.Is(err, keep.ErrInUse) {
		t.Errorf("while it is held: %v", err)
	}
	if _, err := os.Stat(dir + keep.LockSuffix); err != nil {
		t.Errorf("while it is held: %v", err)
	}
	release()
	if _, err := keep.RemoveDir(t.Context(), dir, trash, time.Now().Add(-time.Minute)); !errors.Is(err, keep.ErrInUse) {
		t.Errorf("used a moment ago: %v", err)
	}
	size := dirsOf(t, parent, false)["a"].Bytes
	freed, err := keep.RemoveDir(t.Context(), dir, trash, future)
	if err != nil || freed != size || freed < 10_000 {
		t.Errorf("freed %d of %d, %v", freed, size, err)
	}
	if left, err := os.ReadDir(parent); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
	if freed, err := keep.RemoveDir(t.Context(), dir, trash, future); freed != 0 || err != nil {
		t.Errorf("of nothing: %d, %v", freed, err)
	}
}

func TestWhoHoldsADirectoryHasIt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no flock")
	}
	dir, trash := filepath.Join(t.TempDir(), "a"), t.TempDir()
	var users, collectors sync.WaitGroup
	var alone atomic.Int64
	done := make(chan bool)
	for range 2 {
		collectors.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if _, err := keep.RemoveDir(t.Context(), dir, trash, time.Now().Add(time.Hour)); err != nil && !errors.Is(err, keep.ErrInUse) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 3 {
		users.Go(func() {
			for range 200 {
				release, err := keep.Hold(dir)
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.MkdirAll(dir+"/b", 0o755); err != nil {
					t.Error(err)
				}
				if _, err := os.Stat(dir + "/b"); err != nil {
					t.Errorf("while it is held: %v", err)
				}
				if unlock, err := filelock.Path(t.Context(), dir+keep.LockSuffix, filelock.Exclusive); err != nil {
					t.Error(err)
				} else {
					if alone.Add(1) != 1 {
						t.Error("two have the lock")
					}
					alone.Add(-1)
					unlock()
				}
				release()
			}
		})
	}
	users.Wait()
	close(done)
	collectors.Wait()
}

func TestSizesAreThoseOfTheDisk(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "a")
	write(t, dir+"/f", strings.Repeat("x", 10_000))
	write(t, dir+"/d/g", "y")
	if err := os.Link(dir+"/f", dir+"/d/h"); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(strings.Repeat("z", 200), dir+"/l"); err != nil {
		t.Skip(err)
	}
	out, err := exec.CommandContext(t.Context(), "du", "-s", "--block-size=1", dir).Output()
	if err != nil {
		t.Skip("no du:", err)
	}
	want, _ := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if got, err := keep.Bytes(t.Context(), dir); got != want || err != nil {
		t.Errorf("%d bytes, %v; du says %d", got, err, want)
	}
}

func TestADirectoryIsMeasuredAfterEachUse(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "a")
	use := func() {
		release, err := keep.Hold(dir)
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	use()
	setTime(t, dir+".used", time.Now().Add(-2*time.Hour))
	write(t, dir+"/f", "x")
	small := dirsOf(t, parent, false)["a"]
	write(t, dir+"/g", strings.Repeat("x", 100_000)) // by nobody who holds it: not seen
	if got := dirsOf(t, parent, false)["a"]; got.Bytes != small.Bytes && runtime.GOOS != "windows" {
		t.Errorf("measured again without a use: %d, then %d bytes", small.Bytes, got.Bytes)
	}
	if !small.Used.Before(time.Now().Add(-time.Hour)) {
		t.Errorf("used at %v: measuring is no use", small.Used)
	}
	use()
	if got := dirsOf(t, parent, true)["a"]; got.Bytes != small.Bytes && runtime.GOOS != "windows" {
		t.Errorf("lazy, and measured a moment ago: %d, then %d bytes", small.Bytes, got.Bytes)
	}
	if got := dirsOf(t, parent, false)["a"]; got.Bytes < small.Bytes+90_000 {
		t.Errorf("after a use: %d, then %d bytes", small.Bytes, got.Bytes)
	}
}

func TestADirectoryWithoutAMarkIsAsOldAsItself(t *testing.T) {
	parent := t.TempDir()
	old := time.Now().Add(-time.Hour)
	dir, trash := filepath.Join(parent, "a"), t.TempDir()
	write(t, dir+"/f", "x")
	setTime(t, dir, old)
	all := dirsOf(t, parent, false)
	if all["a"].Used.Sub(old).Abs() > time.Second || len(all) != 1 {
		t.Fatalf("got %v", all)
	}
	if _, err := keep.RemoveDir(t.Context(), dir, trash, old.Add(-time.Minute)); !errors.Is(err, keep.ErrInUse) {
		t.Error(err)
	}
	if freed, err := keep.RemoveDir(t.Context(), dir, trash, time.Now().Add(-time.Minute)); freed != all["a"].Bytes || err != nil {
		t.Errorf("freed %d of %d, %v", freed, all["a"].Bytes, err)
	}
	if left, err := os.ReadDir(parent); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestFilesGoByTheirLastUse(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	write(t, name, strings.Repeat("x", 10_000))
	now := time.Now()
	setTime(t, name, now.Add(-3*time.Hour))
	usedAt := func() (used time.Time) {
		if err := keep.Files(t.Context(), dir, func(e keep.Entry) error { used = e.Used; return nil }); err != nil {
			t.Fatal(err)
		}
		return used
	}
	if usedAt().After(now.Add(-2 * time.Hour)) {
		t.Errorf("used at %v", usedAt())
	}
	keep.Touch(name)
	if runtime.GOOS == "linux" && usedAt().Before(now.Add(-time.Minute)) {
		t.Errorf("after Touch: used at %v", usedAt())
	}
	setTime(t, name, now.Add(48*time.Hour)) // the clock was set back
	if used := usedAt(); !used.Equal(now.Add(48 * time.Hour)) {
		t.Errorf("used %v; who asks has to know that the clock was ahead", used)
	}
	for _, list := range []error{
		keep.Files(t.Context(), dir+"/none", nil), keep.Dirs(t.Context(), dir+"/none", false, nil),
	} {
		if list != nil {
			t.Error(list)
		}
	}
}

func TestRemoveAllOpensWhatIsClosed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	write(t, dir+"/b/c/d", "x")
	for _, name := range []string{"/b/c", "/b"} {
		if err := os.Chmod(dir+name, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := keep.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

func TestSweepLeavesWhatIsHeld(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no flock")
	}
	parent := t.TempDir()
	release, err := keep.Hold(parent + "/held")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	dead, err := keep.Hold(parent + "/nothing")
	if err != nil {
		t.Fatal(err)
	}
	dead()
	for _, name := range []string{"held/f", "dead/f", "old", "new"} {
		write(t, filepath.Join(parent, name), "x")
	}
	setTime(t, parent+"/old", time.Now().Add(-25*time.Hour))
	keep.Sweep(parent)
	names, err := os.ReadDir(parent)
	var left []string
	for _, n := range names {
		left = append(left, n.Name())
	}
	if got := strings.Join(left, " "); got != "held held.used new" || err != nil {
		t.Errorf("left: %s, %v", got, err)
	}
	keep.Sweep(parent + "/none")
}
