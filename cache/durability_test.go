package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// flushLog stands in the place of the disk and notes what was to be flushed.
type flushLog struct {
	calls [][]string
	check func()
	fail  error
}

func (l *flushLog) flush(_ string, blobs []string) error {
	var names []string
	for _, b := range blobs {
		names = append(names, filepath.Base(b))
	}
	l.calls = append(l.calls, names)
	if l.check != nil {
		l.check()
	}
	return l.fail
}

func loggedDisk(t *testing.T, dir string, o DiskOptions) (*Disk, *flushLog) {
	t.Helper()
	d, err := OpenDisk(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	l := &flushLog{}
	d.flush = l.flush
	return d, l
}

func putText(t *testing.T, s Store, text string) Digest {
	t.Helper()
	d, err := PutBlob(t.Context(), s, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantFlushes(t *testing.T, l *flushLog, want ...[]Digest) {
	t.Helper()
	var names [][]string
	for _, batch := range want {
		var n []string
		for _, d := range batch {
			n = append(n, d.Hex())
		}
		slices.Sort(n)
		names = append(names, n)
	}
	if !slices.EqualFunc(l.calls, names, slices.Equal) {
		t.Errorf("flushed %v, want %v", l.calls, names)
	}
	l.calls = nil
}

func TestPutFlushesBlobsFirst(t *testing.T) {
	d, l := loggedDisk(t, t.TempDir(), DiskOptions{})
	var k Key
	l.check = func() {
		if _, err := d.Get(t.Context(), k); !errors.Is(err, ErrNotFound) {
			t.Errorf("the record is visible before its blobs are flushed: %v", err)
		}
	}
	a, b := putText(t, d, "a"), putText(t, d, "b")
	wantFlushes(t, l)
	if err := d.Put(t.Context(), k, nil); err != nil {
		t.Fatal(err)
	}
	wantFlushes(t, l, []Digest{a, b})

	// Nothing new: nothing to flush, even if a flushed blob is read again.
	l.check = nil
	if _, err := ReadBlob(t.Context(), d, a, 10); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(t.Context(), k, nil); err != nil {
		t.Fatal(err)
	}
	wantFlushes(t, l)

	putText(t, d, "a") // a new file under the old name
	if err := d.Put(t.Context(), k, nil); err != nil {
		t.Fatal(err)
	}
	wantFlushes(t, l, []Digest{a})
}

// A blob that another process has just written, and this one only found, is
// flushed before a record that may name it.
func TestPutFlushesFoundBlobs(t *testing.T) {
	dir := t.TempDir()
	other, _ := loggedDisk(t, dir, DiskOptions{})
	young, old := putText(t, other, "young"), putText(t, other, "old")
	past := time.Now().Add(-2 * writebackTime)
	if err := os.Chtimes(other.blobPath(old), past, past); err != nil {
		t.Fatal(err)
	}
	d, l := loggedDisk(t, dir, DiskOptions{})
	for _, g := range []Digest{young, old} {
		if _, err := ReadBlob(t.Context(), d, g, 10); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Put(t.Context(), Key{}, nil); err != nil {
		t.Fatal(err)
	}
	wantFlushes(t, l, []Digest{young})
}

func TestFailedFlush(t *testing.T) {
	d, l := loggedDisk(t, t.TempDir(), DiskOptions{})
	if err := d.Put(t.Context(), Key{}, []byte("old")); err != nil {
		t.Fatal(err)
	}
	g := putText(t, d, "a")
	l.fail = errors.New("input/output error")
	if err := d.Put(t.Context(), Key{}, []byte("new")); !errors.Is(err, l.fail) {
		t.Fatalf("Put: error %v, want %v", err, l.fail)
	}
	if got, err := d.Get(t.Context(), Key{}); err != nil || string(got) != "old" {
		t.Errorf("Get after a failed Put: %q, %v", got, err)
	}
	if _, err := d.Open(t.Context(), g); !errors.Is(err, ErrNotFound) {
		t.Errorf("a blob that may be damaged on the disk: error %v, want ErrNotFound", err)
	}
}

func TestNoSync(t *testing.T) {
	d, l := loggedDisk(t, t.TempDir(), DiskOptions{NoSync: true})
	putText(t, d, "a")
	if err := d.Put(t.Context(), Key{}, nil); err != nil {
		t.Fatal(err)
	}
	wantFlushes(t, l)
	if n := len(d.durability.pending); n != 0 {
		t.Errorf("%d blobs are kept in mind for nothing", n)
	}
}

// The real flush, few blobs and many, some of them gone again.
func TestFlushBlobs(t *testing.T) {
	for _, n := range []int{1, 3, 200} {
		d, err := OpenDisk(t.TempDir(), DiskOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for i := range n {
			g := putText(t, d, fmt.Sprint("blob ", i))
			if i%3 == 2 {
				if err := d.Drop(context.Background(), g); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := d.Put(t.Context(), Key{}, nil); err != nil {
			t.Errorf("%d blobs: %v", n, err)
		}
	}
}

// Two Puts at once: the second, whose blobs the first is flushing, waits. Both
// go through the lock that is held here.
func TestPutWaitsForFlushUnderWay(t *testing.T) {
	d, l := loggedDisk(t, t.TempDir(), DiskOptions{})
	putText(t, d, "a")
	second := make(chan error, 1)
	l.check = func() {
		if d.durability.flushing.TryLock() {
			t.Error("a flush does not hold up the next Put")
			d.durability.flushing.Unlock()
		}
		go func() { second <- d.Put(context.Background(), Key{2}, nil) }()
	}
	if err := d.Put(t.Context(), Key{1}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if len(l.calls) != 1 {
		t.Errorf("%d flushes, want one", len(l.calls))
	}
}

func TestSweepLeavesWhatItCannotJudge(t *testing.T) {
	dir := t.TempDir()
	d, _ := loggedDisk(t, dir, DiskOptions{})
	putText(t, d, "a")
	mine := d.session.dir
	stale := filepath.Join(dir, tmpDir, "STALE")
	if err := os.MkdirAll(stale, 0o700); err != nil { // killed before it made its lock
		t.Fatal(err)
	}
	gate, err := enterGate(dir)
	if err != nil {
		t.Fatal(err)
	}
	sweep(dir) // somebody is making a session: nothing may be touched
	if _, err := os.Stat(stale); err != nil {
		t.Errorf("swept while the gate was held: %v", err)
	}
	gate.Close()
	sweep(dir)
	if _, err := os.Stat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a session without a lock was left: %v", err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Errorf("a living session was swept: %v", err)
	}
}
