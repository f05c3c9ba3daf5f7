package cache_test

import (
	"errors"
	"io"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// Who finds a blob damaged when somebody has made it again meanwhile does not take the good one away.
func TestDamagedBlobMadeAgainIsKept(t *testing.T) {
	dir := t.TempDir()
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	d, err := cache.PutBlob(t.Context(), disk, []byte("good"))
	if err != nil {
		t.Fatal(err)
	}
	read := func() (string, error) {
		data, err := cache.ReadBlob(t.Context(), disk, d, 100)
		return string(data), err
	}
	damage(t, blobFile(dir, d), "evil")
	late, _, err := cache.NewReader(t.Context(), disk, d)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	var damaged *cache.CorruptError
	if _, err := read(); !errors.As(err, &damaged) {
		t.Fatalf("the damaged blob: %v", err)
	}
	if _, err := read(); !errors.Is(err, cache.ErrNotFound) {
		t.Fatalf("after it was found damaged: %v", err)
	}
	if _, err := cache.PutBlob(t.Context(), disk, []byte("good")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(late); !errors.As(err, &damaged) {
		t.Fatalf("the damaged blob, read late: %v", err)
	}
	if got, err := read(); got != "good" || err != nil {
		t.Errorf("the blob that was made again: %q, %v", got, err)
	}
}
