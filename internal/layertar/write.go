package layertar

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/stagewright/stagewright/internal/tree"
)

// bufferSize is the most that is read from a file at once.
const bufferSize = 256 << 10

// Write writes changes as a layer tar. Entries come in the order of
// [tree.Walk]; a removal is a whiteout, an opaque directory is followed by its
// marker, and the second and later names of a hard-link group are links to the
// first. Headers are USTAR and become PAX only where that cannot hold a value;
// no user names, access or change times are in them. Parent directories are
// not added: see [tree.WithParents].
//
// Each file's bytes come from open and are checked against size and digest
// on the way; a difference is a *[ContentError]. A change that no layer can
// hold, such as a name that begins with ".wh.", is an *[EntryError]; wrong names are found
// before anything is opened or written. After any error what was written is not a layer. Memory does not grow with file sizes.
func Write(w io.Writer, changes []tree.Change, open tree.Opener) error {
	l, err := NewLayout(changes)
	if err != nil {
		return err
	}
	return l.WriteRange(w, open, 0, l.Size())
}

type writer struct {
	tar  *tar.Writer
	out  *bufio.Writer // behind tar
	open tree.Opener
	sum  hash.Hash
	buf  []byte
}

// newWriter returns a writer to w of files of at most largest bytes.
func newWriter(w io.Writer, open tree.Opener, largest int64) *writer {
	out := bufio.NewWriterSize(w, 64<<10)
	return &writer{tar: tar.NewWriter(out), out: out, open: open, sum: sha256.New(), buf: make([]byte, min(largest+1, bufferSize))}
}

// change writes the entries of a change: those of headers and, behind the one of a file that is no link, its content.
func (w *writer) change(c tree.Change, link string) error {
	if err := w.headers(c, link); err != nil {
		return err
	}
	if c.Node == nil || c.Node.Kind() != tree.File || link != "" || c.Node.Size() == 0 && c.Node.Content() == emptyDigest {
		return nil
	}
	return w.content(c)
}

// headers writes what is written of a change without its content.
func (w *writer) headers(c tree.Change, link string) error {
	dir, name := splitLast(c.Path)
	switch {
	case c.Node == nil:
		return w.marker(c.Path, tree.Join(dir, whiteoutPrefix+name))
	case c.Node.Kind() == tree.File && link == "":
		return w.header(c, c.Node.Size(), "")
	}
	if err := w.header(c, 0, link); err != nil {
		return err
	}
	if c.Opaque && c.Node.Kind() == tree.Dir {
		return w.marker(c.Path, tree.Join(c.Path, opaqueName))
	}
	return nil
}

// checkPath refuses what a reader would take for a whiteout.
func checkPath(path string) error {
	if err := tree.CheckPath(path); err != nil {
		return err
	}
	if strings.HasPrefix(path, whiteoutPrefix) || strings.Contains(path, "/"+whiteoutPrefix) {
		return fmt.Errorf("%w: %q at its beginning marks a removal", ErrName, whiteoutPrefix)
	}
	return nil
}

// marker writes an empty file that says something about path.
func (w *writer) marker(path, name string) error {
	return w.put(path, &tar.Header{Typeflag: tar.TypeReg, Name: name})
}

// put writes a header. FormatPAX means USTAR where it can hold everything.
func (w *writer) put(path string, h *tar.Header) error {
	h.Format = tar.FormatPAX
	if h.ModTime.IsZero() {
		h.ModTime = time.Unix(0, 0)
	}
	if err := w.tar.WriteHeader(h); err != nil {
		return &EntryError{path, err}
	}
	return nil
}

func (w *writer) header(c tree.Change, size int64, linkTo string) error {
	m := c.Node.Meta()
	h := &tar.Header{
		Name: c.Path, Mode: int64(m.Mode), Uid: int(m.UID), Gid: int(m.GID),
		Size: size, ModTime: time.Unix(0, m.Mtime),
	}
	switch c.Node.Kind() {
	case tree.Dir:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
		if c.Path == "" {
			h.Name = "./"
		}
	case tree.File:
		h.Typeflag = tar.TypeReg
		if linkTo != "" {
			h.Typeflag, h.Linkname = tar.TypeLink, linkTo
		}
	case tree.Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, c.Node.Target()
	case tree.CharDevice, tree.BlockDevice:
		h.Typeflag = tar.TypeChar
		if c.Node.Kind() == tree.BlockDevice {
			h.Typeflag = tar.TypeBlock
		}
		major, minor := c.Node.Device()
		h.Devmajor, h.Devminor = int64(major), int64(minor)
	case tree.Fifo:
		h.Typeflag = tar.TypeFifo
	}
	if len(m.Xattrs) > 0 && linkTo == "" {
		h.PAXRecords = make(map[string]string, len(m.Xattrs))
		for _, x := range m.Xattrs {
			h.PAXRecords[xattrPrefix+x.Name] = string(x.Value)
		}
	}
	return w.put(c.Path, h)
}

var emptyDigest = tree.Digest(sha256.Sum256(nil))

func sameFile(a, b *tree.Node) bool {
	return a.Content() == b.Content() && a.Size() == b.Size() && a.Meta().Equal(b.Meta())
}

// content copies a file's bytes and checks them.
func (w *writer) content(c tree.Change) error {
	bad := &ContentError{Path: c.Path, Want: c.Node.Content(), WantSize: c.Node.Size()}
	r, err := w.open(c.Node.Content())
	if err != nil {
		bad.Err = err
		return bad
	}
	defer r.Close()
	w.sum.Reset()
	for idle := 0; ; {
		n, err := r.Read(w.buf)
		if bad.GotSize += int64(n); bad.GotSize > bad.WantSize {
			return bad
		}
		if n > 0 {
			idle = 0
			w.sum.Write(w.buf[:n])
			if _, err := w.tar.Write(w.buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			break
		}
		if idle++; err == nil && idle > 100 {
			err = io.ErrNoProgress
		}
		if err != nil {
			bad.Err = err
			return bad
		}
	}
	if bad.GotSize < bad.WantSize {
		return bad
	}
	if w.sum.Sum(bad.Got[:0]); bad.Got != bad.Want {
		return bad
	}
	return nil
}

func splitLast(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}
