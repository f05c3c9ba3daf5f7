package layertar

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	pathpkg "path"
	"strings"

	"github.com/stagewright/stagewright/internal/hashpair"
	"github.com/stagewright/stagewright/internal/tree"
)

// Read reads the uncompressed tar of a layer to its end and returns an index of
// it; r need not be seekable. What it makes of the tar is what container
// runtimes make of it on disk:
//
//   - Of several entries for one path the last wins; a directory repeated keeps
//     its children, and what is no directory takes those away that came before.
//   - "./" and "/" at the front of a name are dropped; ".." is refused.
//   - Whiteouts hide lower layers only, wherever in the tar they are.
//   - Names below a symbolic link are kept as they are: Apply follows the link.
//
// Refused with an *[EntryError]: owners and device numbers that Linux cannot
// have, times outside the years 1678 to 2262, sparse files, unknown types.
// What is too much is a *[LimitError]. A damaged tar gives an error that wraps
// [tar.ErrHeader] or [io.ErrUnexpectedEOF].
func Read(r io.Reader, lim Limits) (*Index, error) { return read(r, lim, false) }

// ReadArchive is [Read] for a tar that is no layer but an archive of files: a name that
// begins with ".wh." is a name like others, ".." is taken as far as it stays inside, and a
// hard link to what is not in the archive is refused. The index has no Links, and
// Apply(nil) is the tree of the archive.
func ReadArchive(r io.Reader, lim Limits) (*Index, error) { return read(r, lim, true) }

func read(r io.Reader, lim Limits, archive bool) (*Index, error) {
	lim = lim.withDefaults()
	in := newCounter(r, lim.TotalSize)
	b := &builder{lim: lim, root: &record{}, archive: archive}
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("layer tar at byte %d: %w", in.n, err)
		}
		if err := b.entry(h, tr, in); err != nil {
			return nil, err
		}
	}
	if _, err := in.drain(in); err != nil {
		return nil, fmt.Errorf("layer tar at byte %d: %w", in.n, err)
	}
	x := b.index()
	x.Size = in.n
	in.sum.Sum(x.DiffID[:0])
	return x, nil
}

// counter counts and hashes the tar's bytes and, while it is in one, those of a file. It has no Seek, which archive/tar would use.
type counter struct {
	r     io.Reader
	n     int64
	limit int64
	sum   hash.Hash // of the tar
	file  hash.Hash // of a file
	both  *hashpair.Writer
	to    io.Writer // sum, or both
	buf   []byte
}

// readSize is the most that is read at once. So much goes past the buffer of bufio, which headers are read out of.
const readSize = 64 << 10

func newCounter(r io.Reader, limit int64) *counter {
	c := &counter{r: bufio.NewReaderSize(r, readSize), limit: limit, sum: sha256.New(), file: sha256.New()}
	c.both, c.to = hashpair.New(c.sum, c.file), c.sum
	return c
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.to.Write(p[:n])
	if c.n > c.limit {
		return 0, &LimitError{What: "bytes", Limit: c.limit}
	}
	return n, err
}

// drain reads r to its end: not by io.Discard, which would read 8 KiB at a time.
func (c *counter) drain(r io.Reader) (n int64, err error) {
	if c.buf == nil {
		c.buf = make([]byte, readSize)
	}
	for err == nil {
		var m int
		m, err = r.Read(c.buf)
		n += int64(m)
	}
	if err == io.EOF {
		err = nil
	}
	return n, err
}

// errMapped says that a file is not the bytes that stand in the tar, which can only be of one that is sparse.
var errMapped = fmt.Errorf("%w: sparse file", ErrUnsupported)

// digest reads a file, whose reader reads its bytes out of the counter, and nothing else.
func (c *counter) digest(file io.Reader) (d tree.Digest, err error) {
	c.file.Reset()
	c.to = c.both
	before := c.n
	n, err := c.drain(file)
	c.to = c.sum
	if err == nil && n != c.n-before {
		err = errMapped
	}
	if err != nil {
		return d, err
	}
	c.file.Sum(d[:0])
	return d, nil
}

// entry takes one entry of the tar, whose data r reads out of in from where that is.
func (b *builder) entry(h *tar.Header, r io.Reader, in *counter) error {
	offset := in.n
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	fail := func(err error) error {
		if _, ok := errors.AsType[*LimitError](err); ok {
			return err
		}
		return &EntryError{h.Name, err}
	}
	path, err := b.cleanPath(h.Name)
	if err != nil {
		return fail(err)
	}
	if len(path) > b.lim.PathLen || len(h.Linkname) > b.lim.PathLen {
		return &LimitError{"bytes of a path", h.Name, int64(b.lim.PathLen)}
	}
	if !b.archive {
		dir, name := splitLast(path)
		if ok, skip := whiteoutsIn(dir); skip {
			return nil
		} else if !ok {
			return fail(fmt.Errorf("%w: a directory cannot begin with %q", ErrName, whiteoutPrefix))
		}
		if strings.HasPrefix(name, whiteoutPrefix) {
			return wrap(b.whiteout(dir, name), fail)
		}
	}
	meta, err := b.meta(h)
	if err != nil {
		return fail(err)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont:
		if h.Size > b.lim.FileSize {
			return &LimitError{"bytes of a file", h.Name, b.lim.FileSize}
		}
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "GNU.sparse.") {
				return fail(fmt.Errorf("%w: sparse file", ErrUnsupported))
			}
		}
		content, err := in.digest(r)
		if err != nil {
			return fail(err)
		}
		err = b.put(path, tree.NewFile(meta, content, h.Size, 0), offset)
		return wrap(err, fail)
	case tar.TypeLink:
		return wrap(b.link(path, h.Linkname), fail)
	}
	n, err := special(h, meta)
	if err != nil {
		return fail(err)
	}
	return wrap(b.put(path, n, 0), fail)
}

func wrap(err error, f func(error) error) error {
	if err == nil {
		return nil
	}
	return f(err)
}

// cleanPath makes a name relative to the root, by the rules of layers or of archives.
func (b *builder) cleanPath(name string) (string, error) {
	if b.archive && strings.Contains(name, "..") {
		name = pathpkg.Clean(name) // of an absolute name, ".." at the beginning goes
	}
	return cleanPath(name)
}

// cleanPath makes a name relative to the root.
func cleanPath(name string) (string, error) {
	var out []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
			continue
		case "..":
			return "", fmt.Errorf("%w: it has \"..\" in it", ErrName)
		}
		out = append(out, part)
	}
	path := strings.Join(out, "/")
	return path, tree.CheckPath(path)
}

// whiteoutsIn looks for names of whiteouts among directories: those of AUFS are
// to be skipped, others are not ok.
func whiteoutsIn(dir string) (ok, skip bool) {
	if !strings.Contains(dir, whiteoutPrefix) {
		return true, false
	}
	ok = true
	for part := range strings.SplitSeq(dir, "/") {
		if strings.HasPrefix(part, metaPrefix) {
			return true, true
		}
		ok = ok && !strings.HasPrefix(part, whiteoutPrefix)
	}
	return ok, false
}

// special makes the nodes that have no data.
func special(h *tar.Header, meta tree.Meta) (*tree.Node, error) {
	switch h.Typeflag {
	case tar.TypeDir:
		return tree.NewDir(meta), nil
	case tar.TypeSymlink:
		if h.Linkname == "" {
			return nil, fmt.Errorf("%w: symbolic link to nothing", ErrRange)
		}
		return tree.NewSymlink(meta, h.Linkname), nil
	case tar.TypeChar, tar.TypeBlock:
		// 12 and 20 bits: dev_t of Linux, see makedev(3) and MINORBITS in kdev_t.h.
		if h.Devmajor < 0 || h.Devmajor >= 1<<12 || h.Devminor < 0 || h.Devminor >= 1<<20 {
			return nil, fmt.Errorf("%w: device %d:%d", ErrRange, h.Devmajor, h.Devminor)
		}
		kind := tree.CharDevice
		if h.Typeflag == tar.TypeBlock {
			kind = tree.BlockDevice
		}
		return tree.NewDevice(kind, meta, uint32(h.Devmajor), uint32(h.Devminor)), nil
	case tar.TypeFifo:
		return tree.NewFifo(meta), nil
	case tar.TypeGNUSparse:
		return nil, fmt.Errorf("%w: sparse file", ErrUnsupported)
	}
	return nil, fmt.Errorf("%w: entry of type %q", ErrUnsupported, h.Typeflag)
}

// meta checks and takes what all kinds have.
func (b *builder) meta(h *tar.Header) (tree.Meta, error) {
	m, size, err := headerMeta(h, b.lim.Xattrs)
	if err != nil {
		return m, err
	}
	if b.metadata += int64(size + len(h.Name) + len(h.Linkname)); b.metadata > b.lim.Metadata {
		return tree.Meta{}, &LimitError{"bytes of names and attributes", h.Name, b.lim.Metadata}
	}
	return m, nil
}

// headerMeta returns the metadata of a header and the bytes of its extended attributes.
func headerMeta(h *tar.Header, maxXattrs int) (m tree.Meta, size int, err error) {
	// The largest number means "no id" to chown(2).
	if h.Uid < 0 || int64(h.Uid) >= math.MaxUint32 || h.Gid < 0 || int64(h.Gid) >= math.MaxUint32 {
		return m, 0, fmt.Errorf("%w: owner %d:%d", ErrRange, h.Uid, h.Gid)
	}
	sec := h.ModTime.Unix()
	if sec <= -maxSeconds || sec >= maxSeconds {
		return m, 0, fmt.Errorf("%w: time %v", ErrRange, h.ModTime.UTC())
	}
	m = tree.Meta{
		Mode: uint32(h.Mode & 0o7777), UID: uint32(h.Uid), GID: uint32(h.Gid),
		Mtime: h.ModTime.UnixNano(),
	}
	for k, v := range h.PAXRecords {
		name, ok := strings.CutPrefix(k, xattrPrefix)
		if !ok {
			continue
		}
		if name == "" || len(name) > tree.MaxName || strings.IndexByte(name, 0) >= 0 {
			return m, 0, fmt.Errorf("%w: name of attribute %.40q", ErrRange, name)
		}
		if size += len(name) + len(v); size > maxXattrs {
			return m, 0, &LimitError{"bytes of extended attributes", h.Name, int64(maxXattrs)}
		}
		m.Xattrs = append(m.Xattrs, tree.Xattr{Name: name, Value: []byte(v)})
	}
	return m, size, nil
}

// maxSeconds is where nanoseconds no longer fit in an int64.
const maxSeconds = math.MaxInt64 / int64(1_000_000_000)
