package stagewright_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// getsStore counts the records that are read.
type getsStore struct {
	*cache.Disk
	gets atomic.Int64
}

func (s *getsStore) Get(ctx context.Context, key cache.Key) ([]byte, error) {
	s.gets.Add(1)
	return s.Disk.Get(ctx, key)
}

// hourly is a cache whose builds all mark what they use.
type hourly struct {
	*pruning
	store *getsStore
}

func newHourly(t *testing.T) *hourly {
	p := newPruning(t)
	disk, err := cache.OpenDisk(p.dir, cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return &hourly{p, &getsStore{Disk: disk}}
}

// mark builds an image an hour later, and returns how many records it has read.
func (h *hourly) mark(s stage.Stage) int64 {
	h.t.Helper()
	if longAgo(h.t, h.dir) == 0 {
		h.t.Fatal("no build has marked what it uses")
	}
	h.store.gets.Store(0)
	if _, ran := h.digestOf(s, stagewright.Options{Store: h.store}); ran != 0 {
		h.t.Fatalf("%d steps ran", ran)
	}
	return h.store.gets.Load()
}

// TestMarkingReadsNoStep: what an image stands on is known, so the build that marks it reads a list, however many steps there are.
func TestMarkingReadsNoStep(t *testing.T) {
	h := newHourly(t)
	long := stage.From(h.ref)
	for i := range 20 {
		long = long.File("/f"+string(rune('a'+i)), "x")
	}
	h.digestOf(long, stagewright.Options{Store: h.store})
	h.store.gets.Store(0)
	h.digestOf(long, stagewright.Options{Store: h.store})
	hit := h.store.gets.Load()
	if marking := h.mark(long); marking > hit+1 {
		t.Errorf("marking reads %d records, another build %d", marking, hit)
	}
}

// TestMarkingSeesRecordsThatWereReplaced: a step that two images share is made anew for one of them. The other, which is built from its last
// layers alone, marks what the record of the step names now.
func TestMarkingSeesRecordsThatWereReplaced(t *testing.T) {
	h := newHourly(t)
	tool := stage.From(h.ref, stage.As("tool")).Run("cat /proc/uptime > /out")
	one := stage.From(h.ref, stage.As("one")).CopyFrom(tool, "/bin/sh", "/one")
	h.digestOf(one, stagewright.Options{Store: h.store})
	h.mark(one)
	before := h.snapshots()
	two := stage.From(h.ref, stage.As("two")).CopyFrom(tool, "/bin/sh", "/two")
	if _, ran := h.digestOf(two, stagewright.Options{Store: h.store, NoCacheStages: []string{"tool"}}); ran == 0 {
		t.Fatal("nothing ran")
	}
	old := time.Now().Add(-time.Hour)
	for _, f := range h.snapshots() {
		if err := os.Chtimes(f, old, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	h.mark(one)
	for _, f := range h.snapshots() {
		if at, err := accessTime(f); !slices.Contains(before, f) && (err != nil || !at.After(old.Add(time.Minute))) {
			t.Errorf("the directory that was made anew is not marked: %v, %v", at, err)
		}
	}
	if len(h.snapshots()) == len(before) {
		t.Error("no directory was made anew")
	}
}

func (h *hourly) snapshots() []string {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(h.dir, "private/snapshots/*/layers/*/manifest"))
	if err != nil {
		h.t.Fatal(err)
	}
	return files
}
