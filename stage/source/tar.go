package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/stagewright/stagewright/internal/decompress"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
)

// MaxTar is how many bytes an archive may have when it is decompressed, unless
// TarOptions say otherwise.
const MaxTar = 64 << 30

// TarOptions say how [Tar] reads an archive. The zero value suits most.
type TarOptions struct {
	// Dir is where the decompressed archive lies while it is used; empty means the
	// system's directory for temporary files. It is made when it is missing.
	Dir string
	// MaxBytes bounds the decompressed archive; 0 means [MaxTar].
	MaxBytes int64
}

// TarFiles is a tar archive as a source of files: plain, or compressed with gzip,
// bzip2, xz or zstd, which its bytes tell and not its name.
//
// Modes, owners, times, hard links, devices and extended attributes are as the archive
// has them. Of several entries for a path the last counts. Names are relative to the
// archive's root, "/x" too; a name that leaves it, a hard link to what is not in it,
// and a sparse file are errors.
//
// The archive is read once, by the first List, into a file that is removed by Close, or
// with the process. It is safe for concurrent use.
type TarFiles struct {
	open func() (io.ReadCloser, error)
	name string
	o    TarOptions

	mu     sync.Mutex
	loaded *loadedTar // nil before the first List, and after Close
	err    error      // of reading, or after Close
}

// loadedTar is an archive that was read.
type loadedTar struct {
	*listed
	spool *os.File
	bytes tree.Opener
}

// Tar returns the archive that open gives, which is called once at most. name stands in
// messages.
func Tar(open func() (io.ReadCloser, error), name string, o TarOptions) *TarFiles {
	return &TarFiles{open: open, name: name, o: o}
}

// TarFile returns the archive at path, which may be reached through links.
func TarFile(path string, o TarOptions) *TarFiles {
	return Tar(func() (io.ReadCloser, error) {
		f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
			f.Close()
			return nil, errors.Join(ErrNotRegular, err)
		}
		return f, nil
	}, path, o)
}

// String names the archive for a message.
func (t *TarFiles) String() string { return "archive " + quote(t.name) }

// List implements [Files]. The first call reads the whole archive.
func (t *TarFiles) List(ctx context.Context) ([]Entry, error) {
	l, err := t.load(ctx)
	if err != nil {
		return nil, err
	}
	return l.copied(), nil
}

// Hash implements [Files]. Nothing is read: the digests are known since List.
func (t *TarFiles) Hash(ctx context.Context, entries []*Entry) error {
	l, err := t.load(ctx)
	if err != nil {
		return err
	}
	return l.fill(entries)
}

// Open implements [Files]. What it returns ends with Close.
func (t *TarFiles) Open(path string) (io.ReadCloser, error) {
	l, err := t.listed()
	if err != nil {
		return nil, err
	}
	e, err := l.regular(path)
	if err != nil {
		return nil, err
	}
	return l.bytes(tree.Digest(e.Digest))
}

// Why implements [Files]. It knows nothing before List.
func (t *TarFiles) Why(path string) (Verdict, error) {
	l, err := t.listed()
	if err != nil {
		return Verdict{}, err
	}
	return l.why(path)
}

// Close removes what List keeps on disk. The source cannot be used after it. A second
// Close does nothing.
func (t *TarFiles) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.loaded
	t.loaded, t.err = nil, fmt.Errorf("%s: %w", t, errClosed)
	if l == nil {
		return nil
	}
	return dropSpool(l.spool)
}

func (t *TarFiles) listed() (*loadedTar, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.loaded == nil && t.err == nil {
		return nil, fmt.Errorf("%s was not listed", t)
	}
	return t.loaded, t.err
}

// load reads the archive at the first call. What went wrong then goes wrong again,
// since the stream is spent.
func (t *TarFiles) load(ctx context.Context) (*loadedTar, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.loaded == nil && t.err == nil {
		t.loaded, t.err = t.read(ctx)
	}
	return t.loaded, t.err
}

func (t *TarFiles) read(ctx context.Context) (*loadedTar, error) {
	r, err := t.open()
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened: %w", t, err)
	}
	defer r.Close()
	spool, err := newSpool(t.o.Dir)
	if err != nil {
		return nil, fmt.Errorf("%s: no place for its files: %w", t, err)
	}
	index, err := t.index(ctx, r, spool)
	if err != nil {
		return nil, errors.Join(err, dropSpool(spool))
	}
	root, err := index.Apply(nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", t, err), dropSpool(spool))
	}
	return &loadedTar{listed: newListed(t.String(), entriesOf(root)), spool: spool, bytes: index.Opener(spool)}, nil
}

// index decompresses into the spool and indexes on the way.
func (t *TarFiles) index(ctx context.Context, r io.Reader, spool *os.File) (*layertar.Index, error) {
	limit := t.o.MaxBytes
	if limit <= 0 {
		limit = MaxTar
	}
	plain, format, err := decompress.NewReader(&contextReader{ctx: ctx, r: r})
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w", t, err)
	}
	defer plain.Close()
	w := bufio.NewWriterSize(spool, 1<<20)
	index, err := layertar.ReadArchive(io.TeeReader(plain, w), layertar.Limits{FileSize: limit, TotalSize: limit})
	full := w.Flush()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if full != nil {
		return nil, fmt.Errorf("%s: no place for its files: %w", t, full)
	}
	if tooMuch, ok := errors.AsType[*layertar.LimitError](err); ok {
		return nil, &LimitError{Source: t.String(), What: "number of " + tooMuch.What, Limit: tooMuch.Limit, Path: tooMuch.Name}
	}
	if err != nil {
		if format == decompress.None {
			return nil, fmt.Errorf("%s is not a tar archive that can be used (plain, gzip, bzip2, xz and zstd are read): %w", t, err)
		}
		return nil, fmt.Errorf("%s (%s): %w", t, format, err)
	}
	return index, nil
}

// contextReader ends a stream with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// newSpool makes a file that nobody else has. Where that is possible it has no name any
// more, so that even a killed process leaves nothing.
func newSpool(dir string) (*os.File, error) {
	if dir != "" {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	f, err := os.CreateTemp(dir, ".archive-*")
	if err == nil {
		_ = os.Remove(f.Name()) // Windows keeps the name of an open file
	}
	return f, err
}

func dropSpool(f *os.File) error {
	err := f.Close()
	if rerr := os.Remove(filepath.Clean(f.Name())); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}
