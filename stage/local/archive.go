package local

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/stagewright/stagewright/internal/decompress"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
)

// archive is a file that a copy may unpack.
type archive struct {
	ctx    context.Context // ends reading
	name   string          // for messages
	open   openFunc
	pack   *packWriter // takes the contents of its files
	chroot bool        // links are those of the directory that it is unpacked into
}

// is reports whether the file is an archive: compressed or not, it begins with a header of
// tar. An archive without entries is none, as for Docker.
func (a *archive) is() (bool, error) {
	rc, err := a.open()
	if err != nil {
		return false, err
	}
	defer rc.Close()
	plain, _, err := decompress.NewReader(a.until(rc))
	if err != nil {
		return false, nil
	}
	defer plain.Close()
	is := layertar.IsArchive(plain)
	if a.ctx.Err() != nil {
		return false, context.Cause(a.ctx)
	}
	return is, nil
}

// until ends a stream with the context of the archive: a few bytes can be decompressed
// for hours.
func (a *archive) until(r io.Reader) io.Reader { return &contextReader{ctx: a.ctx, r: r} }

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

// unpack unpacks the archive into a directory that exists.
func (a *archive) unpack(e *tree.Editor, dir string, adjust func(tree.Kind, tree.Meta) tree.Meta, parent tree.Meta) (err error) {
	rc, err := a.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	plain, _, err := decompress.NewReader(a.until(rc))
	if err != nil {
		return fmt.Errorf("archive %q: %w", a.name, err)
	}
	defer plain.Close()
	if err := layertar.Extract(e, a.until(plain), layertar.ExtractOptions{
		Dir: dir, Chroot: a.chroot, Adjust: adjust, Parent: parent, Content: a.pack.add,
	}); err != nil {
		return fmt.Errorf("archive %q: %w", a.name, err)
	}
	// Only at its end is it known that the file is still the one that was asked for.
	_, err = io.Copy(io.Discard, a.until(rc))
	return err
}
