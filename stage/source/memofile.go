package source

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/stagewright/stagewright/cache"
)

// A memo file is memoMagic, the length of the directory's path as a uvarint, the
// path, groups, the number of all records (4 bytes) and the CRC-32C of all that (4
// bytes). A group holds the files of one directory: the length of its path, the path, the number of
// its records and their length, all uvarints, and the records. A record is two uvarints, the number of bytes that its
// name shares with the one before in the group and of those that follow; these bytes; flags; the signature (inode,
// size, mtime, ctime: 8 bytes each); the digest. Numbers are little endian.
// Groups stand in listing order and records in that of their names, so that a directory is merged with its
// listing alone, and a group in which nothing changed is written again as it is.
//
// The checksum is against accidents. A digest would not be worth its time:
// who can forge a record can also forge the checksum.
const (
	memoMagic   = "stagewright memo 2\n"
	recordFixed = 1 + 4*8 + len(cache.Digest{})
	trailer     = 8
	maxMemo     = 1 << 30 // bytes
)

// flagBare marks a file that had no extended attributes.
const flagBare = 1

// signature is what must not have changed for a digest to be believed.
type signature struct {
	inode              uint64
	size, mtime, ctime int64
}

func signatureOf(e *Entry) signature {
	return signature{inode: e.id.inode, size: e.Size, mtime: e.Mtime, ctime: e.id.ctime}
}

// memoGroup is what is known of the files of one directory, without those of the directories in it.
type memoGroup struct {
	records []byte // never edited, only replaced
	count   int
}

// memoReader goes through the records of a group. The zero value has none.
type memoReader struct {
	rest   []byte
	name   []byte // valid until the next call of next
	flags  byte
	sign   signature
	digest *cache.Digest // in the records
	ended  bool
}

// next reads one record; false at the end or where the bytes make no sense.
func (r *memoReader) next() bool {
	r.ended = true
	shared, n := binary.Uvarint(r.rest)
	if n <= 0 || shared > uint64(len(r.name)) {
		return false
	}
	rest := r.rest[n:]
	more, n := binary.Uvarint(rest)
	if n <= 0 || more > maxPath || shared+more > maxPath || uint64(len(rest)-n) < more+uint64(recordFixed) {
		return false
	}
	rest = rest[n:]
	r.name = append(r.name[:shared], rest[:more]...)
	rest = rest[more:]
	r.flags, rest = rest[0], rest[1:]
	number := func(at int) uint64 { return binary.LittleEndian.Uint64(rest[8*at:]) }
	r.sign = signature{inode: number(0), size: int64(number(1)), mtime: int64(number(2)), ctime: int64(number(3))}
	r.digest = (*cache.Digest)(rest[32:])
	r.rest = rest[recordFixed-1:]
	r.ended = false
	return true
}

// find goes on to the record of name, which is not before the one that was asked for last.
func (r *memoReader) find(name string) bool {
	for {
		if r.ended {
			return false
		}
		if r.digest != nil {
			switch order := bytes.Compare(r.name, []byte(name)); {
			case order == 0:
				return true
			case order > 0:
				return false
			}
		}
		r.next()
	}
}

// groupWriter makes a group.
type groupWriter struct {
	memoGroup
	last []byte
}

func (w *groupWriter) add(name []byte, flags byte, s signature, d *cache.Digest) {
	shared := 0
	for shared < min(len(name), len(w.last)) && name[shared] == w.last[shared] {
		shared++
	}
	out := binary.AppendUvarint(w.records, uint64(shared))
	out = binary.AppendUvarint(out, uint64(len(name)-shared))
	out = append(out, name[shared:]...)
	out = append(out, flags)
	for _, n := range [...]uint64{s.inode, uint64(s.size), uint64(s.mtime), uint64(s.ctime)} {
		out = binary.LittleEndian.AppendUint64(out, n)
	}
	w.records = append(out, d[:]...)
	w.last = append(w.last[:0], name...)
	w.count++
}

// memoFile is the file of groups, by the paths of their directories.
func memoFile(root string, groups map[string]memoGroup) []byte {
	size, total := len(memoMagic)+2*len(root)+trailer, 0
	for dir, g := range groups {
		size += len(dir) + len(g.records) + 3*binary.MaxVarintLen32
		total += g.count
	}
	out := append(make([]byte, 0, size), memoMagic...)
	out = binary.AppendUvarint(out, uint64(len(root)))
	out = append(out, root...)
	for _, dir := range slices.SortedFunc(maps.Keys(groups), comparePaths[string, string]) {
		g := groups[dir]
		out = binary.AppendUvarint(out, uint64(len(dir)))
		out = append(out, dir...)
		out = binary.AppendUvarint(out, uint64(g.count))
		out = binary.AppendUvarint(out, uint64(len(g.records)))
		out = append(out, g.records...)
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(total))
	return binary.LittleEndian.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
}

// groupsOf reads a memo file that was made for root, nil when it is not one. The groups share its memory.
func groupsOf(file []byte, root string) map[string]memoGroup {
	if len(file) < len(memoMagic)+trailer || string(file[:len(memoMagic)]) != memoMagic {
		return nil
	}
	sum := binary.LittleEndian.Uint32(file[len(file)-4:])
	if crc32.Checksum(file[:len(file)-4], crc32.MakeTable(crc32.Castagnoli)) != sum {
		return nil
	}
	body := file[len(memoMagic) : len(file)-trailer]
	ok := true
	take := func(n uint64) (b []byte) {
		if ok = ok && n <= uint64(len(body)); ok {
			b, body = body[:n:n], body[n:]
		}
		return b
	}
	number := func() uint64 {
		v, n := binary.Uvarint(body)
		if n <= 0 {
			ok = false
			return 0
		}
		body = body[n:]
		return v
	}
	if string(take(number())) != root {
		return nil
	}
	groups := map[string]memoGroup{}
	for ok && len(body) > 0 {
		dir, count := take(number()), number()
		if records := take(number()); ok && count <= uint64(len(records)/recordFixed) {
			groups[string(dir)] = memoGroup{records, int(count)}
		}
	}
	if !ok {
		return nil
	}
	return groups
}

// loadMemo reads the groups of root from the file at path;
// none when the file is missing, damaged, too large or not this user's own.
func loadMemo(path, root string) map[string]memoGroup {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > maxMemo || !private(fi) {
		return nil
	}
	file := make([]byte, fi.Size())
	if _, err := io.ReadFull(f, file); err != nil {
		return nil
	}
	return groupsOf(file, root)
}

// private reports that only this user can have written the file, as far as the
// platform tells.
func private(fi fs.FileInfo) bool {
	var e Entry
	fillInfo(&e, fi)
	if !e.id.known {
		return true
	}
	return int(e.UID) == os.Geteuid() && e.Mode&0o022 == 0
}
