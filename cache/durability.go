package cache

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// writebackTime is how long a blob's bytes may wait in the kernel before they
// are on the disk by themselves: dirty_expire_centisecs (30 s) and
// dirty_writeback_centisecs (5 s) by default, with room to spare.
const writebackTime = 2 * time.Minute

// durability keeps account of which blobs may not be on the disk yet. A record
// is believed without looking at its blobs, so they must be there first. They
// are flushed when a record is put, all together, and not at each commit:
// most steps commit several blobs and put one record.
//
// A blob that this process found counts as well if it is young, for the process
// that wrote it may not have come to its own Put.
type durability struct {
	flushing sync.Mutex // held during a flush, so that a Put behind it waits

	mu      sync.Mutex
	pending map[Digest]struct{}
	flushed map[Digest]struct{}
}

func (t *durability) written(g Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending == nil {
		t.pending = map[Digest]struct{}{}
	}
	t.pending[g] = struct{}{}
	delete(t.flushed, g)
}

func (t *durability) seen(g Digest, modified time.Time) {
	if time.Since(modified) > writebackTime {
		return
	}
	t.mu.Lock()
	_, done := t.flushed[g]
	t.mu.Unlock()
	if !done {
		t.written(g)
	}
}

func (t *durability) take() map[Digest]struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	batch := t.pending
	t.pending = nil
	return batch
}

func (t *durability) done(batch map[Digest]struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.flushed == nil {
		t.flushed = map[Digest]struct{}{}
	}
	for g := range batch {
		if _, again := t.pending[g]; !again {
			t.flushed[g] = struct{}{}
		}
	}
}

// syncBlobs returns once all blobs committed before the call are on the disk.
// Those of a failed flush are removed: the kernel reports a lost write once and
// then takes the page for clean, so they could not be told from good ones.
func (d *Disk) syncBlobs() error {
	t := &d.durability
	t.flushing.Lock()
	defer t.flushing.Unlock()
	batch := t.take()
	if len(batch) == 0 {
		return nil
	}
	var blobs []string
	for g := range maps.Keys(batch) {
		blobs = append(blobs, d.blobPath(g))
	}
	slices.Sort(blobs)
	if err := d.flush(d.dir, blobs); err != nil {
		for _, b := range blobs {
			_ = os.Remove(b)
		}
		return err
	}
	t.done(batch)
	return nil
}

// flushEach syncs files and then the directories that hold their names, a few
// at a time: file systems with a journal commit what comes together at once.
func flushEach(root string, blobs []string) error {
	if err := inParallel(blobs, syncFile); err != nil {
		return err
	}
	dirs := []string{filepath.Join(root, blobsDir)}
	for _, b := range blobs {
		dirs = append(dirs, filepath.Dir(b))
	}
	slices.Sort(dirs)
	return inParallel(slices.Compact(dirs), syncDir)
}

func inParallel(names []string, f func(string) error) error {
	const workers = 8
	errs := make([]error, min(workers, len(names)))
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for i := w; i < len(names) && errs[w] == nil; i += workers {
				errs[w] = f(names[i])
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// syncFile flushes one blob. One that has been dropped meanwhile is no error:
// whoever reads the record finds it missing.
func syncFile(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
