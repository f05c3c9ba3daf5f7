//go:build unix

package cache

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stagewright/stagewright/internal/filestat"
)

func batchOf(n int) []Record {
	records := make([]Record, n)
	for i := range records {
		records[i] = Record{NewKey("batch", 1).Int("i", int64(i)).Sum(), fmt.Appendf(nil, "number %d", i)}
	}
	return records
}

// openBatch returns a store with a batch of n records, and another Disk on the same directory.
func openBatch(t *testing.T, n int) (d, other *Disk, records []Record) {
	t.Helper()
	dir := t.TempDir()
	records = batchOf(n)
	d = openAt(t, dir)
	if err := d.PutAll(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	return d, openAt(t, dir), records
}

func openAt(t *testing.T, dir string) *Disk {
	t.Helper()
	d, err := OpenDisk(dir, DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func inodes(t *testing.T, d *Disk, records []Record) map[any]int {
	t.Helper()
	count := map[any]int{}
	for _, r := range records {
		info, err := os.Lstat(d.recordPath(r.Key))
		if err != nil {
			t.Fatal(err)
		}
		id, _ := filestat.Shared(info)
		count[id]++
	}
	return count
}

// Many records are few files, without a temporary name left, and each is read by another process, which reads each file once.
func TestPutAllIsFewFiles(t *testing.T) {
	d, other, records := openBatch(t, 130)
	if files := inodes(t, d, records); len(files) != 3 {
		t.Errorf("130 records are %d files, want 3", len(files))
	}
	left, err := os.ReadDir(d.session.dir)
	if err != nil || len(left) != 1 { // its lock
		t.Errorf("left in tmp: %v, %v", left, err)
	}
	for _, r := range records {
		got, err := other.Get(t.Context(), r.Key)
		if err != nil || !bytes.Equal(got, r.Data) {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if n := len(other.batches.files); n != 3 {
		t.Errorf("%d batches in memory, want 3", n)
	}
}

// What is in memory counts only as long as the record has that file.
func TestBatchInMemoryIsNotOlderThanTheDisk(t *testing.T) {
	d, other, records := openBatch(t, 10)
	get := func(i int) (string, error) {
		data, err := other.Get(t.Context(), records[i].Key)
		return string(data), err
	}
	if got, err := get(0); got != "number 0" || err != nil {
		t.Fatal(got, err)
	}
	if err := d.Put(t.Context(), records[1].Key, []byte("newer")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(d.recordPath(records[2].Key)); err != nil {
		t.Fatal(err)
	}
	if got, err := get(1); got != "newer" || err != nil {
		t.Error(got, err)
	}
	if got, err := get(2); !errors.Is(err, ErrNotFound) {
		t.Error(got, err)
	}
	if got, err := get(3); got != "number 3" || err != nil {
		t.Error(got, err)
	}
}

// A batch that is damaged costs the records that are, and none of the others.
func TestBatchDamaged(t *testing.T) {
	d, other, records := openBatch(t, 3)
	name := d.recordPath(records[1].Key)
	file, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(file, []byte("number 1"), []byte("number x"), 1)
	if err := os.WriteFile(name, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, ErrNotFound, nil} {
		if _, err := other.Get(t.Context(), records[i].Key); !errors.Is(err, want) {
			t.Errorf("record %d: %v, want %v", i, err, want)
		}
	}
	s, err := other.Verify(t.Context())
	if err != nil || s.Kinds[0].Entries != 3 || len(s.Damaged) != 1 || s.Damaged[0].ID != records[1].Key.Hex() || !s.Damaged[0].Removed {
		t.Errorf("%+v, %v", s, err)
	}
	for cut := range len(file) {
		if _, ok := inBatch(records[2].Key, file[:cut]); ok {
			t.Fatalf("found in the first %d bytes of %d", cut, len(file))
		}
		(&batches{}).add(mustStat(t, d.recordPath(records[2].Key)), file[:cut])
	}
}

func mustStat(t *testing.T, name string) os.FileInfo {
	t.Helper()
	info, err := os.Lstat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// Records of a batch are counted once, are removed one by one, and free what they take with the last.
func TestBatchIsCollected(t *testing.T) {
	d, _, records := openBatch(t, 64)
	u, err := d.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	size := filestat.Allocated(mustStat(t, d.recordPath(records[0].Key)))
	if k := u.Kinds[0]; k.Entries != 64 || k.Bytes > size || k.Bytes <= size-64 {
		t.Errorf("%d entries of %d bytes, the file takes %d", k.Entries, k.Bytes, size)
	}
	used := time.Now().Add(time.Hour)
	var freed int64
	for i, r := range records[:63] {
		n, err := d.ownAreas()[0].Remove(t.Context(), r.Key.Hex(), used)
		if err != nil {
			t.Fatal(i, err)
		}
		freed += n
	}
	if freed != 0 {
		t.Errorf("%d bytes freed by names that were not the last", freed)
	}
	if got, err := d.Get(t.Context(), records[63].Key); string(got) != "number 63" {
		t.Error(string(got), err)
	}
	d.clock = func() time.Time { return time.Now().Add(24 * time.Hour) }
	c, err := d.Collect(t.Context(), Policy{All: true})
	if err != nil || len(c.Removed) != 1 || c.Freed != size {
		t.Errorf("%+v, %v; want one record and %d bytes", c, err, size)
	}
}

// A use of one record of a batch is one of the others: a collector that is late takes none.
func TestBatchIsUsedTogether(t *testing.T) {
	d, other, records := openBatch(t, 5)
	before := time.Now()
	lease, err := other.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	if _, err := other.Get(t.Context(), records[0].Key); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ownAreas()[0].Remove(t.Context(), records[4].Key.Hex(), before); !errors.Is(err, ErrInUse) {
		t.Errorf("%v, want %v", err, ErrInUse)
	}
}

// Blobs that were committed before are flushed before the first record has its name, and a flush that fails leaves none.
func TestPutAllComesAfterItsBlobs(t *testing.T) {
	d := openAt(t, t.TempDir())
	records := batchOf(5)
	flushes := 0
	fail := errors.New("no disk")
	d.flush = func(string, []string) error {
		flushes++
		if names, _ := filepath.Glob(filepath.Join(d.dir, recordsDir, "*", "*")); len(names) > 0 {
			t.Errorf("records before their blobs: %v", names)
		}
		if flushes == 1 {
			return fail
		}
		return nil
	}
	for _, want := range []error{fail, nil} {
		if _, err := PutBlob(t.Context(), d, []byte("blob")); err != nil {
			t.Fatal(err)
		}
		if err := d.PutAll(t.Context(), records); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if flushes != 2 {
		t.Errorf("%d flushes, want one for each batch", flushes)
	}
}

// The state of records is the same for who has read their batch and for who looks at each, whatever became of one of them, and both mark
// them all as used.
func TestTouchRecordsOfABatch(t *testing.T) {
	d, other, records := openBatch(t, 100)
	keys := make([]Key, len(records), len(records)+1)
	for i, r := range records {
		keys[i] = r.Key
	}
	keys = append(keys, NewKey("nobody has put it", 1).Sum())
	for _, k := range []int{0, 99} { // one of each file
		if _, err := other.Get(t.Context(), keys[k]); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-48 * time.Hour)
	age := func() {
		for _, k := range keys {
			info, err := os.Lstat(d.recordPath(k))
			if err == nil {
				err = os.Chtimes(d.recordPath(k), old, info.ModTime())
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	seen := map[Digest]string{}
	for _, c := range []struct {
		what string
		do   func() error
	}{
		{"all there", func() error { return nil }},
		{"one removed", func() error { return os.Remove(d.recordPath(keys[7])) }},
		{"one put again", func() error { return d.Put(t.Context(), keys[8], []byte("another")) }},
		{"one put back", func() error { return d.Put(t.Context(), keys[7], records[7].Data) }},
		{"one file gone", func() error {
			for _, k := range keys[64:] {
				if err := os.Remove(d.recordPath(k)); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
			return nil
		}},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		var states [2]Digest
		for i, disk := range []*Disk{other, openAt(t, d.dir)} {
			age()
			var err error
			if states[i], err = disk.TouchRecords(t.Context(), keys); err != nil {
				t.Fatal(err)
			}
			for n, k := range keys {
				if info, err := os.Lstat(d.recordPath(k)); err == nil && !time.Unix(0, lastUse(info)).After(old) {
					t.Errorf("%s: record %d is not marked", c.what, n)
				}
			}
		}
		if states[0] != states[1] {
			t.Errorf("%s: who has read the batch sees another state", c.what)
		}
		if before, ok := seen[states[0]]; ok {
			t.Errorf("%s: the state is that of %s", c.what, before)
		}
		seen[states[0]] = c.what
	}
}
