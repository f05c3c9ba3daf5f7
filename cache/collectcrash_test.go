package cache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// childCollect collects by one policy after the other until it is killed, and says so once it has begun.
func childCollect(dir string) {
	s := must(cache.OpenDisk(dir, cache.DiskOptions{}))
	fmt.Println("collecting")
	for i := 0; ; i++ {
		p := cache.Policy{MaxBytes: 200_000}
		switch i % 4 {
		case 1:
			p = cache.Policy{All: true}
		case 2:
			p = cache.Policy{MaxAge: time.Millisecond, Kinds: []cache.Kind{cache.KindBlob}}
		case 3:
			must(s.Usage(background))
		}
		must(s.Collect(background, p))
	}
}

// start runs a child until its first line.
func start(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	cmd := child(t, role, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// Collectors are killed at any moment beside writers that are killed as well: what is left is whole, the
// journal still knows all of it, and what was moved aside goes with the next writer.
func TestKilledCollector(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 8
	}
	dir := filepath.Join(t.TempDir(), "cache")
	openDisk(t, dir)
	for range rounds {
		collector := start(t, "collect", dir)
		writeAndKill(t, dir)
		if err := collector.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = collector.Wait()
	}
	s := openDisk(t, dir)
	for i := range 200 {
		record, err := s.Get(t.Context(), testKey(i))
		if isError(err, cache.ErrNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if data, err := cache.ReadBlob(t.Context(), s, cache.Digest(record), 1<<20); err == nil && string(data) != string(crashBlob(i)) || err != nil && !isError(err, cache.ErrNotFound) {
			t.Errorf("blob of record %d: %d bytes, %v", i, len(data), err)
		}
	}
	if _, err := s.Collect(t.Context(), cache.Policy{All: true}); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"records/*/*", "blobs/sha256/*/*"} {
		if left, _ := filepath.Glob(filepath.Join(dir, sub)); len(left) > 0 {
			t.Errorf("the journal has lost %d of %s", len(left), sub)
		}
	}
	s.Close()
	if left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*")); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// Builds go on beside a collector of another process that removes all it may: what a build has found or
// made under its lease it finds until the end.
func TestCollectBesideBuilds(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	dir := filepath.Join(t.TempDir(), "cache")
	openDisk(t, dir)
	start(t, "collect", dir)
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			s, err := cache.OpenDisk(dir, cache.DiskOptions{NoSync: true})
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			r := rand.New(rand.NewPCG(uint64(w), 3))
			for range rounds {
				if err := oneBuild(t, s, r); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func oneBuild(t *testing.T, s *cache.Disk, r *rand.Rand) (err error) {
	lease, err := s.Lease(t.Context())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Close()) }()
	have := map[int]bool{}
	for range 40 {
		i := r.IntN(60)
		record, err := s.Get(t.Context(), testKey(i))
		switch {
		case err == nil:
			// The blob may have gone before the record was found.
			if b, err := s.Open(t.Context(), cache.Digest(record)); err == nil {
				b.Close()
				have[i] = true
				continue
			}
			if have[i] {
				if err := settled(func() error { return isThere(t, s, i) }); err != nil {
					return err
				}
				continue
			}
		case have[i] && isError(err, cache.ErrNotFound):
			if err := settled(func() error { return isThere(t, s, i) }); err != nil {
				return err
			}
			continue
		case !isError(err, cache.ErrNotFound):
			return fmt.Errorf("record %d: %w", i, err)
		}
		d, err := cache.PutBlob(t.Context(), s, crashBlob(i))
		if err != nil {
			return err
		}
		if err := s.Put(t.Context(), testKey(i), d[:]); err != nil {
			return err
		}
		have[i] = true
	}
	for i := range have {
		if err := settled(func() error { return isThere(t, s, i) }); err != nil {
			return err
		}
	}
	return nil
}

func isThere(t *testing.T, s *cache.Disk, i int) error {
	record, err := s.Get(t.Context(), testKey(i))
	if err != nil {
		return fmt.Errorf("record %d at the end: %w", i, err)
	}
	if _, err := cache.ReadBlob(t.Context(), s, cache.Digest(record), 1<<20); err != nil {
		return fmt.Errorf("blob of record %d at the end: %w", i, err)
	}
	return nil
}

// settled returns the error that is left when no collector can be at it any more: one that has moved an entry aside, sees that it is used and
// gives it its name again, may be held up in between, and meanwhile the entry is missing.
func settled(look func() error) (err error) {
	for deadline := time.Now().Add(time.Minute); ; runtime.Gosched() {
		if err = look(); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// Of two collectors one waits, or says that it does not.
func TestCollectTwice(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	area := &slow{begun: make(chan struct{}), goOn: make(chan struct{})}
	done := make(chan error, 2)
	go func() {
		_, err := s.Collect(t.Context(), cache.Policy{All: true}, area)
		done <- err
	}()
	<-area.begun
	other := openDisk(t, dir)
	if _, err := other.Collect(t.Context(), cache.Policy{All: true, NoWait: true}); !errors.Is(err, cache.ErrLocked) {
		t.Errorf("error %v, want ErrLocked", err)
	}
	if _, err := other.Usage(t.Context()); err != nil {
		t.Errorf("Usage beside a collection: %v", err)
	}
	go func() {
		_, err := other.Collect(t.Context(), cache.Policy{All: true})
		done <- err
	}()
	close(area.goOn)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// slow is an area whose scan waits.
type slow struct{ begun, goOn chan struct{} }

func (*slow) Kind() cache.Kind { return "slow" }

func (a *slow) Scan(context.Context, func(cache.Entry) error) error {
	close(a.begun)
	<-a.goOn
	return nil
}

func (*slow) Remove(context.Context, string, time.Time) (int64, error) {
	return 0, cache.ErrNotFound
}
