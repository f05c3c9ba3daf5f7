package snapshot

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// maxHeld is the depth of directories that a removal holds open at once. What lies deeper is first moved up, so that a tree of any depth,
// which a hostile step can make through relative paths, is removed with a bounded number of descriptors.
const maxHeld = 64

// removeTree removes the directory name in the open directory at, with everything below and without following links. Directories that
// deny their owner access are opened up first: overlayfs leaves its work directory with mode 000. An absent name is no error. stop, if not
// nil, is asked between entries; when it says true the rest stays, and errStopped is returned.
func removeTree(at int, name string, stop func() bool) error {
	r := remover{top: at, stop: stop, prefix: name}
	r.deep = append(r.deep, name)
	for len(r.deep) > 0 {
		next := r.deep[len(r.deep)-1]
		r.deep = r.deep[:len(r.deep)-1]
		if err := r.remove(at, next, 0); err != nil {
			return fmt.Errorf("snapshot: removing %s: %w", name, err)
		}
	}
	return nil
}

var errStopped = errors.New("stopped")

type remover struct {
	top    int
	prefix string
	moved  int
	deep   []string // directories moved up into top, to be removed in their turn
	stop   func() bool
}

func (r *remover) remove(at int, name string, depth int) error {
	err := unix.Unlinkat(at, name, 0)
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err != unix.EISDIR && err != unix.EPERM {
		return err
	}
	if unix.Unlinkat(at, name, unix.AT_REMOVEDIR) == nil {
		return nil
	}
	// The whole mode is needed below: read for the names, search and write for unlinking.
	if err := (root{fd: at}).chmodPath(name, 0o700); err != nil {
		return err
	}
	if depth >= maxHeld {
		r.moved++
		up := fmt.Sprintf("%s.deep%d", r.prefix, r.moved)
		if err := unix.Renameat(at, name, r.top, up); err != nil {
			return err
		}
		r.deep = append(r.deep, up)
		return nil
	}
	if err := r.clear(at, name, depth); err != nil {
		return err
	}
	return unix.Unlinkat(at, name, unix.AT_REMOVEDIR)
}

func (r *remover) clear(at int, name string, depth int) error {
	fd, err := openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	names, err := readNames(fd, math.MaxInt-1)
	if err != nil {
		return err
	}
	for _, child := range names {
		if r.stop != nil && r.stop() {
			return errStopped
		}
		if err := r.remove(fd, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}
