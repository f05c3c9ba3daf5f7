package cache_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// Who finds a blob damaged when somebody has made it again meanwhile does not take the good one away, however he reads it.
func TestDamagedBlobMadeAgainIsKept(t *testing.T) {
	for _, tc := range []struct {
		name string
		// read reads the blob d of disk, and calls again after it has opened it.
		read func(ctx context.Context, disk *cache.Disk, d cache.Digest, again func()) error
	}{
		{"NewReader", func(ctx context.Context, disk *cache.Disk, d cache.Digest, again func()) error {
			return readLate(ctx, disk, d, again)
		}},
		{"NewReader of the front", func(ctx context.Context, disk *cache.Disk, d cache.Digest, again func()) error {
			return readLate(ctx, cache.NewLayered(disk, cache.NewMemory()), d, again)
		}},
		{"NewReader of a store behind", func(ctx context.Context, disk *cache.Disk, d cache.Digest, again func()) error {
			return readLate(ctx, cache.NewLayered(&creating{Store: cache.NewMemory(), before: again}, disk), d, func() {})
		}},
		{"NewReader of a store behind that cannot be copied", func(ctx context.Context, disk *cache.Disk, d cache.Digest, again func()) error {
			return readLate(ctx, cache.NewLayered(&creating{Store: cache.NewMemory(), fail: errors.New("full")}, disk), d, again)
		}},
		{"CopyBlob", func(ctx context.Context, disk *cache.Disk, d cache.Digest, again func()) error {
			return cache.CopyBlob(ctx, &creating{Store: cache.NewMemory(), before: again}, disk, d)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			disk := openDisk(t, dir)
			good := func() cache.Digest {
				d, err := cache.PutBlob(t.Context(), disk, []byte("good"))
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			d := good()
			damage(t, blobFile(dir, d), "evil")
			err := tc.read(t.Context(), disk, d, func() {
				if _, err := cache.ReadBlob(t.Context(), disk, d, 100); !errors.As(err, new(*cache.CorruptError)) {
					t.Errorf("the damaged blob: %v", err)
				}
				if _, err := cache.ReadBlob(t.Context(), disk, d, 100); !errors.Is(err, cache.ErrNotFound) {
					t.Errorf("after it was found damaged: %v", err)
				}
				good()
			})
			if !errors.As(err, new(*cache.CorruptError)) && !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("the damaged blob, read late: %v", err)
			}
			if got, err := cache.ReadBlob(t.Context(), disk, d, 100); string(got) != "good" || err != nil {
				t.Errorf("the blob that was made again: %q, %v", got, err)
			}
		})
	}
}

// readLate opens a blob, and reads it after again.
func readLate(ctx context.Context, s cache.Store, d cache.Digest, again func()) error {
	r, _, err := cache.NewReader(ctx, s, d)
	if err != nil {
		return err
	}
	defer r.Close()
	again()
	_, err = io.Copy(io.Discard, r)
	return err
}

// creating is a store whose Create does something before, or fails.
type creating struct {
	cache.Store
	before func()
	fail   error
}

func (c *creating) Create(ctx context.Context) (cache.Writer, error) {
	if c.fail != nil {
		return nil, c.fail
	}
	c.before()
	return c.Store.Create(ctx)
}
