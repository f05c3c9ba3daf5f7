package toolbox

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"
)

// commandNames are the names that the template's table answers to; a test holds the two together. They are a constant here because
// the binary cannot be asked where it does not run, on macOS and Windows.
const commandNames = `[ base64 basename cat chgrp chmod chown cmp comm cp cut date dirname echo env expr false find grep gunzip gzip head hostname id
	install kill ln ls md5sum mkdir mkfifo mktemp mv nproc od paste printf ps pwd readlink realpath rm rmdir sed seq sh sha256sum shasum
	sleep sort stat tail tar tee test touch tr true uname uniq wc which whoami xargs yes zcat`

// Files is a root filesystem around the binary: /bin/sh is the binary, /bin holds a link to sh for every other command, /usr/bin is a
// link to /bin with /usr/bin/env therefore in place, /tmp and /var/tmp have mode 1777, /etc names the users root and nobody, and /dev, /proc,
// /sys, /run and /root are empty directories.
//
// The same binary gives the same tree: all times are the zero Time, which readers take for the Unix epoch. It implements fs.ReadLinkFS, fs.StatFS and fs.ReadDirFS; Open and Stat
// follow links, which are all relative. The binary's bytes are read from b.Path when they are wanted.
func (b Binary) Files() fs.FS {
	r := rootFS{}
	r.dir(".", 0o755)
	for _, name := range []string{"bin", "dev", "etc", "proc", "run", "sys", "usr", "var"} {
		r.dir(name, 0o755)
	}
	r.dir("root", 0o700)
	r.dir("tmp", 0o777|fs.ModeSticky)
	r.dir("var/tmp", 0o777|fs.ModeSticky)
	r.link("usr/bin", "../bin")
	r.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n")
	r.file("etc/group", "root:x:0:\nnobody:x:65534:\n")
	r["bin/sh"] = &node{name: "sh", mode: 0o755, size: b.Size, host: b.Path}
	for _, command := range b.Commands {
		if command != "sh" {
			r.link("bin/"+command, "sh")
		}
	}
	return r
}

// rootFS maps each clean path to its node.
type rootFS map[string]*node

// node is a file and its own fs.FileInfo and fs.DirEntry.
type node struct {
	name   string
	mode   fs.FileMode
	size   int64
	target string // of a symbolic link
	data   string // of a small file
	host   string // where a large file's bytes are
}

func (r rootFS) dir(name string, perm fs.FileMode) {
	r[name] = &node{name: path.Base(name), mode: fs.ModeDir | perm}
}

func (r rootFS) file(name, data string) {
	r[name] = &node{name: path.Base(name), mode: 0o644, size: int64(len(data)), data: data}
}

func (r rootFS) link(name, target string) {
	r[name] = &node{name: path.Base(name), mode: fs.ModeSymlink | 0o777, size: int64(len(target)), target: target}
}

func (n *node) Name() string               { return n.name }
func (n *node) Size() int64                { return n.size }
func (n *node) Mode() fs.FileMode          { return n.mode }
func (n *node) ModTime() time.Time         { return time.Time{} }
func (n *node) IsDir() bool                { return n.mode.IsDir() }
func (n *node) Sys() any                   { return nil }
func (n *node) Type() fs.FileMode          { return n.mode.Type() }
func (n *node) Info() (fs.FileInfo, error) { return n, nil }
func (n *node) String() string             { return fs.FormatDirEntry(n) }

// resolve finds name; links in the middle are followed, and at its end when last is set.
func (r rootFS) resolve(op, name string, last bool) (string, *node, error) {
	if !fs.ValidPath(name) {
		return "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	// Each link here points at something that is no link: two rounds for one in the middle and one at the end, and one to spare.
	for at, round := name, 0; round < 3; round++ {
		if n := r[at]; n != nil && (!last || n.mode.Type() != fs.ModeSymlink) {
			return at, n, nil
		}
		prefix, rest := r.firstLink(at)
		if prefix == "" {
			break
		}
		at = path.Join(path.Dir(prefix), r[prefix].target, rest)
	}
	return "", nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

// firstLink splits name behind its first element that is a link; prefix is "" when none is.
func (r rootFS) firstLink(name string) (prefix, rest string) {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		if n := r[name[:i]]; n != nil && n.mode.Type() == fs.ModeSymlink {
			return name[:i], name[i:]
		}
	}
	return "", ""
}

func (r rootFS) Open(name string) (fs.File, error) {
	at, n, err := r.resolve("open", name, true)
	if err != nil {
		return nil, err
	}
	switch {
	case n.IsDir():
		return &openDir{node: n, name: name, entries: r.children(at)}, nil
	case n.host != "":
		f, err := os.Open(n.host)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openFile{Reader: f, ReaderAt: f, node: n, closer: f}, nil
	default:
		s := strings.NewReader(n.data)
		return &openFile{Reader: s, ReaderAt: s, node: n}, nil
	}
}

func (r rootFS) Stat(name string) (fs.FileInfo, error) {
	_, n, err := r.resolve("stat", name, true)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (r rootFS) Lstat(name string) (fs.FileInfo, error) {
	_, n, err := r.resolve("lstat", name, false)
	if err != nil {
		return nil, err
	}
	return n, nil
}

func (r rootFS) ReadLink(name string) (string, error) {
	_, n, err := r.resolve("readlink", name, false)
	if err != nil {
		return "", err
	}
	if n.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return n.target, nil
}

func (r rootFS) ReadDir(name string) ([]fs.DirEntry, error) {
	at, n, err := r.resolve("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if !n.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOTDIR}
	}
	return r.children(at), nil
}

func (r rootFS) children(dir string) []fs.DirEntry {
	var entries []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(r)) {
		if name != "." && path.Dir(name) == dir {
			entries = append(entries, r[name])
		}
	}
	return entries
}

type openFile struct {
	io.Reader
	io.ReaderAt
	node   *node
	closer io.Closer
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.node, nil }

func (f *openFile) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

type openDir struct {
	node    *node
	name    string
	entries []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.node, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.entries) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.entries) {
		n = len(d.entries)
	}
	entries := d.entries[:n:n]
	d.entries = d.entries[n:]
	return entries, nil
}
