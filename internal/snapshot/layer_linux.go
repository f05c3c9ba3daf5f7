package snapshot

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// Has reports whether the store has a directory for the layer, and marks it as used. It asks for the manifest's name only, in a few microseconds: whether
// the directory can still be trusted is found out by [Store.Layer].
func (s *Store) Has(id tree.Digest) bool {
	_, ok := s.use(id)
	return ok
}

// Layer returns a directory that, as an overlay lower on top of those of the layers below, shows the tree full. The directory holds changes,
// which lead from the tree below to full, and the directories above them with the metadata that they have in full, because overlayfs shows those
// of the topmost layer. id names the content of the layer: it must stand for exactly these changes on top of exactly that tree.
//
// The bytes of files come from open, which must verify them; Layer itself compares sizes only. A directory that is there and whose seal
// still holds is used as it is, and then open is not called. Otherwise it is made under another name and renamed, so that it is there
// either whole or not at all; goroutines and processes that want the same id at once wait for one of them.
//
// Changes should come from [tree.Diff] or [Upper.Scan]: a removal of what does not exist below is harmless only in a directory that does.
//
// The result is an absolute path, to be read by overlayfs and not to be changed. Errors: those of open and of the disk, with the path in the
// layer; [*SizeError]; [*LimitError]; the context's cause.
func (s *Store) Layer(ctx context.Context, id tree.Digest, full *tree.Node, changes []tree.Change, open tree.Opener) (string, error) {
	return s.once(ctx, id, func() []tree.Change { return changes }, func(changes []tree.Change) error {
		return s.build(ctx, id, full, changes, open)
	})
}

// Merged returns a directory that, as the only lower or below all others, shows the whole tree full: for stacks of more than [MaxLowers] layers, whose
// directories it replaces. Everything else is as for [Store.Layer]; id must differ from that of any layer. Where only the upper part of a stack is
// many small layers, Layer with the difference of the trees below and above that part costs much less.
func (s *Store) Merged(ctx context.Context, id tree.Digest, full *tree.Node, open tree.Opener) (string, error) {
	return s.once(ctx, id, func() []tree.Change { return tree.Diff(nil, full) }, func(changes []tree.Change) error {
		return s.build(ctx, id, full, changes, open)
	})
}

// A flight is one goroutine's work on a layer that others wait for.
type flight struct {
	done chan struct{}
	err  error
}

// once returns the directory of a layer, calling build unless there is one that can be trusted. changes is called at most once.
func (s *Store) once(ctx context.Context, id tree.Digest, changes func() []tree.Change, build func([]tree.Change) error) (string, error) {
	for {
		if s.closed.Load() {
			return "", ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return "", context.Cause(ctx)
		}
		if s.isReady(id) {
			return s.layerPath(id), nil
		}
		s.mu.Lock()
		f, other := s.flights[id]
		if !other {
			f = &flight{done: make(chan struct{})}
			s.flights[id] = f
		}
		s.mu.Unlock()
		if !other {
			f.err = s.lead(ctx, id, changes, build)
			s.mu.Lock()
			delete(s.flights, id)
			s.mu.Unlock()
			close(f.done)
			return s.layerPath(id), f.err
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-f.done:
		}
		// The other's failure may be of its own making (its context, its opener), so each goes on to try for itself.
	}
}

// lead makes or verifies a layer under the lock that keeps other processes from doing the same.
func (s *Store) lead(ctx context.Context, id tree.Digest, changes func() []tree.Change, build func([]tree.Change) error) error {
	name := layerName(id)
	release, err := s.lockLayer(ctx, id)
	if err != nil {
		return err
	}
	defer release()
	if s.isReady(id) {
		return nil
	}
	list := changes()
	if s.Has(id) {
		switch err := s.verify(ctx, id, list); {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return err
		}
	}
	// Whatever has the name is damaged or of another version.
	old := s.session.tempName()
	if err := unix.Renameat(s.layers.fd, name, s.session.fd, old); err == nil {
		defer s.session.discard(old)
	} else if err != unix.ENOENT {
		return onDisk("rename", s.layerPath(id), err)
	}
	return build(list)
}

func (s *Store) layerPath(id tree.Digest) string {
	return filepath.Join(s.base, layersDir, layerName(id), fsDir)
}

// isReady reports whether this store has made or verified the layer and it is still the same one.
func (s *Store) isReady(id tree.Digest) bool {
	s.mu.Lock()
	want, ok := s.ready[id]
	s.mu.Unlock()
	if !ok {
		return false
	}
	got, ok := s.use(id)
	return ok && got == want
}

func (s *Store) setReady(id tree.Digest) {
	if m, ok := s.use(id); ok {
		s.mu.Lock()
		s.ready[id] = m
		s.mu.Unlock()
	}
}

var errSeal = errors.New("snapshot: the directory is not as it was sealed")

// verify compares a layer's directory with its seal and, when the kernel was started since it was sealed, its files with their digests.
func (s *Store) verify(ctx context.Context, id tree.Digest, changes []tree.Change) error {
	name := layerName(id)
	m, err := readManifest(s.layers.fd, name+"/"+manifestFile)
	if err != nil {
		return err
	}
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
	if m.boot != "" && m.boot != s.boot {
		if err := s.checkContent(ctx, r, changes); err != nil {
			return err
		}
		if err := s.settle(); err != nil {
			return err
		}
		m.boot = s.boot
		if err := writeManifest(s.layers.fd, name, m); err != nil {
			return err
		}
	}
	s.setReady(id)
	return nil
}

// settle makes what was written durable where the manifest will not be able to tell that a crash lies between.
func (s *Store) settle() error {
	if s.boot != "" {
		return nil
	}
	return onDisk("syncfs", s.base, unix.Syncfs(s.layers.fd))
}

// build writes a layer below the session and publishes it.
func (s *Store) build(ctx context.Context, id tree.Digest, full *tree.Node, changes []tree.Change, open tree.Opener) (err error) {
	name, err := s.session.mkdirs(fsDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.session.discard(name)) }()
	r, err := openRoot(filepath.Join(s.session.path, name, fsDir))
	if err != nil {
		return err
	}
	defer r.close()
	w := writer{root: r, host: s.host, full: full, open: open, parallel: s.opts.Parallel}
	if err := w.write(ctx, changes); err != nil {
		return err
	}
	return s.publish(ctx, name, r, id)
}

// publish seals the finished directory r, which is <name>/fs below the session, and gives it its name. The caller holds the layer's lock.
func (s *Store) publish(ctx context.Context, name string, r root, id tree.Digest) error {
	m, err := s.seal(ctx, r)
	if err != nil {
		return err
	}
	if err := s.settle(); err != nil {
		return err
	}
	if err := writeManifest(s.session.fd, name, m); err != nil {
		return err
	}
	if s.opts.Created != nil {
		if l, err := layerAt(s.session.fd, name); err == nil {
			s.opts.Created(id, l.Bytes)
		}
	}
	if err := unix.Renameat(s.session.fd, name, s.layers.fd, layerName(id)); err != nil {
		return fmt.Errorf("snapshot: naming the layer %s: %w", id, err)
	}
	s.setReady(id)
	return nil
}
