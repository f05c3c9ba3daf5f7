//go:build unix

package cache_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// Root does not believe a store of somebody else, and follows no link in one.
func TestDiskOfAnotherUser(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	private := disk.Dir()
	disk.Close()
	if err := os.RemoveAll(private); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), private); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.OpenDisk(dir, cache.DiskOptions{}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a link instead of %s: %v", private, err)
	}
	if err := os.Remove(private); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		return // only root can give a directory away
	}
	if err := os.Chown(dir, 54321, 54321); err != nil {
		t.Fatal(err)
	}
	if _, err := cache.OpenDisk(dir, cache.DiskOptions{}); err == nil || !strings.Contains(err.Error(), "belongs to user 54321") {
		t.Errorf("a store of user 54321: %v", err)
	}
}
