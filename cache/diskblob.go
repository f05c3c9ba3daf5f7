package cache

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io/fs"
	"os"
	"runtime"
)

// eagerSync is the size in bytes from which Commit itself waits for the disk,
// so that the next Put, which may be another step's, need not.
const eagerSync = 4 << 20

// writebackStep is after how many bytes of a blob the disk begins with them.
const writebackStep = 8 << 20

// Open implements [Store].
func (d *Disk) Open(ctx context.Context, g Digest) (Blob, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	name := d.blobPath(g)
	f, info, err := openRegular(name)
	if errors.Is(err, errNoFile) {
		return nil, notFound(g)
	}
	if err != nil {
		return nil, d.wrap("open blob", err)
	}
	if !d.use(name, info) {
		f.Close()
		return nil, notFound(g)
	}
	if !d.opts.NoSync {
		d.durability.seen(g, info.ModTime())
	}
	return &diskBlob{file: f, size: info.Size()}, nil
}

// Drop implements [Dropper].
func (d *Disk) Drop(ctx context.Context, g Digest) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Remove(d.blobPath(g)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.wrap("drop blob", err)
	}
	return nil
}

// Create implements [Store].
func (d *Disk) Create(ctx context.Context) (Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := d.temp(blobMode)
	if err != nil {
		return nil, d.wrap("create blob", err)
	}
	return &diskWriter{disk: d, file: f, hash: sha256.New()}, nil
}

type diskBlob struct {
	file *os.File
	size int64
}

func (b *diskBlob) ReadAt(p []byte, off int64) (int, error) { return b.file.ReadAt(p, off) }
func (b *diskBlob) Close() error                            { return b.file.Close() }
func (b *diskBlob) Size() int64                             { return b.size }

// drop implements selfDropper. A blob that was damaged may have been made again while it was read.
func (b *diskBlob) drop(context.Context) {
	read, err := b.file.Stat()
	if err != nil {
		return
	}
	if now, err := os.Lstat(b.file.Name()); err == nil && os.SameFile(read, now) {
		_ = os.Remove(b.file.Name())
	}
}

type diskWriter struct {
	disk *Disk
	file *os.File // nil when done
	hash hash.Hash
	size int64
	sent int64 // bytes whose way to the disk has begun
	err  error // of a Write; sticky
}

func (w *diskWriter) Write(p []byte) (int, error) {
	if w.file == nil {
		return 0, ErrDone
	}
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.file.Write(p)
	w.hash.Write(p[:n])
	w.size += int64(n)
	if w.size-w.sent >= writebackStep && !w.disk.opts.NoSync {
		startWriteback(w.file, w.sent, w.size-w.sent)
		w.sent = w.size
	}
	w.err = w.disk.wrap("write blob", err)
	return n, w.err
}

// Follow implements [Follower].
func (w *diskWriter) Follow() (Followed, error) {
	if w.file == nil {
		return nil, ErrDone
	}
	if runtime.GOOS == "windows" { // where a file that is open is not renamed
		return nil, errors.ErrUnsupported
	}
	f, err := os.Open(w.file.Name())
	if err != nil {
		return nil, w.disk.wrap("follow blob", err)
	}
	return f, nil
}

func (w *diskWriter) Commit(ctx context.Context, want Digest) (Digest, error) {
	if w.file == nil {
		return Digest{}, ErrDone
	}
	defer w.Discard() // of what is still there after an error
	if w.err != nil {
		return Digest{}, w.err
	}
	if err := ctx.Err(); err != nil {
		return Digest{}, err
	}
	got := Digest(w.hash.Sum(nil))
	if err := Verify("commit", want, got); err != nil {
		return Digest{}, err
	}
	if err := w.publish(got); err != nil {
		return Digest{}, w.disk.wrap("commit blob", err)
	}
	return got, nil
}

// publish renames the file into place, over a blob of the same digest if there
// is one: should that be damaged, it is whole from here on.
func (w *diskWriter) publish(got Digest) error {
	d, f := w.disk, w.file
	if !d.opts.NoSync && (w.size >= eagerSync || runtime.GOOS == "windows") {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	info, err := f.Stat()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	if err := d.moveIn(f.Name(), info, d.blobPath(got), KindBlob, got.Hex()); err != nil {
		// Windows replaces no file that somebody has open.
		if info, serr := os.Lstat(d.blobPath(got)); runtime.GOOS != "windows" || serr != nil || info.Size() != w.size {
			return err
		}
		return nil
	}
	w.file = nil
	if !d.opts.NoSync {
		d.durability.written(got)
	}
	return nil
}

func (w *diskWriter) Discard() error {
	if w.file == nil {
		return nil
	}
	f := w.file
	w.file = nil
	_ = f.Close() // publish may have closed it; its bytes are not wanted
	if err := os.Remove(f.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return w.disk.wrap("discard blob", err)
	}
	return nil
}
