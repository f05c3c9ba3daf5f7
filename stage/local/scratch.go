package local

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/stagewright/stagewright/cache"
)

// scratch is a store that keeps what is written to it to itself, in a temporary directory, and
// for the rest shows another one: for what is only computed to tell what a build would do.
// Damaged blobs of the other one stay.
type scratch struct {
	below cache.Store

	mu   sync.Mutex
	dir  string
	disk *cache.Disk // nil before the first write
}

func (s *scratch) Get(ctx context.Context, key cache.Key) ([]byte, error) {
	return s.below.Get(ctx, key)
}

// Put drops the record.
func (s *scratch) Put(ctx context.Context, _ cache.Key, _ []byte) error { return ctx.Err() }

func (s *scratch) Open(ctx context.Context, d cache.Digest) (cache.Blob, error) {
	s.mu.Lock()
	disk := s.disk
	s.mu.Unlock()
	if disk != nil {
		if b, err := disk.Open(ctx, d); err == nil {
			return b, nil
		}
	}
	return s.below.Open(ctx, d)
}

func (s *scratch) Create(ctx context.Context) (cache.Writer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk == nil {
		dir, err := os.MkdirTemp("", "stagewright-")
		if err != nil {
			return nil, err
		}
		disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		s.dir, s.disk = dir, disk
	}
	return s.disk.Create(ctx)
}

func (s *scratch) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.disk == nil {
		return nil
	}
	return errors.Join(s.disk.Close(), os.RemoveAll(s.dir))
}
