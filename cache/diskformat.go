package cache

import (
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Names below a Disk's directory. FORMAT.md explains them.
const (
	versionFile = "version"
	gateFile    = "lock"
	tagFile     = "CACHEDIR.TAG"
	blobsDir    = "blobs/sha256"
	recordsDir  = "records"
	tmpDir      = "tmp"
	leasesDir   = "leases"
	locksDir    = "locks"
	privateDir  = "private"

	versionTemp = ".version-" // and a random suffix
)

const (
	versionPrefix = "stagewright cache "
	versionLine   = versionPrefix + "1\n"

	// See bford.info/cachedir: backup programs skip a directory so marked.
	tagText = "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of stagewright. See the file version.\n"
)

func (d *Disk) blobPath(g Digest) string {
	h := g.Hex()
	return filepath.Join(d.dir, blobsDir, h[:2], h)
}

func (d *Disk) recordPath(k Key) string {
	h := k.Hex()
	return filepath.Join(d.dir, recordsDir, h[:2], h)
}

// checkVersion returns nil for a store of this version and an error wrapping
// fs.ErrNotExist where there is none yet.
func checkVersion(dir string) error {
	f, err := os.Open(filepath.Join(dir, versionFile))
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return &ForeignError{Dir: dir}
	}
	if err != nil {
		return &DiskError{Op: "open", Dir: dir, Err: err}
	}
	defer f.Close()
	text := make([]byte, 64)
	n, err := io.ReadFull(f, text)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return &DiskError{Op: "open", Dir: dir, Err: err}
	}
	switch got := string(text[:n]); {
	case got == versionLine:
		return nil
	case got == "":
		return fs.ErrNotExist // see writeVersion
	case strings.HasPrefix(got, versionPrefix):
		return &VersionError{Dir: dir, Got: strings.TrimSpace(got), Want: strings.TrimSpace(versionLine)}
	default:
		return &ForeignError{Dir: dir, Found: versionFile}
	}
}

// initDisk makes dir a store. The version file comes first: everything else is
// made below a directory that is marked as ours.
func initDisk(dir string) error {
	fail := func(err error) error { return &DiskError{Op: "create", Dir: dir, Err: err} }
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fail(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fail(err)
	}
	for _, e := range entries {
		name := e.Name()
		if name == "lost+found" || strings.HasPrefix(name, versionTemp) {
			continue
		}
		// Unless another process has made it a store since we looked.
		err := checkVersion(dir)
		switch {
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case name != versionFile: // that one is empty
			return &ForeignError{Dir: dir, Found: name}
		}
	}
	if err := narrowAccess(dir); err != nil {
		return fail(err)
	}
	// Another process may have made it a store meanwhile, and swept what was still to get its name.
	if err := writeVersion(dir); err != nil && !(errors.Is(err, fs.ErrNotExist) && checkVersion(dir) == nil) {
		return fail(err)
	}
	if err := os.WriteFile(filepath.Join(dir, tagFile), []byte(tagText), 0o644); err != nil {
		return fail(err)
	}
	for _, sub := range []string{blobsDir, recordsDir, tmpDir, leasesDir, privateDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return fail(err)
		}
	}
	return nil
}

// writeVersion puts the version file in place, durably: were it lost in a power
// cut, the rest would look like somebody else's directory. It is synced in its place, so that a file system with a journal writes its bytes
// and its name at once; a power cut in that moment can leave it empty, and nothing else.
func writeVersion(dir string) error {
	temp := filepath.Join(dir, versionTemp+rand.Text())
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(versionLine)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, filepath.Join(dir, versionFile))
	}
	if err != nil {
		_ = os.Remove(temp)
		return err
	}
	f, err = os.OpenFile(filepath.Join(dir, versionFile), os.O_RDWR, 0) // Windows flushes what may be written
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close(), syncDir(dir))
}
