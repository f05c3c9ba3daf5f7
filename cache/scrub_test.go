package cache_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// Every file that is cut short, changed or another's is found and removed, and the whole ones stay,
// with their last use.
func TestDiskVerify(t *testing.T) {
	dir := t.TempDir()
	d, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx := t.Context()
	var keys []cache.Key
	var blobs []cache.Digest
	for i := range 6 {
		key := cache.NewKey("test", 1).Int("i", int64(i)).Sum()
		if err := d.Put(ctx, key, fmt.Appendf(nil, "record %d", i)); err != nil {
			t.Fatal(err)
		}
		g, err := cache.PutBlob(ctx, d, bytes.Repeat([]byte{byte(i)}, 3<<20))
		if err != nil {
			t.Fatal(err)
		}
		keys, blobs = append(keys, key), append(blobs, g)
	}
	find := func(name string) string {
		var found string
		_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error {
			if filepath.Base(path) == name {
				found = path
			}
			return nil
		})
		if found == "" {
			t.Fatalf("no file %s", name)
		}
		return found
	}
	before, err := d.Usage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := d.Verify(ctx)
	if err != nil || len(whole.Damaged) != 0 || len(whole.Kinds) != 2 || whole.Kinds[0].Entries != 6 || whole.Kinds[1].Bytes != 18<<20 {
		t.Fatalf("%+v, %v", whole, err)
	}
	after, err := d.Usage(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range after.Kinds {
		if !k.Newest.Equal(before.Kinds[i].Newest) && runtime.GOOS == "linux" {
			t.Errorf("%s: the last use is %v after it, was %v", k.Kind, k.Newest, before.Kinds[i].Newest)
		}
	}
	damage := []func(path string) error{
		func(path string) error { return os.Truncate(path, 0) },
		func(path string) error { return os.Truncate(path, 40) },
		func(path string) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{0xff}, 50)
			return errors.Join(err, f.Close())
		},
		func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		},
	}
	bad := map[string]bool{}
	for i, f := range damage {
		for _, name := range []string{keys[i+1].Hex(), blobs[i+1].Hex()} {
			path := find(name)
			if err := errors.Join(os.Chmod(path, 0o600), f(path)); err != nil {
				t.Fatal(err)
			}
			bad[name] = true
		}
	}
	for round := range 2 {
		found, err := d.Verify(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if round == 1 && len(found.Damaged) > 0 {
			t.Errorf("damaged still: %v", found.Damaged)
		}
		for _, x := range found.Damaged {
			if !bad[x.ID] || !x.Removed || x.Err == nil {
				t.Errorf("%v", x)
			}
			delete(bad, x.ID)
		}
	}
	if len(bad) != 0 {
		t.Errorf("not found: %v", bad)
	}
	for i := range keys {
		_, gerr := d.Get(ctx, keys[i])
		b, oerr := d.Open(ctx, blobs[i])
		if oerr == nil {
			b.Close()
		}
		if there := i == 0 || i == 5; there != (gerr == nil) || there != (oerr == nil) {
			t.Errorf("%d: %v, %v", i, gerr, oerr)
		}
	}
}
