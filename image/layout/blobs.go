package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/atomicfile"
	"github.com/stagewright/stagewright/image/internal/content"
)

func blobPath(dir string, h v1.Hash) string {
	return filepath.Join(dir, blobsDir, h.Algorithm, h.Hex)
}

// blobWriter adds blobs to a layout and remembers which, so that they can be taken back.
type blobWriter struct {
	dir     string
	tell    func(image.Transfer) // nil for nobody
	changed bool                 // index.json has been written

	mu      sync.Mutex
	added   []string
	blobs   int   // written
	bytes   int64 // of those
	skipped int   // there already
}

// count notes a blob that was written or found.
func (w *blobWriter) count(b content.Blob, written bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !written {
		w.skipped++
		return
	}
	w.blobs++
	w.bytes += b.Size
}

func (w *blobWriter) writeAll(ctx context.Context, blobs []content.Blob) error {
	dirs := map[string]bool{filepath.Join(w.dir, blobsDir, "sha256"): true}
	for _, b := range blobs {
		dirs[filepath.Dir(blobPath(w.dir, b.Digest))] = true
	}
	for d := range dirs {
		if err := os.MkdirAll(d, 0o777); err != nil {
			return err
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(runtime.GOMAXPROCS(0), 2))
	for _, b := range blobs {
		g.Go(func() error { return w.write(gctx, b) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if len(w.added) > 0 {
		for d := range dirs {
			atomicfile.SyncDir(d)
		}
	}
	return nil
}

func (w *blobWriter) write(ctx context.Context, b content.Blob) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	path := blobPath(w.dir, b.Digest)
	fi, err := os.Lstat(path)
	switch {
	case err == nil && fi.IsDir():
		return fmt.Errorf("%s is a directory, want a blob", path)
	case err == nil && fi.Mode().IsRegular() && fi.Size() == b.Size && intact(ctx, path, b):
		w.count(b, false)
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	existed := err == nil
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	if err := b.Send(ctx, f, w.tell); err != nil {
		f.Discard()
		return fmt.Errorf("writing blob %s: %w", b.Digest, err)
	}
	if err := f.Commit(); err != nil {
		return err
	}
	w.count(b, true)
	if !existed {
		w.mu.Lock()
		w.added = append(w.added, path)
		w.mu.Unlock()
	}
	return nil
}

// intact reads a file and reports whether it has the bytes of b. A file that cannot be read is not intact.
func intact(ctx context.Context, path string, b content.Blob) bool {
	b.Open = func(context.Context) (io.ReadCloser, error) { return os.Open(path) }
	return b.Copy(ctx, io.Discard) == nil
}

// undo removes what was added. A blob that took the place of a damaged one stays.
func (w *blobWriter) undo() {
	for _, p := range w.added {
		os.Remove(p)
	}
}

// source reads blobs of a layout.
type source struct{ dir string }

// Open implements content.Source. A blob is opened only when it is a regular file: nothing waits on a named pipe.
func (s source) Open(ctx context.Context, d v1.Descriptor, _ bool) (io.ReadCloser, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	path := blobPath(s.dir, d.Digest)
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if fi.Size() != d.Size {
		return nil, fmt.Errorf("%s: %w", path, &image.ContentError{Want: d.Digest, WantSize: d.Size, GotSize: min(fi.Size(), d.Size+1)})
	}
	return os.Open(path)
}

// Layer implements content.Source.
func (source) Layer(l v1.Layer, _ v1.Descriptor) v1.Layer { return l }
