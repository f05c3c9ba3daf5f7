package cache_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// childLocks takes and leaves the lock of one key many times, and fails when somebody
// else is inside: a file that only the holder makes.
func childLocks(dir string) {
	s := must(cache.OpenDisk(dir, cache.DiskOptions{}))
	inside := filepath.Join(dir, "private", "inside")
	for range 200 {
		l := must(cache.Lock(background, s, testKey(1), nil))
		f := must(os.OpenFile(inside, os.O_CREATE|os.O_EXCL, 0o600))
		f.Close()
		must(0, os.Remove(inside))
		l.Close()
	}
}

// childHoldsLock holds the lock of a key until it is killed.
func childHoldsLock(dir string) {
	s := must(cache.OpenDisk(dir, cache.DiskOptions{}))
	must(s.TryLock(background, testKey(1)))
	holdUntilKilled()
}

func TestLockOfManyProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	openDisk(t, dir)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := child(t, "locks", dir).Run(); err != nil {
				t.Error(err)
			}
		})
	}
	// Sweepers meanwhile, which must take no living lock.
	for range 100 {
		s := openDisk(t, dir)
		if err := s.Put(t.Context(), testKey(2), nil); err != nil {
			t.Error(err)
		}
		s.Close()
	}
	wg.Wait()
	wantEmpty(t, filepath.Join(dir, "locks"))
}

// A killed holder keeps nobody waiting, and its file goes with the next sweep.
func TestLockOfKilledProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := openDisk(t, dir)
	hold := func() (kill func()) {
		cmd := child(t, "hold lock", dir)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		return func() {
			cmd.Process.Kill()
			cmd.Wait()
			in.Close()
		}
	}
	kill := hold()
	if _, err := s.TryLock(t.Context(), testKey(1)); !errors.Is(err, cache.ErrLocked) {
		t.Errorf("while another process holds it: error %v, want ErrLocked", err)
	}
	l, err := cache.Lock(t.Context(), s, testKey(1), kill)
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	hold()()
	if files, err := os.ReadDir(filepath.Join(dir, "locks")); err != nil || len(files) != 1 {
		t.Fatalf("a killed process left %v, %v; want its lock", files, err)
	}
	if err := s.Put(t.Context(), testKey(2), nil); err != nil { // the first write sweeps
		t.Fatal(err)
	}
	wantEmpty(t, filepath.Join(dir, "locks"))
}

// Where locks do not work everybody does the work.
func TestLockDoesNotWork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	s := openDisk(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "locks"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.TryLock(t.Context(), testKey(1)); err == nil || errors.Is(err, cache.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("TryLock: %v", err)
	}
	for range 2 {
		if _, err := cache.Lock(t.Context(), s, testKey(1), func() { t.Error("waits") }); err != nil {
			t.Error(err)
		}
	}
	s.Close()
	if _, err := s.TryLock(t.Context(), testKey(1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("TryLock after Close: %v", err)
	}
}
