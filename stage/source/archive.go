package source

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/stagewright/stagewright/internal/decompress"
	"github.com/stagewright/stagewright/internal/layertar"
)

// Archive returns what files has, or when that is one file and it is a tar archive, plain
// or compressed, what is in the archive: how Docker takes the URL of a build context.
// files is closed with it.
func Archive(files Files, o TarOptions) Files { return &archiveOr{files: files, o: o} }

// archiveOr decides at the first List.
type archiveOr struct {
	files Files
	o     TarOptions

	mu     sync.Mutex
	chosen Files // nil before the first List
}

func (a *archiveOr) String() string { return a.files.String() }

func (a *archiveOr) List(ctx context.Context) ([]Entry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.chosen != nil {
		return a.chosen.List(ctx)
	}
	entries, err := a.files.List(ctx)
	if err != nil {
		return nil, err
	}
	a.chosen = a.files
	if len(entries) != 1 || !entries[0].Mode.IsRegular() {
		return entries, nil
	}
	path := entries[0].Path
	open := func() (io.ReadCloser, error) { return a.files.Open(path) }
	is, err := isArchive(open)
	if err != nil || !is {
		return entries, err
	}
	a.chosen = Tar(open, a.files.String(), a.o)
	return a.chosen.List(ctx)
}

// isArchive reports whether a stream begins with the first entry of a tar archive.
func isArchive(open func() (io.ReadCloser, error)) (bool, error) {
	r, err := open()
	if err != nil {
		return false, err
	}
	defer r.Close()
	plain, _, err := decompress.NewReader(r)
	if err != nil {
		return false, nil // damaged, or never meant to be one
	}
	defer plain.Close()
	return layertar.IsArchive(plain), nil
}

// now is what List decided on.
func (a *archiveOr) now() (Files, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.chosen == nil {
		return nil, fmt.Errorf("%s was not listed", a.files)
	}
	return a.chosen, nil
}

func (a *archiveOr) Hash(ctx context.Context, entries []*Entry) error {
	f, err := a.now()
	if err != nil {
		return err
	}
	return f.Hash(ctx, entries)
}

func (a *archiveOr) Open(path string) (io.ReadCloser, error) {
	f, err := a.now()
	if err != nil {
		return nil, err
	}
	return f.Open(path)
}

func (a *archiveOr) Why(path string) (Verdict, error) {
	f, err := a.now()
	if err != nil {
		return Verdict{}, err
	}
	return f.Why(path)
}

// Close removes what was unpacked.
func (a *archiveOr) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.chosen.(io.Closer); ok && a.chosen != a.files {
		if err := c.Close(); err != nil {
			return err
		}
	}
	if c, ok := a.files.(io.Closer); ok {
		return c.Close()
	}
	return nil
}
