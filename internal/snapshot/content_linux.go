package snapshot

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// copyBuf is each worker's buffer: reads of 128 kB cost no more than larger ones.
const copyBuf = 128 << 10

// copyChunk bounds one copy_file_range(2), so that a cancelled context is seen soon.
const copyChunk = 64 << 20

// writeFile writes a regular file under a new name.
func (w *writer) writeFile(ctx context.Context, at int, name, path string, n *tree.Node, buf []byte) error {
	fd, err := openat(at, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return onDisk("create", path, err)
	}
	defer unix.Close(fd)
	if n.Size() > 0 {
		src, err := w.open(n.Content())
		if err != nil {
			return fmt.Errorf("snapshot: content of %q: %w", path, err)
		}
		got, err := copyContent(ctx, fd, src, n.Size(), buf)
		if err := errors.Join(err, src.Close()); err != nil {
			return fmt.Errorf("snapshot: content of %q: %w", path, err)
		}
		if got != n.Size() {
			return &SizeError{Path: path, Want: n.Size(), Got: got}
		}
	}
	m := n.Meta()
	if w.host.owners {
		if err := unix.Fchown(fd, int(m.UID), int(m.GID)); err != nil {
			return onDisk("chown", path, err)
		}
	}
	// After chown, which clears security.capability, and before a mode that may deny it.
	if err := w.host.setXattrs(fd, m.Xattrs); err != nil {
		return onDisk("setxattr", path, err)
	}
	if err := unix.Fchmod(fd, m.Mode&0o7777); err != nil {
		return onDisk("chmod", path, err)
	}
	return onDisk("utimensat", path, setTimes(at, name, m.Mtime))
}

// copyContent copies src to fd and returns how many bytes src had, want+1 when it has more than want. A file is copied inside the kernel
// (on filesystems that can, by sharing its blocks).
func copyContent(ctx context.Context, fd int, src io.Reader, want int64, buf []byte) (n int64, err error) {
	if f, ok := src.(*os.File); ok {
		if n, err = copyRange(ctx, fd, int(f.Fd()), want); err != nil {
			return n, err
		}
	}
	for err == nil {
		if err := ctx.Err(); err != nil {
			return n, context.Cause(ctx)
		}
		var k int
		k, err = src.Read(buf[:min(int64(len(buf)), want-n+1)])
		if n+int64(k) > want {
			return want + 1, nil
		}
		if werr := writeAll(fd, buf[:k]); werr != nil {
			return n, werr
		}
		n += int64(k)
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// copyRange copies at most want bytes from the file offset of from; where the kernel cannot, it stops early without an error.
func copyRange(ctx context.Context, to, from int, want int64) (n int64, err error) {
	for n < want {
		if err := ctx.Err(); err != nil {
			return n, context.Cause(ctx)
		}
		k, err := unix.CopyFileRange(from, nil, to, nil, int(min(want-n, copyChunk)), 0)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ENOSPC || err == unix.EIO || err == unix.EDQUOT:
			return n, err
		case err != nil || k == 0:
			return n, nil
		}
		n += int64(k)
	}
	return n, nil
}

func writeAll(fd int, b []byte) error {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// hashFile reads an open file and returns the digest and number of its bytes. A file of more than max bytes is read no further.
func hashFile(ctx context.Context, fd int, buf []byte, max int64) (tree.Digest, int64, error) {
	h := sha256.New()
	for size := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return tree.Digest{}, size, context.Cause(ctx)
		}
		n, err := unix.Read(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return tree.Digest{}, size, err
		}
		if size += int64(n); n == 0 || size > max {
			return tree.Digest(h.Sum(nil)), size, nil
		}
		h.Write(buf[:n])
	}
}

// OpenFile opens the regular file at path, clean and relative to the root, in a layer's directory. It follows no link and does not verify what
// it gives: whoever reads it compares size and digest, as package layertar does. [ErrNotFound] is wrapped when the store has
// no such layer, or the layer no regular file of that path.
func (s *Store) OpenFile(id tree.Digest, path string) (*os.File, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	dir := s.layerPath(id)
	if _, ok := s.use(id); !ok {
		return nil, fmt.Errorf("%w: no directory of layer %s", ErrNotFound, id)
	}
	r, err := openRoot(dir)
	if errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("%w: no directory of layer %s", ErrNotFound, id)
	}
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	defer r.close()
	fd, err := s.openRegular(r, path)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, fmt.Errorf("%w: no file %q in layer %s", ErrNotFound, path, id)
	}
	if err != nil {
		return nil, err
	}
	return newFile(fd, dir+"/"+path), nil
}

// openRegular opens a regular file for reading; anything else is ENOENT. An ordinary user's own file or directory that denies its owner is
// opened up for the moment.
func (s *Store) openRegular(r root, path string) (int, error) {
	fd, err := openPlain(r, path)
	if err == unix.EACCES && !s.host.owners {
		fd, err = s.openDenied(r, path)
	}
	return fd, onDisk("open", path, err)
}

// openPlain looks before it opens: opening a fifo can block, and opening a device can do anything.
func openPlain(r root, path string) (int, error) {
	look, err := r.open(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(look)
	e, err := statAt(look, "")
	if err == nil && e.kind() != unix.S_IFREG {
		err = unix.ENOENT
	}
	if err != nil {
		return -1, err
	}
	return openat(unix.AT_FDCWD, procFD(look), unix.O_RDONLY, 0)
}

// openDenied opens up every directory on the way to path, and the file itself, opens it and gives all their modes back.
func (s *Store) openDenied(r root, path string) (fd int, err error) {
	s.unlocked.Lock()
	defer s.unlocked.Unlock()
	u := unlocker{root: r}
	defer func() { err = errors.Join(err, u.restore()) }()
	for i := 0; i <= len(path); i++ {
		if i > 0 && i < len(path) && path[i] != '/' {
			continue
		}
		look, err := r.open(path[:i], unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return -1, err
		}
		e, err := statAt(look, "")
		unix.Close(look)
		need := uint32(0o500)
		if e.kind() == unix.S_IFREG {
			need = 0o400
		}
		if err == nil && e.mode&need != need {
			err = u.unlock(path[:i], e.mode)
		}
		if err != nil {
			return -1, err
		}
	}
	return openPlain(r, path)
}

// Opener returns an opener for the bytes of the files in a layer's directory, found by the layer's changes. Errors and guarantees are those of
// [Store.OpenFile]; [ErrNotFound] is also wrapped for content that no file of the changes has. The opener may be used concurrently.
func (s *Store) Opener(id tree.Digest, changes []tree.Change) tree.Opener {
	find := pathsByContent(changes)
	return func(content tree.Digest) (io.ReadCloser, error) {
		path, ok := find()[content]
		if !ok {
			return nil, fmt.Errorf("%w: layer %s has no file with content %s", ErrNotFound, id, content)
		}
		f, err := s.OpenFile(id, path)
		if err != nil {
			return nil, err // not a nil *os.File in an interface
		}
		return f, nil
	}
}

// pathsByContent returns a function that says where each content is found; the work is done at its first call.
func pathsByContent(changes []tree.Change) func() map[tree.Digest]string {
	return sync.OnceValue(func() map[tree.Digest]string {
		m := make(map[tree.Digest]string)
		for _, c := range changes {
			if c.Node != nil && c.Node.Kind() == tree.File {
				m[c.Node.Content()] = c.Path
			}
		}
		return m
	})
}

func newFile(fd int, name string) *os.File { return os.NewFile(uintptr(fd), name) }
