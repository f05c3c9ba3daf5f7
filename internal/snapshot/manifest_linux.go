package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

// manifestVersion is the first line of a manifest; another one is a layer of another version of this package, and made anew.
const manifestVersion = "stagewright layer 2"

// A manifest says of which state of a layer's directory the bytes were known to be right:
//
//	stagewright layer 2
//	seal <hex SHA-256 of the directory's signature>
//	size <bytes that the directory takes on the disk: allocated blocks, each inode once>
//	boot <boot id in which it was sealed; - when everything was on the disk by then>
//	sum <hex SHA-256 of the lines above>
//
// The sum stands in for an fsync: a manifest that a crash cut short is no manifest. The access time of the file is when the layer was last
// used; see [Options.Since].
type manifest struct {
	seal [sha256.Size]byte
	size int64
	boot string
}

var errManifest = errors.New("snapshot: not a whole manifest of this version")

func (m manifest) encode() []byte {
	boot := m.boot
	if boot == "" {
		boot = "-"
	}
	b := fmt.Appendf(nil, "%s\nseal %x\nsize %d\nboot %s\n", manifestVersion, m.seal, m.size, boot)
	return fmt.Appendf(b, "sum %x\n", sha256.Sum256(b))
}

func parseManifest(b []byte) (manifest, error) {
	lines := strings.Split(string(b), "\n")
	if len(lines) != 6 {
		return manifest{}, errManifest
	}
	seal, sealErr := hex.DecodeString(strings.TrimPrefix(lines[1], "seal "))
	size, sizeErr := strconv.ParseInt(strings.TrimPrefix(lines[2], "size "), 10, 64)
	m := manifest{size: size, boot: strings.TrimPrefix(lines[3], "boot ")}
	if sealErr != nil || sizeErr != nil || size < 0 || copy(m.seal[:], seal) != len(m.seal) {
		return manifest{}, errManifest
	}
	if m.boot == "-" {
		m.boot = ""
	}
	if !bytes.Equal(m.encode(), b) { // covers the version, the sum and every other way to write the same
		return manifest{}, errManifest
	}
	return m, nil
}

func readManifest(at int, name string) (manifest, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := openat(at, name, flags|unix.O_NOATIME, 0) // to look at it is no use
	if err == unix.EPERM {                               // somebody else's
		fd, err = openat(at, name, flags, 0)
	}
	if err != nil {
		return manifest{}, err
	}
	defer unix.Close(fd)
	buf := make([]byte, 512) // a manifest has less than 300 bytes
	n, err := unix.Read(fd, buf)
	if err != nil {
		return manifest{}, err
	}
	return parseManifest(buf[:n])
}

// writeManifest writes a manifest next to its place and renames it in.
func writeManifest(at int, dir string, m manifest) error {
	name, next := dir+"/"+manifestFile, dir+"/"+manifestFile+".new"
	fd, err := openat(at, next, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return onDisk("create", next, err)
	}
	defer unix.Close(fd)
	b := m.encode()
	if n, err := unix.Write(fd, b); err != nil || n != len(b) {
		return onDisk("write", next, cmp.Or(err, error(unix.ENOSPC)))
	}
	return onDisk("rename", name, unix.Renameat(at, next, at, name))
}

// seal computes the signature of everything in the open directory r: names, modes, owners, inodes, sizes, times and device numbers, and what
// it takes on the disk. It costs about 2 µs an entry and reads no file.
func (s *Store) seal(ctx context.Context, r root) (m manifest, err error) {
	type part struct {
		path string
		sum  [sha256.Size]byte
	}
	var mu sync.Mutex
	var parts []part
	var total diskUsage
	w := walker{root: r, parallel: s.opts.Parallel, max: maxEntries, visit: func(path string, fd int, list []entry) error {
		buf := make([]byte, 0, 96*len(list))
		for i := range list {
			buf = s.host.sign(buf, &list[i])
		}
		p := part{path, sha256.Sum256(buf)}
		mu.Lock()
		defer mu.Unlock()
		parts = append(parts, p)
		for i := range list {
			total.add(&list[i])
		}
		return nil
	}}
	top, err := statAt(r.fd, "")
	if err != nil {
		return m, onDisk("lstat", "", err)
	}
	total.add(&top)
	if !s.host.owners {
		s.unlocked.Lock()
		defer s.unlocked.Unlock()
		w.unlocker = &unlocker{root: r}
		defer func() { err = errors.Join(err, w.unlocker.restore()) }()
	}
	if err := w.run(ctx); err != nil {
		return m, err
	}
	slices.SortFunc(parts, func(a, b part) int { return strings.Compare(a.path, b.path) })
	buf := s.host.sign(nil, &top)
	for _, p := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(p.path)))
		buf = append(append(buf, p.path...), p.sum[:]...)
	}
	return manifest{seal: sha256.Sum256(buf), size: total.bytes, boot: s.boot}, nil
}

// sign appends the signature of one entry. Reading a file or directory that denies its owner access changes its mode for a moment, and so its
// ctime, which is therefore left out there. So is that of a whiteout: overlayfs links all of a mount to one inode in the work directory, and the
// end of that link changes it.
func (h host) sign(b []byte, e *entry) []byte {
	need, ctime, size := uint32(0), e.ctime, e.size
	switch e.kind() {
	case unix.S_IFDIR:
		need, size = 0o500, 0
	case unix.S_IFREG:
		need = 0o400
	}
	if !h.owners && e.mode&need != need {
		ctime = 0
	}
	if e.kind() == unix.S_IFCHR && e.rdev == 0 {
		ctime = 0
	}
	b = binary.AppendUvarint(b, uint64(len(e.name)))
	b = append(b, e.name...)
	for _, v := range [...]uint64{uint64(e.mode), uint64(e.uid)<<32 | uint64(e.gid), e.ino, uint64(size), uint64(e.mtime), uint64(ctime), e.rdev} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// checkContent reads every file of a layer and compares it with its digest.
func (s *Store) checkContent(ctx context.Context, r root, changes []tree.Change) error {
	return parallelUnits(ctx, s.opts.Parallel, units(changes), func(ctx context.Context, u []tree.Change, buf []byte) error {
		for _, c := range u {
			if c.Node == nil || c.Node.Kind() != tree.File {
				continue
			}
			fd, err := s.openRegular(r, c.Path)
			if err != nil {
				return err
			}
			sum, n, err := hashFile(ctx, fd, buf, c.Node.Size())
			unix.Close(fd)
			if err != nil {
				return onDisk("read", c.Path, err)
			}
			if sum != c.Node.Content() || n != c.Node.Size() {
				return fmt.Errorf("snapshot: %q does not have its content: %s, want %s", c.Path, sum, c.Node.Content())
			}
		}
		return nil
	})
}
