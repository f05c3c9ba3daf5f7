package conformance

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// inode is a file of an image. Paths that are hard links of each other share one.
type inode struct {
	flag    byte // of package tar
	mode    int64
	uid     int
	gid     int
	content string // of a regular file: quoted text when it is short, else size and digest
	target  string // of a symbolic link
	device  string
	xattrs  map[string]string
}

// layerEntry is what one entry of a layer says.
type layerEntry struct {
	path string
	hard string // the other path of a hard link
	node inode
}

// flattener reads images into trees. Layers that many images share are read once. It does not use the tree and tar packages of this module,
// which are what is being tested.
type flattener struct {
	mu     sync.Mutex
	layers map[v1.Hash]func() ([]layerEntry, error)
}

// tree has an inode for each clean absolute path.
type tree map[string]*inode

// flatten returns the root filesystem of an image.
func (f *flattener) flatten(img v1.Image) (tree, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	t := tree{"/": {flag: tar.TypeDir, mode: 0o755}}
	for i, l := range layers {
		entries, err := f.layer(l)
		if err == nil {
			err = t.apply(entries)
		}
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return t, nil
}

func (f *flattener) layer(l v1.Layer) ([]layerEntry, error) {
	id, err := l.DiffID()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	if f.layers == nil {
		f.layers = map[v1.Hash]func() ([]layerEntry, error){}
	}
	read := f.layers[id]
	if read == nil {
		read = sync.OnceValues(func() ([]layerEntry, error) { return readLayer(l) })
		f.layers[id] = read
	}
	f.mu.Unlock()
	return read()
}

func readLayer(l v1.Layer) ([]layerEntry, error) {
	r, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var entries []layerEntry
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return entries, nil
		}
		if err != nil {
			return nil, err
		}
		e := layerEntry{path: path.Join("/", h.Name), node: inode{flag: h.Typeflag, mode: h.Mode & 0o7777, uid: h.Uid, gid: h.Gid}}
		switch h.Typeflag {
		case tar.TypeReg:
			e.node.content, err = describe(t)
		case tar.TypeSymlink:
			e.node.target = h.Linkname
		case tar.TypeLink:
			e.hard = path.Join("/", h.Linkname)
		case tar.TypeChar, tar.TypeBlock:
			e.node.device = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
		case tar.TypeDir, tar.TypeFifo:
		default:
			err = fmt.Errorf("type %q", h.Typeflag)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		for k, v := range h.PAXRecords {
			if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
				if e.node.xattrs == nil {
					e.node.xattrs = map[string]string{}
				}
				e.node.xattrs[name] = v
			}
		}
		entries = append(entries, e)
	}
}

// describe tells content such that two different contents never have the same description.
func describe(r io.Reader) (string, error) {
	const short = 100
	hash := sha256.New()
	var head strings.Builder
	n, err := io.CopyN(io.MultiWriter(hash, &head), r, short+1)
	if errors.Is(err, io.EOF) && utf8.ValidString(head.String()) && !strings.Contains(head.String(), "\x00") {
		return strconv.Quote(head.String()), nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	rest, err := io.Copy(hash, r)
	return fmt.Sprintf("%d bytes sha256:%s", n+rest, hex.EncodeToString(hash.Sum(nil))), err
}

// apply puts a layer on the tree. Whiteouts remove what lower layers brought, whatever their place in this one.
func (t tree) apply(entries []layerEntry) error {
	for _, e := range entries {
		dir, name := path.Split(e.path)
		if name == ".wh..wh..opq" {
			t.removeBelow(path.Clean(dir))
		} else if name, ok := strings.CutPrefix(name, ".wh."); ok {
			t.remove(dir + name)
		}
	}
	for _, e := range entries {
		if strings.HasPrefix(path.Base(e.path), ".wh.") {
			continue
		}
		if err := t.put(e); err != nil {
			return err
		}
	}
	return nil
}

func (t tree) put(e layerEntry) error {
	node := &e.node
	if e.hard != "" {
		if node = t[e.hard]; node == nil {
			return fmt.Errorf("%s is a hard link to %s, which is not there", e.path, e.hard)
		}
	}
	t.parents(e.path)
	if old := t[e.path]; old != nil && node.flag != tar.TypeDir {
		t.remove(e.path)
	}
	t[e.path] = node
	return nil
}

// parents makes the directories that a layer leaves out.
func (t tree) parents(name string) {
	for dir := path.Dir(name); dir != "/" && t[dir] == nil; dir = path.Dir(dir) {
		t[dir] = &inode{flag: tar.TypeDir, mode: 0o755}
	}
}

func (t tree) remove(name string) {
	delete(t, name)
	t.removeBelow(name)
}

func (t tree) removeBelow(dir string) {
	if dir != "/" {
		dir += "/"
	}
	for name := range t {
		if name != "/" && strings.HasPrefix(name, dir) {
			delete(t, name)
		}
	}
}
