//go:build linux

package snapshot

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// contents holds the bytes of the files in fixtures and counts how often they are opened.
type contents struct {
	mu    sync.Mutex
	bytes map[tree.Digest][]byte
	opens int
}

func (c *contents) put(b string) tree.Digest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.bytes == nil {
		c.bytes = map[tree.Digest][]byte{}
	}
	d := tree.Digest(sha256.Sum256([]byte(b)))
	c.bytes[d] = []byte(b)
	return d
}

func (c *contents) open(d tree.Digest) (io.ReadCloser, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opens++
	b, ok := c.bytes[d]
	if !ok {
		return nil, fmt.Errorf("no content %s", d)
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// parse makes a tree from a notation of one entry a line: kind, path, mode, owner, and for each kind what else there is:
//
//	d etc 0755 0:0
//	f etc/passwd 0644 0:0 text user.x=1     (user.x is an attribute; h:1 is the number of a group of hard links)
//	l bin 0777 0:0 usr/bin
//	p, c 1:3, b 8:0                          (fifo, devices)
//
// An mtime is @seconds.
func (c *contents) parse(t testing.TB, text string) *tree.Node {
	t.Helper()
	e := tree.Edit(nil)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		path := strings.TrimPrefix(f[1], "/")
		n, err := c.node(f)
		if err == nil && path == "" {
			err = e.SetMeta("", n.Meta())
		} else if err == nil {
			err = e.Put(path, n)
		}
		if err != nil {
			t.Fatalf("%s: %v", strings.TrimSpace(line), err)
		}
	}
	return e.Tree()
}

func (c *contents) node(f []string) (*tree.Node, error) {
	mode, err := strconv.ParseUint(f[2], 8, 32)
	if err != nil {
		return nil, err
	}
	m := tree.Meta{Mode: uint32(mode), Mtime: 1e18}
	if _, err := fmt.Sscanf(f[3], "%d:%d", &m.UID, &m.GID); err != nil {
		return nil, err
	}
	var plain []string
	group := uint64(0)
	for _, word := range f[4:] {
		if name, value, ok := strings.Cut(word, "="); ok {
			m.Xattrs = append(m.Xattrs, tree.Xattr{Name: name, Value: []byte(value)})
		} else if v, ok := strings.CutPrefix(word, "h:"); ok {
			group, err = strconv.ParseUint(v, 10, 64)
		} else if v, ok := strings.CutPrefix(word, "@"); ok {
			m.Mtime, err = strconv.ParseInt(v, 10, 64)
			m.Mtime *= 1e9
		} else {
			plain = append(plain, word)
		}
		if err != nil {
			return nil, err
		}
	}
	var major, minor uint32
	switch f[0] {
	case "d":
		return tree.NewDir(m), nil
	case "f":
		text := strings.Join(plain, " ")
		return tree.NewFile(m, c.put(text), int64(len(text)), group), nil
	case "l":
		return tree.NewSymlink(m, plain[0]), nil
	case "p":
		return tree.NewFifo(m), nil
	case "c", "b":
		if _, err := fmt.Sscanf(plain[0], "%d:%d", &major, &minor); err != nil {
			return nil, err
		}
		kind := tree.CharDevice
		if f[0] == "b" {
			kind = tree.BlockDevice
		}
		return tree.NewDevice(kind, m, major, minor), nil
	}
	return nil, fmt.Errorf("no kind %q", f[0])
}

// describe prints a tree as an overlay of it should look in the eyes of this user: owners are all 0 to an ordinary one, devices empty files. See look.
func describe(root *tree.Node) string {
	rootless := os.Geteuid() != 0
	var b strings.Builder
	groups := map[uint64]string{}
	for path, n := range tree.Walk(root) {
		m := n.Meta()
		kind, extra := byte('?'), ""
		switch n.Kind() {
		case tree.Dir:
			kind = 'd'
		case tree.File:
			kind, extra = 'f', fmt.Sprintf("%d %s", n.Size(), n.Content())
			if g := n.Group(); g != 0 {
				if groups[g] == "" {
					groups[g] = path
				}
				extra += " = " + groups[g]
			}
		case tree.Symlink:
			kind, extra = 'l', n.Target()
			m.Mode = 0o777
		case tree.Fifo:
			kind = 'p'
		case tree.CharDevice, tree.BlockDevice:
			major, minor := n.Device()
			kind, extra = 'c', fmt.Sprintf("%d:%d", major, minor)
			if n.Kind() == tree.BlockDevice {
				kind = 'b'
			}
			if rootless {
				kind, extra = 'f', fmt.Sprintf("0 %s", tree.Digest(sha256.Sum256(nil)))
			}
		}
		if rootless {
			m.UID, m.GID = 0, 0
		}
		fmt.Fprintf(&b, "%c %q %04o %d:%d %d %s", kind, path, m.Mode, m.UID, m.GID, m.Mtime, extra)
		for _, x := range m.Xattrs {
			if strings.HasPrefix(x.Name, "user.") && !strings.HasPrefix(x.Name, "user.overlay.") && (n.Kind() == tree.File || n.Kind() == tree.Dir) {
				fmt.Fprintf(&b, " %s=%s", x.Name, x.Value)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// look prints what is below dir as describe prints a tree. It uses nothing of the package.
func look(dir string) (string, error) {
	var b strings.Builder
	inodes := map[uint64]string{}
	var walk func(path string) error
	walk = func(path string) error {
		full := filepath.Join(dir, path)
		var st unix.Stat_t
		if err := unix.Lstat(full, &st); err != nil {
			return fmt.Errorf("lstat %s: %w", full, err)
		}
		kind, extra := byte('?'), ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			kind = 'd'
		case unix.S_IFREG:
			content, err := os.ReadFile(full)
			if err != nil {
				return err
			}
			kind, extra = 'f', fmt.Sprintf("%d %s", len(content), tree.Digest(sha256.Sum256(content)))
			if st.Nlink > 1 {
				if inodes[st.Ino] == "" {
					inodes[st.Ino] = path
				}
				extra += " = " + inodes[st.Ino]
			}
		case unix.S_IFLNK:
			target, err := os.Readlink(full)
			if err != nil {
				return err
			}
			kind, extra = 'l', target
		case unix.S_IFIFO:
			kind = 'p'
		case unix.S_IFCHR:
			kind, extra = 'c', fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		case unix.S_IFBLK:
			kind, extra = 'b', fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		fmt.Fprintf(&b, "%c %q %04o %d:%d %d %s", kind, path, st.Mode&0o7777, st.Uid, st.Gid, st.Mtim.Nano(), extra)
		if kind == 'd' || kind == 'f' {
			buf := make([]byte, 4096)
			n, err := unix.Llistxattr(full, buf)
			if err != nil {
				return err
			}
			names := strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 })
			slices.Sort(names)
			for _, name := range names {
				if strings.HasPrefix(name, "user.") {
					value := make([]byte, 256)
					n, err := unix.Lgetxattr(full, name, value)
					if err != nil {
						return err
					}
					fmt.Fprintf(&b, " %s=%s", name, value[:n])
				}
			}
		}
		b.WriteByte('\n')
		if kind != 'd' {
			return nil
		}
		entries, err := os.ReadDir(full) // sorted by name
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := walk(filepath.Join(path, e.Name())); err != nil {
				return err
			}
		}
		return nil
	}
	err := walk("")
	return b.String(), err
}

// list prints changes one a line.
func list(changes []tree.Change) string {
	var b strings.Builder
	for _, c := range changes {
		if c.Node == nil {
			fmt.Fprintf(&b, "- %s\n", c.Path)
			continue
		}
		m := c.Node.Meta()
		fmt.Fprintf(&b, "%s %q %04o %d:%d @%d", c.Node.Kind(), c.Path, m.Mode, m.UID, m.GID, m.Mtime/1e9)
		switch c.Node.Kind() {
		case tree.File:
			fmt.Fprintf(&b, " %d %s", c.Node.Size(), c.Node.Content().String()[:15])
		case tree.Symlink:
			fmt.Fprintf(&b, " -> %s", c.Node.Target())
		}
		if g := c.Node.Group(); g != 0 {
			fmt.Fprintf(&b, " h:%d", g)
		}
		for _, x := range m.Xattrs {
			fmt.Fprintf(&b, " %s=%q", x.Name, x.Value)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func mustDiff(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got\n%s\nwant\n%s", what, got, want)
	}
}
