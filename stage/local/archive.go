package local

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"

	"github.com/stagewright/stagewright/internal/decompress"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
)

// archive is a file that a copy may unpack.
type archive struct {
	name   string // for messages
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
	plain, _, err := decompress.NewReader(rc)
	if err != nil {
		return false, nil
	}
	defer plain.Close()
	_, err = tar.NewReader(plain).Next()
	return err == nil, nil
}

// unpack unpacks the archive into a directory that exists.
func (a *archive) unpack(e *tree.Editor, dir string, adjust func(tree.Kind, tree.Meta) tree.Meta, parent tree.Meta) (err error) {
	rc, err := a.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	plain, _, err := decompress.NewReader(rc)
	if err != nil {
		return fmt.Errorf("archive %q: %w", a.name, err)
	}
	defer plain.Close()
	if err := layertar.Extract(e, plain, layertar.ExtractOptions{
		Dir: dir, Chroot: a.chroot, Adjust: adjust, Parent: parent, Content: a.pack.add,
	}); err != nil {
		return fmt.Errorf("archive %q: %w", a.name, err)
	}
	// Only at its end is it known that the file is still the one that was asked for.
	_, err = io.Copy(io.Discard, rc)
	return err
}
