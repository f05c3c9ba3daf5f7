package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// An Upper is a fresh pair of directories for one overlay mount: what a step changes goes to Dir. It belongs to one goroutine at a time, and to
// one mount in its life: the kernel does not refuse a second one, it breaks both.
type Upper struct {
	Dir  string // absolute; its mode, owner and times are those of the base tree's root
	Work string // absolute, empty, on the same filesystem

	store   *Store
	session *session
	name    string // in the session
	root    root   // of Dir
	base    *tree.Node
	scanned bool
	over    bool
}

// NewUpper makes the directories for a step on top of base, whose root's mode and owner the upper takes, since they are those that the step will see;
// a nil base is an empty tree. They lie on the store's filesystem, so that [Upper.Adopt] is a rename, or in Options.UpperDir where
// overlayfs would refuse that one. When there is no such place the error is an [*UpperError].
//
// Mounting with the option "volatile" is right: nothing here trusts that the upper is on the disk.
func (s *Store) NewUpper(ctx context.Context, base *tree.Node) (*Upper, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	session, err := s.upperSession()
	if err != nil {
		return nil, err
	}
	name, err := session.takeUpper()
	if err != nil {
		return nil, err
	}
	u := &Upper{Dir: filepath.Join(session.path, name, fsDir), Work: filepath.Join(session.path, name, workDir),
		store: s, session: session, name: name, base: base, root: root{fd: -1}}
	if u.root, err = openRoot(u.Dir); err == nil {
		w := writer{root: u.root, host: s.host}
		meta := tree.Meta{Mode: 0o755}
		if base != nil {
			meta = base.Meta()
		}
		err = onDisk("setting the metadata of", u.Dir, w.finishDir(writtenDir{meta: meta}))
	}
	if err != nil {
		return nil, errors.Join(err, u.Discard())
	}
	return u, nil
}

// upperSession returns the session in which uppers are made.
func (s *Store) upperSession() (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uppers != nil {
		return s.uppers, nil
	}
	bad, err := refusesUpper(s.base)
	if err != nil {
		return nil, err
	}
	if bad == "" {
		s.uppers = s.session
		return s.session, nil
	}
	dir := s.opts.UpperDir
	if dir == "" {
		return nil, &UpperError{Dir: s.base, Filesystem: bad}
	}
	if bad, err = refusesUpper(dir); err != nil {
		return nil, err
	} else if bad != "" {
		return nil, &UpperError{Dir: dir, Filesystem: bad}
	}
	tmp := filepath.Join(dir, fmt.Sprintf("stagewright-%d", unix.Geteuid()))
	if err := makePrivate(tmp); err != nil {
		return nil, err
	}
	if s.uppers, err = newSession(tmp); err != nil {
		return nil, err
	}
	return s.uppers, nil
}

// refusesUpper names the filesystem of dir when overlayfs accepts no upper on it: one that is an overlay itself, or lacks attributes, whiteouts or
// stable inodes. Others are tried; the mount then tells.
func refusesUpper(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", onDisk("statfs", dir, err)
	}
	switch uint32(st.Type) {
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs", nil
	case unix.NFS_SUPER_MAGIC:
		return "NFS", nil
	case unix.SMB_SUPER_MAGIC, 0xff534d42, 0xfe534d42: // smbfs, CIFS, SMB2
		return "SMB", nil
	case unix.V9FS_MAGIC:
		return "9p", nil
	case unix.MSDOS_SUPER_MAGIC, 0x2011bab0: // vfat, exfat
		return "a FAT filesystem", nil
	case unix.ECRYPTFS_SUPER_MAGIC:
		return "eCryptfs", nil
	}
	return "", nil
}

// Adopt makes the upper, whose changes are those that [Upper.Scan] returned, the directory of the layer id, by one rename, and ends the upper. When
// the store has the layer already, that one stays and the upper is deleted. From an upper in Options.UpperDir the layer is made by a copy.
//
// The result and the errors are those of [Store.Layer]. After an error the upper is still to be discarded.
func (u *Upper) Adopt(ctx context.Context, id tree.Digest, changes []tree.Change) (string, error) {
	if u.over || !u.scanned {
		return "", errors.New("snapshot: Adopt takes an upper after Scan and before Discard")
	}
	s := u.store
	dir, err := s.once(ctx, id, func() []tree.Change { return changes }, func(changes []tree.Change) error {
		if u.session == s.session {
			if err := unix.Renameat(s.session.fd, u.name+"/"+workDir, s.session.fd, u.name+workSuffix); err != nil {
				return onDisk("rename", u.Work, err)
			}
			return s.publish(ctx, u.name, u.root, id)
		}
		full, err := tree.Apply(u.base, changes)
		if err != nil {
			return err
		}
		return s.build(ctx, id, full, changes, u.opener(changes))
	})
	if err != nil {
		return "", err
	}
	return dir, u.Discard()
}

// opener gives the files of an upper by their digests.
func (u *Upper) opener(changes []tree.Change) tree.Opener {
	find := pathsByContent(changes)
	return func(content tree.Digest) (io.ReadCloser, error) {
		fd, err := u.store.openRegular(u.root, find()[content])
		if err != nil {
			return nil, err
		}
		return newFile(fd, u.Dir), nil
	}
}

// Discard deletes what is left of the upper: everything, or after Adopt the work directory. Nothing may be mounted on it any more. It does not wait for the
// deletion, [Store.Close] does. A second Discard does nothing.
func (u *Upper) Discard() error {
	if u.over {
		return nil
	}
	u.over = true
	if u.root.fd >= 0 {
		u.root.close()
	}
	return errors.Join(u.session.discardLater(u.name), u.session.discardLater(u.name+workSuffix))
}
