package tree

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/stagewright/stagewright/internal/filemode"
)

// An Opener gives the bytes of a file by their digest. The caller closes what it
// gets. It must be safe for concurrent use.
type Opener func(Digest) (io.ReadCloser, error)

// FS returns the tree as a read-only file system with the bytes that open gives.
// It implements [fs.ReadDirFS], [fs.StatFS], [fs.ReadLinkFS] and
// [fs.ReadFileFS]. Open, Stat and ReadFile follow symbolic links inside the
// root as [Resolve] does, so no link leads out of the tree; Lstat and ReadLink
// do not. Devices and fifos can be looked at but not read. FileInfo.Sys
// returns the *[Node]. It is safe for concurrent use.
func FS(root *Node, open Opener) fs.FS { return &treeFS{root, open} }

type treeFS struct {
	root *Node
	open Opener
}

var errNotFile = errors.New("not a regular file")

// node finds name, following links in its last element only when asked to.
func (f *treeFS) node(op, name string, follow bool) (*Node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	_, n, err := Resolve(f.root, name, follow)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		if pe, ok := errors.AsType[*PathError](err); ok {
			err = pe.Err
		}
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return n, nil
}

func (f *treeFS) Open(name string) (fs.File, error) {
	n, err := f.node("open", name, true)
	if err != nil {
		return nil, err
	}
	info := fileInfo{path.Base(name), n}
	switch n.kind {
	case Dir:
		return &openDir{info: info, next: cursor{chunks: n.dir.chunks}}, nil
	case File:
		r, err := f.open(n.content)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openFile{ReadCloser: r, info: info}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: errNotFile}
}

func (f *treeFS) Stat(name string) (fs.FileInfo, error) {
	n, err := f.node("stat", name, true)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), n}, nil
}

func (f *treeFS) Lstat(name string) (fs.FileInfo, error) {
	n, err := f.node("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return fileInfo{path.Base(name), n}, nil
}

func (f *treeFS) ReadLink(name string) (string, error) {
	n, err := f.node("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.kind != Symlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.target, nil
}

func (f *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := f.node("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if n.kind != Dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: ErrNotDir}
	}
	out := make([]fs.DirEntry, 0, n.Len())
	for name, child := range n.All() {
		out = append(out, fileInfo{name, child})
	}
	return out, nil
}

func (f *treeFS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(file)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, nil
}

// fileInfo is both the fs.FileInfo and the fs.DirEntry of a node.
type fileInfo struct {
	name string
	node *Node
}

func (i fileInfo) Name() string               { return i.name }
func (i fileInfo) Size() int64                { return i.node.size }
func (i fileInfo) Mode() fs.FileMode          { return i.node.FileMode() }
func (i fileInfo) Type() fs.FileMode          { return i.Mode().Type() }
func (i fileInfo) ModTime() time.Time         { return time.Unix(0, i.node.meta.Mtime).UTC() }
func (i fileInfo) IsDir() bool                { return i.node.kind == Dir }
func (i fileInfo) Sys() any                   { return i.node }
func (i fileInfo) Info() (fs.FileInfo, error) { return i, nil }
func (i fileInfo) String() string             { return fs.FormatFileInfo(i) }

// FileMode returns kind and mode as an [fs.FileMode].
func (n *Node) FileMode() fs.FileMode {
	m := filemode.FS(n.meta.Mode)
	switch n.kind {
	case Dir:
		m |= fs.ModeDir
	case Symlink:
		m |= fs.ModeSymlink
	case CharDevice:
		m |= fs.ModeDevice | fs.ModeCharDevice
	case BlockDevice:
		m |= fs.ModeDevice
	case Fifo:
		m |= fs.ModeNamedPipe
	}
	return m
}

type openFile struct {
	io.ReadCloser
	info fileInfo
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }

type openDir struct {
	info fileInfo
	next cursor
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errors.New("is a directory")}
}

// ReadDir gives the next entries, as fs.ReadDirFile says.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	var out []fs.DirEntry
	for n <= 0 || len(out) < n {
		e := d.next.peek()
		if e == nil {
			if n > 0 && len(out) == 0 {
				return nil, io.EOF
			}
			break
		}
		out = append(out, fileInfo{e.name, e.node})
		d.next.advance()
	}
	return out, nil
}
