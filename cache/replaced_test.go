package cache

import "testing"

// A record that is put over one which somebody found under a lease is covered by that lease, although its bytes were written before the
// lease began and whoever put it has ended.
func TestReplacedRecordStaysInTheLease(t *testing.T) {
	dir := t.TempDir()
	open := func() *Disk {
		t.Helper()
		d, err := OpenDisk(dir, DiskOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		return d
	}
	writer, reader := open(), open()
	key := NewKey("test", 1).Sum()
	if err := writer.Put(t.Context(), key, []byte("1")); err != nil {
		t.Fatal(err)
	}
	own, err := writer.Lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := PutBlob(t.Context(), writer, []byte("blob")); err != nil {
		t.Fatal(err)
	}
	writer.flush = func(string, []string) error { // between the record's bytes and its name
		lease, err := reader.Lease(t.Context())
		if err != nil {
			return err
		}
		t.Cleanup(func() { lease.Close() })
		_, err = reader.Get(t.Context(), key)
		return err
	}
	if err := writer.Put(t.Context(), key, []byte("2")); err != nil {
		t.Fatal(err)
	}
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := open().Collect(t.Context(), Policy{All: true}); err != nil {
		t.Fatal(err)
	}
	if data, err := reader.Get(t.Context(), key); err != nil || string(data) != "2" {
		t.Errorf("what the lease covers is %q, %v", data, err)
	}
}
