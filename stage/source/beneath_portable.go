package source

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"syscall"
	"time"
)

// portableRoot is beneath on [os.Root], for every system without a faster way.
// os.Root keeps paths inside the directory but follows links there, so what was
// opened is compared with what stands at each component.
type portableRoot struct{ root *os.Root }

func openPortable(dir string) (beneath, error) {
	r, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &portableRoot{r}, nil
}

// open opens p when no component of it is a link.
func (r *portableRoot) open(p string) (*os.File, error) {
	if p == "" {
		return r.root.Open(".")
	}
	for n := range len(p) {
		if p[n] != '/' {
			continue
		}
		if fi, err := r.root.Lstat(p[:n]); err != nil {
			return nil, err
		} else if !fi.IsDir() {
			return nil, &fs.PathError{Op: "open", Path: p[:n], Err: syscall.ENOTDIR}
		}
	}
	want, err := r.root.Lstat(p)
	if err != nil {
		return nil, err
	}
	if !want.IsDir() && !want.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "open", Path: p, Err: errReplaced}
	}
	f, err := r.root.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if got, err := f.Stat(); err != nil || !os.SameFile(want, got) {
		f.Close()
		return nil, &fs.PathError{Op: "open", Path: p, Err: errors.Join(errReplaced, err)}
	}
	return f, nil
}

// errReplaced reports that something else stands where a file or directory was.
var errReplaced = errors.New("is no longer what it was")

func (r *portableRoot) openDir(p string) (dirHandle, error) {
	f, err := r.open(p)
	if err != nil {
		return nil, err
	}
	return &portableDir{root: r, path: p, f: f}, nil
}

func (r *portableRoot) openFile(p string) (fileHandle, error) {
	f, err := r.open(p)
	if err != nil {
		return nil, err
	}
	return portableFile{f}, nil
}

func (r *portableRoot) lstat(p string, e *Entry) error {
	if p == "" {
		p = "."
	}
	fi, err := r.root.Lstat(p)
	if err != nil {
		return err
	}
	fillInfo(e, fi)
	return nil
}

func (r *portableRoot) clock() int64 { return time.Now().UnixNano() }

// remote is yes: nothing portable tells.
func (r *portableRoot) remote() bool { return true }

func (r *portableRoot) stampsXattrs(uint64) bool { return false }

func (r *portableRoot) Close() error { return r.root.Close() }

type portableDir struct {
	root *portableRoot
	path string
	f    *os.File
}

func (d *portableDir) Close() error { return d.f.Close() }

func (d *portableDir) names() ([]string, error) {
	if _, err := d.f.Seek(0, 0); err != nil {
		return nil, err
	}
	return d.f.Readdirnames(-1)
}

// xattrs are read on Linux only.
func (d *portableDir) xattrs(string, *Entry) error { return nil }

func (d *portableDir) stat(name string, e *Entry) error {
	p := path.Join(d.path, name)
	fi, err := d.root.root.Lstat(p)
	if err != nil {
		return err
	}
	fillInfo(e, fi)
	if e.Mode&fs.ModeSymlink != 0 {
		e.Link, err = d.root.root.Readlink(p)
	}
	return err
}

type portableFile struct{ *os.File }

func (f portableFile) stat(e *Entry) error {
	fi, err := f.File.Stat()
	if err != nil {
		return err
	}
	fillInfo(e, fi)
	return nil
}

// fillInfo sets what fi tells of e, with owner and identity where the platform
// has them.
func fillInfo(e *Entry, fi fs.FileInfo) {
	e.Mode, e.Size, e.Mtime = fi.Mode(), 0, unixNano(fi.ModTime())
	if e.Mode.IsRegular() {
		e.Size = fi.Size()
	}
	fillSys(e, fi.Sys())
}

// unixNano is t in nanoseconds since the Unix epoch: 0 for the zero time, and
// the nearest that an int64 holds for years before 1678 and after 2262.
func unixNano(t time.Time) int64 {
	const most = int64(^uint64(0)>>1) / int64(time.Second)
	switch {
	case t.IsZero():
		return 0
	case t.Unix() < -most:
		return -most * int64(time.Second)
	case t.Unix() >= most:
		return most * int64(time.Second)
	}
	return t.UnixNano()
}

// isMissing reports an error that says a path does not exist.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// isReplaced reports an error that says a path is not the kind of thing that it
// was when it was listed.
func isReplaced(err error) bool {
	return slices.ContainsFunc([]error{errReplaced, syscall.ENOTDIR, syscall.ELOOP, syscall.EXDEV, syscall.ENXIO},
		func(target error) bool { return errors.Is(err, target) })
}
