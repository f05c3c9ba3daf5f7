package source

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/stagewright/stagewright/cache"
)

// A memo file is memoMagic, the length of the directory's path as a uvarint, the
// path, the records, their number (4 bytes) and the CRC-32C of all that (4
// bytes). A record is two uvarints, the number of bytes that its path shares with
// the one before and of those that follow; these bytes; the signature (inode,
// size, mtime, ctime: 8 bytes each); the digest. Numbers are little endian.
// Records stand in listing order, so that reading is one merge with a listing.
//
// The checksum is against accidents. A digest would not be worth its time:
// who can forge a record can also forge the checksum.
const (
	memoMagic   = "stagewright memo 1\n"
	recordFixed = 4*8 + len(cache.Digest{})
	trailer     = 8
	maxMemo     = 1 << 30 // bytes
)

// signature is what must not have changed for a digest to be believed.
type signature struct {
	inode              uint64
	size, mtime, ctime int64
}

func signatureOf(e *Entry) signature {
	return signature{inode: e.id.inode, size: e.Size, mtime: e.Mtime, ctime: e.id.ctime}
}

// memoReader goes through records. The zero value has none.
type memoReader struct {
	rest   []byte
	path   []byte // valid until the next call of next
	sign   signature
	digest cache.Digest
}

// next reads one record; false at the end or where the bytes make no sense.
func (r *memoReader) next() bool {
	shared, n := binary.Uvarint(r.rest)
	if n <= 0 || shared > uint64(len(r.path)) {
		return false
	}
	rest := r.rest[n:]
	more, n := binary.Uvarint(rest)
	if n <= 0 || more > maxPath || shared+more > maxPath || uint64(len(rest)-n) < more+uint64(recordFixed) {
		return false
	}
	rest = rest[n:]
	r.path = append(r.path[:shared], rest[:more]...)
	rest = rest[more:]
	number := func(at int) uint64 { return binary.LittleEndian.Uint64(rest[8*at:]) }
	r.sign = signature{inode: number(0), size: int64(number(1)), mtime: int64(number(2)), ctime: int64(number(3))}
	copy(r.digest[:], rest[32:])
	r.rest = rest[recordFixed:]
	return true
}

// memoWriter makes a memo file.
type memoWriter struct {
	out   []byte
	last  []byte
	count int
}

func newMemoWriter(root string) *memoWriter {
	out := binary.AppendUvarint([]byte(memoMagic), uint64(len(root)))
	return &memoWriter{out: append(out, root...)}
}

func (w *memoWriter) add(path []byte, s signature, d cache.Digest) {
	shared := 0
	for shared < min(len(path), len(w.last)) && path[shared] == w.last[shared] {
		shared++
	}
	w.out = binary.AppendUvarint(w.out, uint64(shared))
	w.out = binary.AppendUvarint(w.out, uint64(len(path)-shared))
	w.out = append(w.out, path[shared:]...)
	for _, n := range [...]uint64{s.inode, uint64(s.size), uint64(s.mtime), uint64(s.ctime)} {
		w.out = binary.LittleEndian.AppendUint64(w.out, n)
	}
	w.out = append(w.out, d[:]...)
	w.last = append(w.last[:0], path...)
	w.count++
}

func (w *memoWriter) finish() []byte {
	w.out = binary.LittleEndian.AppendUint32(w.out, uint32(w.count))
	return binary.LittleEndian.AppendUint32(w.out, crc32.Checksum(w.out, crc32.MakeTable(crc32.Castagnoli)))
}

// records returns the records of a memo file that was made for root, nil when it
// is not one.
func records(file []byte, root string) []byte {
	if len(file) < len(memoMagic)+trailer || string(file[:len(memoMagic)]) != memoMagic {
		return nil
	}
	sum := binary.LittleEndian.Uint32(file[len(file)-4:])
	if crc32.Checksum(file[:len(file)-4], crc32.MakeTable(crc32.Castagnoli)) != sum {
		return nil
	}
	body := file[len(memoMagic) : len(file)-trailer]
	size, n := binary.Uvarint(body)
	if n <= 0 || size != uint64(len(root)) || uint64(len(body)-n) < size || string(body[n:n+len(root)]) != root {
		return nil
	}
	return body[n+len(root):]
}

// loadMemo reads the records of root from the file at path and their number;
// none when the file is missing, damaged, too large or not this user's own.
func loadMemo(path, root string) ([]byte, int) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil || !fi.Mode().IsRegular() || fi.Size() > maxMemo || !private(fi) {
		return nil, 0
	}
	file := make([]byte, fi.Size())
	if _, err := io.ReadFull(f, file); err != nil {
		return nil, 0
	}
	body := records(file, root)
	if body == nil {
		return nil, 0
	}
	return body, int(binary.LittleEndian.Uint32(file[len(file)-trailer:]))
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
