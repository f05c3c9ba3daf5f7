package layertar

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/stagewright/stagewright/internal/tree"
)

// A Layout is the tar of changes before it is written: where each entry is. Parts of it can be written alone, and
// parts of two layouts that have one fingerprint are the same bytes. It is not edited once it is made and may be used by any number of goroutines.
type Layout struct {
	changes []tree.Change
	links   map[int]string // by change: the name that it is a hard link of
	ends    []int64        // by change: where its last entry ends
	total   int64
}

// tarEnd is how many zero bytes end a tar.
const tarEnd = 2 * tarBlock

const tarBlock = 512

// NewLayout lays out what [Write] writes of changes. Errors are those of Write for what no layer can hold.
func NewLayout(changes []tree.Change) (*Layout, error) {
	ordered := func(a, b tree.Change) int { return tree.ComparePaths(a.Path, b.Path) }
	if !slices.IsSortedFunc(changes, ordered) {
		changes = slices.Clone(changes)
		slices.SortFunc(changes, ordered)
	}
	l := &Layout{changes: changes, ends: make([]int64, len(changes)), links: map[int]string{}}
	for i, c := range changes {
		if i > 0 && changes[i-1].Path == c.Path {
			return nil, &EntryError{c.Path, fmt.Errorf("%w: changed twice", ErrConflict)}
		}
		if err := checkPath(c.Path); err != nil {
			return nil, &EntryError{c.Path, err}
		}
		if c.Path == "" && (c.Node == nil || c.Node.Kind() != tree.Dir) {
			return nil, &EntryError{c.Path, tree.ErrRoot}
		}
	}
	l.link()
	for i, c := range changes {
		n, err := entrySize(c, l.links[i])
		if err != nil {
			return nil, err
		}
		l.total += n
		l.ends[i] = l.total
	}
	l.total += tarEnd
	return l, nil
}

// link finds the names that are hard links of an earlier one.
func (l *Layout) link() {
	first := map[uint64]int{}
	for i, c := range l.changes {
		if c.Node == nil || c.Node.Group() == 0 || c.Node.Kind() != tree.File {
			continue
		}
		at, seen := first[c.Node.Group()]
		if !seen {
			first[c.Node.Group()] = i
		} else if sameFile(l.changes[at].Node, c.Node) {
			l.links[i] = l.changes[at].Path
		}
	}
}

// Size is the length of the tar.
func (l *Layout) Size() int64 { return l.total }

// begin is where the first entry of a change begins.
func (l *Layout) begin(i int) int64 {
	if i == 0 {
		return 0
	}
	return l.ends[i-1]
}

// within returns the changes some of whose bytes are in [from, to): those from first to before last.
func (l *Layout) within(from, to int64) (first, last int) {
	first, _ = slices.BinarySearch(l.ends, from+1)
	last = first
	for last < len(l.changes) && l.begin(last) < to {
		last++
	}
	return first, last
}

// Within returns the changes some of whose bytes are in [from, to).
func (l *Layout) Within(from, to int64) []tree.Change {
	first, last := l.within(from, to)
	return l.changes[first:last]
}

// fingerprintLabel begins what is hashed. It changes with what [Write] makes of a change.
const fingerprintLabel = "stagewright layer tar block 1\n"

// Fingerprints returns a digest for each block of size bytes of the tar, the last of which may be shorter. Blocks
// with one fingerprint have the same bytes: it covers the place in the block and all that is written of each change with bytes in it.
func (l *Layout) Fingerprints(size int64) []tree.Digest {
	out := make([]tree.Digest, 0, (l.total+size-1)/size)
	sum := sha256.New()
	var buf []byte
	at := 0 // the first change that is not before the block
	for from := int64(0); from < l.total; from += size {
		to := min(from+size, l.total)
		sum.Reset()
		buf = append(buf[:0], fingerprintLabel...)
		buf = binary.AppendVarint(buf, to-from)
		for at < len(l.changes) && l.ends[at] <= from {
			at++
		}
		for i := at; i < len(l.changes) && l.begin(i) < to; i++ {
			buf = binary.AppendVarint(buf, l.begin(i)-from)
			buf = appendChange(buf, l.changes[i], l.links[i])
			if len(buf) > 32<<10 {
				sum.Write(buf)
				buf = buf[:0]
			}
		}
		if end := l.total - tarEnd; end < to {
			buf = binary.AppendVarint(append(buf, "end"...), end-from)
		}
		sum.Write(buf)
		out = append(out, tree.Digest(sum.Sum(nil)))
	}
	return out
}

// appendChange encodes all that is written of a change.
func appendChange(b []byte, c tree.Change, link string) []byte {
	text := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	number := func(n uint64) { b = binary.AppendUvarint(b, n) }
	text(c.Path)
	if c.Node == nil {
		return append(b, 0)
	}
	b = append(b, byte(c.Node.Kind()), 0)
	if c.Opaque {
		b[len(b)-1] = 1
	}
	m := c.Node.Meta()
	number(uint64(m.Mode))
	number(uint64(m.UID))
	number(uint64(m.GID))
	b = binary.AppendVarint(b, m.Mtime)
	number(uint64(len(m.Xattrs)))
	for _, x := range m.Xattrs {
		text(x.Name)
		number(uint64(len(x.Value)))
		b = append(b, x.Value...)
	}
	text(link)
	text(c.Node.Target())
	major, minor := c.Node.Device()
	number(uint64(major))
	number(uint64(minor))
	number(uint64(c.Node.Size()))
	content := c.Node.Content()
	return append(b, content[:]...)
}

// entrySize is how many bytes [Write] writes of a change.
func entrySize(c tree.Change, link string) (int64, error) {
	var content int64
	if c.Node != nil && c.Node.Kind() == tree.File && link == "" {
		content = (c.Node.Size() + tarBlock - 1) / tarBlock * tarBlock
	}
	if plainHeader(c, link) {
		n := int64(tarBlock)
		if c.Opaque && c.Node != nil && c.Node.Kind() == tree.Dir {
			n += tarBlock
		}
		return n + content, nil
	}
	// What else can be in a header is too much to be told here: it is written.
	var n length
	w := &writer{tar: tar.NewWriter(&n)}
	err := w.headers(c, link)
	return int64(n) + content, err
}

// plainHeader reports whether each header of a change is one block for certain: whether USTAR can hold it without splitting its name.
func plainHeader(c tree.Change, link string) bool {
	const most = 100 - len("/") - len(opaqueName) - len("/")
	if len(c.Path) > most || len(link) > most || !ascii(c.Path) || !ascii(link) {
		return false
	}
	if c.Node == nil {
		return true
	}
	m, target := c.Node.Meta(), c.Node.Target()
	major, minor := c.Node.Device()
	return len(target) <= most && ascii(target) && len(m.Xattrs) == 0 && m.UID < 1<<21 && m.GID < 1<<21 && c.Node.Size() < 1<<33 &&
		m.Mtime >= 0 && m.Mtime%1e9 == 0 && m.Mtime/1e9 < 1<<33 && major < 1<<21 && minor < 1<<21
}

// ascii reports whether s has nothing but ASCII, without NUL.
func ascii(s string) bool {
	for i := range len(s) {
		if s[i] == 0 || s[i] >= 0x80 {
			return false
		}
	}
	return true
}

type length int64

func (n *length) Write(p []byte) (int, error) {
	*n += length(len(p))
	return len(p), nil
}

// errLayout says that an entry is not where the layout has it, which no input can bring about.
var errLayout = errors.New("layertar: an entry has another size than its layout")

// WriteRange writes the bytes of the tar from from to before to. Files come from open and are checked as by [Write]; one that
// is only partly in the range is read whole.
func (l *Layout) WriteRange(w io.Writer, open tree.Opener, from, to int64) error {
	if from < 0 || to > l.total || from > to {
		return fmt.Errorf("layertar: range from %d to %d of %d bytes", from, to, l.total)
	}
	first, last := l.within(from, to)
	var largest int64
	for _, c := range l.changes[first:last] {
		if c.Node != nil {
			largest = max(largest, c.Node.Size())
		}
	}
	cut := &window{w: w, at: l.begin(first), from: from, to: to}
	out := newWriter(cut, open, largest)
	for i := first; i < last; i++ {
		if err := out.change(l.changes[i], l.links[i]); err != nil {
			return err
		}
		if err := out.tar.Flush(); err != nil {
			return err
		}
		if int64(out.out.Buffered())+cut.at != l.ends[i] {
			return errLayout
		}
	}
	if to > l.total-tarEnd {
		if err := out.tar.Close(); err != nil {
			return err
		}
	}
	return out.out.Flush()
}

// window passes on what is in a range.
type window struct {
	w            io.Writer
	at, from, to int64
}

func (x *window) Write(p []byte) (int, error) {
	begin, end := max(x.from-x.at, 0), min(x.to-x.at, int64(len(p)))
	x.at += int64(len(p))
	if begin < end {
		if _, err := x.w.Write(p[begin:end]); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
