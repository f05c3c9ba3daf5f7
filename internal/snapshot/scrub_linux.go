package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// Scrub reads the files of a layer and compares them with the contents in changes. A layer that is
// not what it should be is no layer from then on, but its files stay for who uses them: the next
// Layer makes it anew. With nil changes only the signature is compared, and whoever uses the layer
// next in another process reads its files. The error wraps ErrDamaged, or [ErrNotFound] when there is
// none, or is the context's.
func (s *Store) Scrub(ctx context.Context, id tree.Digest, changes []tree.Change) (int64, error) {
	release, err := s.lockLayer(ctx, id)
	if err != nil {
		return 0, err
	}
	defer release()
	name := layerName(id)
	file := name + "/" + manifestFile
	was, err := statAt(s.layers.fd, file)
	if err != nil {
		return 0, ErrNotFound
	}
	m, err := readManifest(s.layers.fd, file)
	if err == nil {
		err = s.scrub(ctx, id, m, changes)
	}
	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case errors.Is(err, fs.ErrPermission):
		return 0, err
	case err != nil:
		_ = unix.Unlinkat(s.layers.fd, file, 0)
		return m.size, fmt.Errorf("%w: %w", ErrDamaged, err)
	case changes != nil || m.boot == "" || m.boot != s.boot:
		return m.size, nil
	}
	m.boot = "unknown" // so that it is another one than that of who uses it next
	if err := writeManifest(s.layers.fd, name, m); err != nil {
		return m.size, err
	}
	return m.size, onDisk("utimensat", file, stamp(s.layers.fd, file, time.Unix(0, was.atime)))
}

func (s *Store) scrub(ctx context.Context, id tree.Digest, m manifest, changes []tree.Change) error {
	r, err := openRoot(s.layerPath(id))
	if err != nil {
		return err
	}
	defer r.close()
	now, err := s.seal(ctx, r)
	if err != nil {
		return err
	}
	if now.seal != m.seal {
		return errSeal
	}
	return s.checkContent(ctx, r, changes)
}
