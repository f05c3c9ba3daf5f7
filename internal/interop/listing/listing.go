// Package listing describes a directory tree entry by entry, so that what a program unpacked can be compared with what was meant. It is used by
// the tests, on this machine, and by the probe, inside containers.
package listing

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Entry is one name in a tree. All fields are comparable text or numbers: a difference is readable as it is.
type Entry struct {
	Mode     string            // as ls -l writes it
	Owner    string            // "uid:gid"
	Size     int64             `json:",omitempty"` // of a regular file
	SHA256   string            `json:",omitempty"` // of a regular file
	Target   string            `json:",omitempty"` // of a symbolic link
	Device   string            `json:",omitempty"` // "major:minor"
	SameFile string            `json:",omitempty"` // the first of the names of a file that has several
	Modified int64             `json:",omitempty"` // seconds since 1970; of all but directories, whose times engines change by what they mount
	Xattrs   map[string]string `json:",omitempty"` // quoted
}

// Tree has the entries by their slash separated path below the root; the root itself is "/".
type Tree map[string]Entry

// Options says what of a directory is left out.
type Options struct {
	Skip   func(path string) bool // with all that is below
	Xattrs func(name string) bool // nil keeps all
}

// Read lists a directory of this machine.
func Read(root string, o Options) (Tree, error) {
	r := reader{root: root, options: o, tree: Tree{}, inodes: map[[2]uint64]string{}}
	if err := filepath.WalkDir(root, r.visit); err != nil {
		return nil, err
	}
	r.tree.DropSingles()
	return r.tree, nil
}

type reader struct {
	root    string
	options Options
	tree    Tree
	inodes  map[[2]uint64]string // device and inode to the first name
}

func (r *reader) visit(name string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(r.root, name)
	if err != nil {
		return err
	}
	at := path.Join("/", filepath.ToSlash(rel))
	if r.options.Skip != nil && r.options.Skip(at) {
		if d.IsDir() {
			return fs.SkipDir
		}
		return nil
	}
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: no stat data", name)
	}
	e := Entry{Mode: info.Mode().String(), Owner: Owner(stat.Uid, stat.Gid)}
	if e.Xattrs, err = r.xattrs(name); err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		r.tree[at] = e
		return nil
	case mode.IsRegular():
		e.Size = info.Size()
		e.SHA256, err = hashFile(name)
	case mode&fs.ModeSymlink != 0:
		e.Target, err = os.Readlink(name)
	case mode&fs.ModeDevice != 0:
		e.Device = Device(unix.Major(stat.Rdev), unix.Minor(stat.Rdev))
	}
	if err != nil {
		return err
	}
	e.Modified = info.ModTime().Unix()
	if mode := info.Mode(); mode.IsRegular() {
		inode := [2]uint64{uint64(stat.Dev), stat.Ino}
		if r.inodes[inode] == "" {
			r.inodes[inode] = at
		}
		e.SameFile = r.inodes[inode]
	}
	r.tree[at] = e
	return nil
}

// DropSingles forgets the group of files that have one name only.
func (t Tree) DropSingles() {
	names := map[string]int{}
	for _, e := range t {
		names[e.SameFile]++
	}
	for at, e := range t {
		if names[e.SameFile] == 1 {
			e.SameFile = ""
			t[at] = e
		}
	}
}

func (r *reader) xattrs(name string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, buf)
	if err == unix.ENOTSUP {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("attributes of %s: %w", name, err)
	}
	var m map[string]string
	for _, attr := range strings.Split(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if attr == "" || r.options.Xattrs != nil && !r.options.Xattrs(attr) {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(name, attr, value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s of %s: %w", attr, name, err)
		}
		if m == nil {
			m = map[string]string{}
		}
		m[attr] = strconv.Quote(string(value[:n]))
	}
	return m, nil
}

func hashFile(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return Hash(f)
}

// Hash returns what SHA256 is of a file's content.
func Hash(r io.Reader) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Owner is the form of Entry.Owner.
func Owner(uid, gid uint32) string { return fmt.Sprintf("%d:%d", uid, gid) }

// Device is the form of Entry.Device.
func Device(major, minor uint32) string { return fmt.Sprintf("%d:%d", major, minor) }
