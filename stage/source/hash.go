package source

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// hashBuffer is how much of a file is read at a time: large enough that system
// calls do not show beside SHA-256.
const hashBuffer = 128 << 10

// Hash implements [Files]. With a memo only files whose signature is not the
// remembered one are opened; what was hashed is remembered when Hash returns,
// also when it returns an error for another file.
func (d *Directory) Hash(ctx context.Context, entries []*Entry) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	wanted := make([]*Entry, 0, len(entries))
	for _, e := range entries {
		if e.Mode.IsRegular() {
			if !cleanRelative(e.Path) {
				return fmt.Errorf("hash in %s: %w: %s is not a clean relative path", d, fs.ErrInvalid, quote(e.Path))
			}
			wanted = append(wanted, e)
		}
	}
	byPath := func(a, b *Entry) int { return comparePaths(a.Path, b.Path) }
	if !slices.IsSortedFunc(wanted, byPath) {
		slices.SortFunc(wanted, byPath)
	}
	memo := d.o.Memo.root(d.path)
	missing, learned := remembered(wanted)
	d.stats.known.Add(int64(len(wanted) - len(missing)))
	if len(missing) == 0 {
		memo.remember(learned, d.listed.Load())
		return nil
	}
	root, err := d.open(d.path)
	if err != nil {
		return fmt.Errorf("%s cannot be read: %w", d, err)
	}
	defer root.Close()
	settled := make([]bool, len(missing))
	h := &hasher{dir: d, root: root, entries: missing, settled: settled, memo: memo != nil}
	err = h.run(ctx, min(d.o.Parallel, len(missing)))
	fresh := learned
	for n, e := range missing {
		if settled[n] {
			fresh = append(fresh, e)
		}
	}
	// A memo that cannot be written makes the next build read again, nothing more.
	slices.SortFunc(fresh, byPath)
	memo.remember(fresh, d.listed.Load())
	return err
}

// remembered sets the digests of the entries that a memo knew when they were listed, and returns the others, and those of which
// the memo is to know more.
func remembered(entries []*Entry) (missing, learned []*Entry) {
	for _, e := range entries {
		if e.id.memo == nil {
			missing = append(missing, e)
			continue
		}
		e.Digest = *e.id.memo
		if e.id.learned {
			learned = append(learned, e)
		}
	}
	return missing, learned
}

// hasher takes the digests of a list of files in parallel.
type hasher struct {
	dir     *Directory
	root    beneath
	entries []*Entry
	settled []bool // by entry: its digest may be remembered
	memo    bool

	next atomic.Int64
	once sync.Once
	err  error
}

func (h *hasher) run(ctx context.Context, parallel int) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(func() {
			if err := h.work(ctx); err != nil {
				h.once.Do(func() { h.err = err })
				cancel(err)
			}
		})
	}
	wg.Wait()
	return h.err
}

// work hashes the next file until none is left.
func (h *hasher) work(ctx context.Context) error {
	buf := make([]byte, hashBuffer)
	sum := sha256.New()
	for {
		n := int(h.next.Add(1)) - 1
		if n >= len(h.entries) {
			return nil
		}
		settled, err := h.one(ctx, h.entries[n], sum, buf)
		if err != nil {
			return err
		}
		h.settled[n] = settled
	}
}

// one hashes one file. settled reports that a later write cannot leave the file
// with the signature it has now.
func (h *hasher) one(ctx context.Context, e *Entry, sum hash.Hash, buf []byte) (settled bool, err error) {
	if h.memo {
		if settled, err = settle(ctx, h.root, e); err != nil {
			return false, err
		}
	}
	var now Entry
	f, err := h.dir.openFile(h.root, e.Path, &now)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotRegular) {
			err = &ChangedError{Source: h.dir.String(), Path: e.Path, Err: err}
		}
		return false, err
	}
	defer f.Close()
	if e.id == (identity{}) { // not from List: there is nothing to compare with
		e.id, e.Mode, e.Size, e.Mtime, settled = now.id, now.Mode, now.Size, now.Mtime, false
	}
	if !e.sameFile(&now) {
		return false, h.changed(e, errors.New("its stat is not what was listed"))
	}
	sum.Reset()
	size, err := readAll(ctx, sum, f, buf)
	if err != nil {
		if ctx.Err() != nil {
			return false, err
		}
		return false, fmt.Errorf("read %s in %s: %w", quote(e.Path), h.dir, err)
	}
	if err := f.stat(&now); err != nil {
		return false, fmt.Errorf("read %s in %s: %w", quote(e.Path), h.dir, err)
	}
	if size != e.Size {
		return false, h.changed(e, fmt.Errorf("%d bytes of %d", size, e.Size))
	}
	if !e.sameFile(&now) {
		return false, h.changed(e, errors.New("its stat moved"))
	}
	sum.Sum(e.Digest[:0])
	h.dir.stats.hashed.Add(1)
	return settled && e.id.known, nil
}

func (h *hasher) changed(e *Entry, err error) error {
	return &ChangedError{Source: h.dir.String(), Path: e.Path, Err: err}
}

// readAll copies r to w until its end, the context's end or one byte more than
// any file holds.
func readAll(ctx context.Context, w io.Writer, r io.Reader, buf []byte) (int64, error) {
	var size int64
	for {
		if ctx.Err() != nil {
			return size, context.Cause(ctx)
		}
		n, err := r.Read(buf)
		if n > 0 {
			size += int64(n)
			if _, err := w.Write(buf[:n]); err != nil {
				return size, err
			}
		}
		if err == io.EOF {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
}

// The margins by which a file's times must be older than the moment its reading
// starts: then a write that comes later gets a later time.
const (
	// Kernels stamp files with a clock that ticks every 1 to 10 ms, and exFAT
	// keeps 10 ms.
	fineMargin = 20 * time.Millisecond
	// ext3, HFS+ and NFSv2 keep whole seconds, FAT two; a server's or a virtual
	// machine host's clock may differ from ours by some.
	coarseMargin = 2 * time.Second
)

// margin is the one for a file below root.
func margin(root beneath, e *Entry) time.Duration {
	if root.remote() || e.id.ctime%int64(time.Second) == 0 {
		return coarseMargin
	}
	return fineMargin
}

// settle reports whether e's times are older than now by the margin. It waits
// when that takes no more than twice the fine margin, once for all files written at
// about the same time, rather than have the next build read them again.
func settle(ctx context.Context, root beneath, e *Entry) (bool, error) {
	newest := max(e.Mtime, e.id.ctime)
	for {
		missing := newest + int64(margin(root, e)) - root.clock()
		if missing <= 0 {
			return true, nil
		}
		// Linux 6.13 may stamp a file with a time a tick ahead of the coarse clock.
		if missing > 2*int64(fineMargin) {
			return false, nil
		}
		wait := time.NewTimer(time.Duration(missing))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return false, context.Cause(ctx)
		}
	}
}
