package layertar

import (
	"archive/tar"
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
)

// ExtractOptions say how [Extract] unpacks.
type ExtractOptions struct {
	// Dir is the directory to unpack into, which must exist.
	Dir string
	// Chroot makes Dir the root for links that lead there, and holds names with ".."
	// inside of it, as Docker does. Without it links are those of the whole tree, and
	// such names are refused.
	Chroot bool
	// Adjust returns the metadata that an entry gets; nil keeps that of the archive.
	// Directories that no entry describes have what Parent says.
	Adjust func(tree.Kind, tree.Meta) tree.Meta
	Parent tree.Meta
	// Content keeps the bytes of a file until they are needed and returns their digest
	// and size.
	Content func(io.Reader) (tree.Digest, int64, error)
	Limits  Limits
}

// Extract unpacks a tar archive as files, as ADD in a Dockerfile does: names that look
// like whiteouts are ordinary, the last of several entries for one path wins, a
// directory joins one that is there, everything else replaces what is there, and links
// in the directories of a name are followed. A symbolic link can point anywhere; a hard link
// is of a file below Dir.
//
// Errors are those of [Read]. After one the editor has what came before it.
func Extract(e *tree.Editor, r io.Reader, o ExtractOptions) error {
	lim := o.Limits.withDefaults()
	x := &extractor{ExtractOptions: o, lim: lim, e: e, groups: map[uint64]*linked{}}
	in := &bounded{r: bufio.NewReaderSize(r, 64<<10), limit: lim.TotalSize}
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return x.finish()
		}
		if err != nil {
			return fmt.Errorf("archive at byte %d: %w", in.n, err)
		}
		if x.entries++; x.entries > lim.Entries {
			return &LimitError{"entries", h.Name, int64(lim.Entries)}
		}
		if err := x.entry(h, tr); err != nil {
			if _, ok := errors.AsType[*LimitError](err); ok {
				return err
			}
			return &EntryError{h.Name, err}
		}
	}
}

// maxHead bounds what is read of an archive for its first entry. A header takes a few
// kilobytes at most, but there can be any number of records before it, and a few bytes
// can be decompressed to more than anyone waits for.
const maxHead = 8 << 20

// IsArchive reports whether an uncompressed stream begins with an entry of a tar archive.
// It reads no more than the beginning.
func IsArchive(r io.Reader) bool {
	_, err := tar.NewReader(&bounded{r: r, limit: maxHead}).Next()
	return err == nil
}

// bounded ends with an error when more than limit bytes are read.
type bounded struct {
	r        io.Reader
	n, limit int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.n += int64(n); b.n > b.limit {
		return 0, &LimitError{What: "bytes", Limit: b.limit}
	}
	return n, err
}

type extractor struct {
	ExtractOptions
	lim      Limits
	e        *tree.Editor
	entries  int
	metadata int64
	bytes    int64 // of files: a sparse one has more than the archive
	groups   map[uint64]*linked
}

// entry unpacks one entry.
func (x *extractor) entry(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if len(h.Name) > x.lim.PathLen || len(h.Linkname) > x.lim.PathLen {
		return &LimitError{"bytes of a path", h.Name, int64(x.lim.PathLen)}
	}
	name, err := x.name(h.Name)
	if err != nil {
		return err
	}
	if name == "" {
		return x.top(h)
	}
	meta, size, err := headerMeta(h, x.lim.Xattrs)
	if err != nil {
		return err
	}
	if x.metadata += int64(size + len(name) + len(h.Linkname)); x.metadata > x.lim.Metadata {
		return &LimitError{"bytes of names and attributes", h.Name, x.lim.Metadata}
	}
	dir, last := splitLast(name)
	if dir, err = x.parent(dir); err != nil {
		return err
	}
	at := tree.Join(dir, last)
	there := x.e.Lookup(at)
	if h.Typeflag == tar.TypeDir && there.IsDir() {
		meta = x.adjust(tree.Dir, meta)
		if meta.Xattrs, err = x.attributes(h.Name, there.Meta().Xattrs, meta.Xattrs); err != nil {
			return err
		}
		return x.e.SetMeta(at, meta)
	}
	if there != nil {
		if err := x.e.Remove(at); err != nil {
			return err
		}
	}
	n, err := x.node(h, meta, r)
	if err != nil || n == nil {
		return cmp.Or(err, x.link(at, h, meta))
	}
	return x.e.Put(at, n)
}

// name makes the name of an entry, or the target of a hard link, relative to Dir.
func (x *extractor) name(name string) (string, error) {
	if !x.Chroot {
		return cleanPath(name)
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	return name, tree.CheckPath(name)
}

// top is an entry for Dir itself. Docker leaves "." alone and takes the metadata of "/".
func (x *extractor) top(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return fmt.Errorf("%w: the directory to unpack into can only be a directory", ErrConflict)
	}
	if !x.Chroot || path.Clean(h.Name) == "." {
		return nil
	}
	meta, _, err := headerMeta(h, x.lim.Xattrs)
	if err != nil {
		return err
	}
	return x.e.SetMeta(x.Dir, x.adjust(tree.Dir, meta))
}

func (x *extractor) adjust(k tree.Kind, m tree.Meta) tree.Meta {
	if x.Adjust == nil {
		return m
	}
	return x.Adjust(k, m)
}

// resolve follows the links of a path of the tree.
func (x *extractor) resolve(p string, last bool) (string, *tree.Node, error) {
	if !x.Chroot || x.Dir == "" {
		return x.e.Resolve(p, last)
	}
	at, n, err := tree.Resolve(x.e.Lookup(x.Dir), strings.TrimPrefix(p[len(x.Dir):], "/"), last)
	if at == "" {
		return x.Dir, n, err
	}
	return tree.Join(x.Dir, at), n, err
}

// maxLinks is how many links the directories of one name may lead over.
const maxLinks = 255

// parent returns where the directory of an entry is, and makes what is missing of it.
func (x *extractor) parent(dir string) (string, error) {
	at, n, links := x.Dir, x.e.Lookup(x.Dir), 0
	for rest := dir; rest != ""; {
		name, below, _ := strings.Cut(rest, "/")
		child := n.Child(name)
		if child == nil {
			x.entries += 1 + strings.Count(rest, "/")
			if x.entries > x.lim.Entries {
				return "", &LimitError{"entries", dir, int64(x.lim.Entries)}
			}
			at = tree.Join(at, rest)
			return at, x.e.MkdirAll(at, x.Parent)
		}
		at, n = tree.Join(at, name), child
		if child.Kind() == tree.Symlink {
			link := at
			var err error
			if links++; links > maxLinks {
				err = tree.ErrLoop
			} else if at, n, err = x.resolve(link, true); err == nil && n == nil {
				err = fs.ErrNotExist
			}
			if err != nil {
				return "", fmt.Errorf("the link /%s: %w", link, err)
			}
		}
		if !n.IsDir() {
			return "", fmt.Errorf("/%s: %w", at, tree.ErrNotDir)
		}
		rest = below
	}
	return at, nil
}

// node makes what an entry describes; nil for a hard link.
func (x *extractor) node(h *tar.Header, meta tree.Meta, r io.Reader) (*tree.Node, error) {
	switch h.Typeflag {
	case tar.TypeLink:
		return nil, nil
	case tar.TypeReg:
		if h.Size > x.lim.FileSize {
			return nil, &LimitError{"bytes of a file", h.Name, x.lim.FileSize}
		}
		if x.bytes += h.Size; x.bytes > x.lim.TotalSize {
			return nil, &LimitError{"bytes of files", h.Name, x.lim.TotalSize}
		}
		content, size, err := x.Content(r)
		if err != nil {
			return nil, err
		}
		return tree.NewFile(x.adjust(tree.File, meta), content, size, 0), nil
	}
	n, err := special(h, meta)
	if err != nil {
		return nil, err
	}
	return n.WithMeta(x.adjust(n.Kind(), meta)), nil
}

// link makes a hard link, whose header says what the file has from now on.
func (x *extractor) link(at string, h *tar.Header, meta tree.Meta) error {
	target, err := x.name(h.Linkname)
	if err != nil {
		return fmt.Errorf("target of hard link: %w", err)
	}
	from, n, err := x.resolve(tree.Join(x.Dir, target), false)
	if err == nil && n == nil {
		err = fs.ErrNotExist
	}
	if err != nil {
		return fmt.Errorf("hard link to %.200q: %w", h.Linkname, err)
	}
	if n.IsDir() {
		return fmt.Errorf("%w: hard link to directory %.200q", ErrUnsupported, h.Linkname)
	}
	if n.Kind() != tree.File {
		return x.e.Put(at, n)
	}
	set := x.groups[n.Group()]
	if n.Group() == 0 || set == nil {
		set = &linked{names: []string{from}}
		n = n.WithGroup(x.e.NewGroup())
		x.groups[n.Group()] = set
		if err := x.e.Put(from, n); err != nil {
			return err
		}
	}
	set.names = append(set.names, at)
	set.meta = x.adjust(tree.File, meta)
	if set.meta.Xattrs, err = x.attributes(h.Name, n.Meta().Xattrs, set.meta.Xattrs); err != nil {
		return err
	}
	return x.e.Put(at, n)
}

// attributes joins the attributes that are there with those of an entry, which count
// where both have one. Together they have the limit of one entry.
func (x *extractor) attributes(name string, there, more []tree.Xattr) ([]tree.Xattr, error) {
	all := slices.Clone(there)
	for _, m := range more {
		if i := slices.IndexFunc(all, func(t tree.Xattr) bool { return t.Name == m.Name }); i >= 0 {
			all[i] = m
		} else {
			all = append(all, m)
		}
	}
	size := 0
	for _, a := range all {
		size += len(a.Name) + len(a.Value)
	}
	if size > x.lim.Xattrs {
		return nil, &LimitError{"bytes of extended attributes", name, int64(x.lim.Xattrs)}
	}
	return all, nil
}

// linked are the names of one file that hard links made, with what the header of the
// last link says.
type linked struct {
	names []string
	meta  tree.Meta
}

// finish gives all names of a file the same metadata.
func (x *extractor) finish() error {
	for group, set := range x.groups {
		for _, name := range set.names {
			n := x.e.Lookup(name)
			if n == nil || n.Group() != group || n.WithMeta(set.meta).Meta().Equal(n.Meta()) {
				continue
			}
			if err := x.e.Put(name, n.WithMeta(set.meta)); err != nil {
				return err
			}
		}
	}
	return nil
}
