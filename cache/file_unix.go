//go:build unix

package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// blobMode marks a blob as never to be edited.
const blobMode fs.FileMode = 0o444

// errNoFile says that there is no regular file of that name.
var errNoFile = errors.New("no such regular file")

// openRegular opens a regular file and nothing else: no symbolic link is
// followed, and a FIFO in its place does not block.
func openRegular(name string) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.EMLINK), errors.Is(err, syscall.ENXIO):
		return nil, nil, errNoFile
	default:
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error { return syncFile(name) }

// narrowAccess takes the right to write from everybody but the owner of a
// directory that becomes a store, if it is ours to change.
func narrowAccess(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	mode := info.Mode().Perm()
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || mode&0o022 == 0 || int(st.Uid) != os.Geteuid() {
		return nil
	}
	return os.Chmod(dir, mode&^0o022)
}

// checkAccess refuses a store that somebody else may change: one that belongs to
// another user than this one or root, or that every user may write to, and one of
// whose own directories is a link.
func checkAccess(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
		return fmt.Errorf("it belongs to user %d, who decides what is in it, and this is user %d; name a cache directory of your own", st.Uid, os.Geteuid())
	}
	for _, name := range []string{blobsDir, recordsDir, tmpDir, leasesDir, locksDir, privateDir} {
		if sub, err := os.Lstat(filepath.Join(dir, name)); err == nil && !sub.IsDir() {
			return fmt.Errorf("%s in it is not a directory; remove it, and everything else there if you did not put it there", name)
		}
	}
	if info.Mode().Perm()&0o002 != 0 {
		return errors.New("every user may write to this directory, and so decide what is in your images; chmod o-w it, after removing what is in it if you do not trust them")
	}
	return nil
}
