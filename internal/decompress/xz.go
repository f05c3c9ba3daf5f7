package decompress

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// The container of xz is read here, and only its LZMA2 data by a module: a block's header
// says how large a dictionary its reader is to have, which may be 4 GiB, and a reader
// reserves it before it has read a byte. Governing text: "The .xz File Format", version 1.2.

const xzMagic = "\xfd7zXZ\x00"

var errXz = errors.New("xz: damaged")

// xzReader reads streams one after the other, with padding between them.
type xzReader struct {
	in     *bufio.Reader
	flags  [2]byte  // of the stream
	block  *xzBlock // nil between blocks
	blocks uint64   // of the stream, that have been read
	sizes  hash.Hash
	err    error
}

// xzBlock is a block that is being read.
type xzBlock struct {
	data             io.Reader // decompressed
	packed           *counted
	header           int64
	size             int64     // decompressed so far
	wantPacked, want int64     // as the header says, -1 when it does not
	sum              hash.Hash // nil for a stream without check
}

// counted counts the bytes that are read of a block.
type counted struct {
	r *bufio.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func newXzReader(in *bufio.Reader) (*xzReader, error) {
	x := &xzReader{in: in}
	return x, cutOff(x.stream())
}

// cutOff is an error in the middle, where the end of the input is one.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (x *xzReader) Read(p []byte) (int, error) {
	for x.err == nil && len(p) > 0 {
		if x.block == nil {
			x.err = x.next()
			continue
		}
		n, err := x.block.read(p)
		if err == io.EOF {
			err = cutOff(x.finish())
		}
		x.err = err
		if n > 0 {
			return n, nil
		}
	}
	return 0, x.err
}

// stream reads the header of a stream; its error is io.EOF where there is nothing more.
func (x *xzReader) stream() error {
	var h [12]byte
	for {
		if _, err := io.ReadFull(x.in, h[:4]); err != nil {
			return err
		}
		if binary.LittleEndian.Uint32(h[:]) != 0 { // stream padding
			break
		}
	}
	if _, err := io.ReadFull(x.in, h[4:]); err != nil {
		return cutOff(err)
	}
	if string(h[:6]) != xzMagic || crc32.ChecksumIEEE(h[6:8]) != binary.LittleEndian.Uint32(h[8:]) {
		return fmt.Errorf("%w: header of a stream", errXz)
	}
	x.flags = [2]byte(h[6:8])
	if _, _, err := x.check(); err != nil {
		return err
	}
	x.blocks, x.sizes = 0, sha256.New()
	return nil
}

// check makes the hash of a block's content, nil for none, and says how long its sum is.
func (x *xzReader) check() (sum hash.Hash, size int, err error) {
	switch x.flags {
	case [2]byte{0, 0}:
		return nil, 0, nil
	case [2]byte{0, 1}:
		return crc32.NewIEEE(), 4, nil
	case [2]byte{0, 4}:
		return crc64.New(crc64.MakeTable(crc64.ECMA)), 8, nil
	case [2]byte{0, 10}:
		return sha256.New(), 32, nil
	}
	return nil, 0, fmt.Errorf("xz: the check %x is not known", x.flags)
}

// next begins a block, or ends the stream and begins the next one.
func (x *xzReader) next() error {
	size, err := x.in.ReadByte()
	if err != nil {
		return cutOff(err)
	}
	if size != 0 {
		return x.begin(size)
	}
	if err := x.index(); err != nil {
		return cutOff(err)
	}
	return x.stream()
}

// begin reads the header of a block.
func (x *xzReader) begin(size byte) error {
	h := make([]byte, (int(size)+1)*4)
	h[0] = size
	if _, err := io.ReadFull(x.in, h[1:]); err != nil {
		return cutOff(err)
	}
	end := len(h) - 4
	if crc32.ChecksumIEEE(h[:end]) != binary.LittleEndian.Uint32(h[end:]) {
		return fmt.Errorf("%w: header of a block", errXz)
	}
	b := &xzBlock{packed: &counted{r: x.in}, header: int64(len(h)), wantPacked: -1, want: -1}
	rest := bytes.NewReader(h[2:end])
	for _, field := range []struct {
		bit byte
		to  *int64
	}{{0x40, &b.wantPacked}, {0x80, &b.want}} {
		if h[1]&field.bit == 0 {
			continue
		}
		n, err := binary.ReadUvarint(rest)
		if *field.to = int64(n); err != nil || *field.to < 0 {
			return fmt.Errorf("%w: sizes of a block", errXz)
		}
	}
	dictionary, err := dictionaryOf(h[1], h[len(h)-4-rest.Len():end])
	if err != nil {
		return err
	}
	if b.sum, _, err = x.check(); err != nil {
		return err
	}
	b.data, err = lzma.Reader2Config{DictCap: dictionary}.NewReader2(b.packed)
	x.block = b
	return err
}

// dictionaryOf reads the filters of a block, of which LZMA2 alone is known, and what
// is behind them.
func dictionaryOf(flags byte, filters []byte) (int, error) {
	if flags&0x3f != 0 || len(filters) < 3 || filters[0] != 0x21 || filters[1] != 1 || filters[2] > 40 {
		return 0, errors.New("xz: a filter that is not known; only LZMA2 is")
	}
	if len(bytes.Trim(filters[3:], "\x00")) > 0 {
		return 0, fmt.Errorf("%w: header of a block", errXz)
	}
	code := filters[2]
	size := int64(2|code&1) << (code/2 + 11)
	if code == 40 {
		size = 1<<32 - 1
	}
	if size > maxWindow {
		return 0, fmt.Errorf("xz: a dictionary of %d MiB; at most %d are taken, which xz -9 has", size>>20, maxWindow>>20)
	}
	return int(size), nil
}

func (b *xzBlock) read(p []byte) (int, error) {
	n, err := b.data.Read(p)
	if b.size += int64(n); b.sum != nil {
		b.sum.Write(p[:n])
	}
	return n, err
}

// finish compares what is behind a block with what it had.
func (x *xzReader) finish() error {
	b := x.block
	x.block = nil
	_, size, err := x.check()
	if err != nil {
		return err
	}
	padding := int(-b.packed.n & 3)
	tail := make([]byte, padding+size)
	if _, err := io.ReadFull(x.in, tail); err != nil {
		return err
	}
	var sum []byte
	if b.sum != nil {
		sum = b.sum.Sum(nil)
	}
	if size < 32 { // checksums are little-endian, and Sum is not
		for i, j := 0, len(sum)-1; i < j; i, j = i+1, j-1 {
			sum[i], sum[j] = sum[j], sum[i]
		}
	}
	if !bytes.Equal(tail[padding:], sum) || len(bytes.Trim(tail[:padding], "\x00")) > 0 ||
		b.want >= 0 && b.want != b.size || b.wantPacked >= 0 && b.wantPacked != b.packed.n {
		return fmt.Errorf("%w: checksum or size of a block", errXz)
	}
	x.blocks++
	x.record(uint64(b.header+b.packed.n)+uint64(size), uint64(b.size), x.sizes)
	return nil
}

// record hashes the entry of a block in the index.
func (x *xzReader) record(unpadded, size uint64, to hash.Hash) {
	to.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, unpadded), size))
}

// index compares the index of a stream, whose first byte has been read, and its footer
// with its blocks.
func (x *xzReader) index() error {
	in := &indexReader{r: x.in, n: 1, sum: crc32.NewIEEE()}
	in.sum.Write([]byte{0})
	count, err := binary.ReadUvarint(in)
	if err != nil {
		return err
	}
	sizes := sha256.New()
	for i := uint64(0); i < count && count == x.blocks; i++ {
		unpadded, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return err
		}
		x.record(unpadded, size, sizes)
	}
	if count != x.blocks || !bytes.Equal(sizes.Sum(nil), x.sizes.Sum(nil)) {
		return fmt.Errorf("%w: index", errXz)
	}
	for in.n%4 != 0 {
		if c, err := in.ReadByte(); err != nil || c != 0 {
			return cmp.Or(err, fmt.Errorf("%w: index", errXz))
		}
	}
	var tail [16]byte // the sum of the index, and the footer
	if _, err := io.ReadFull(x.in, tail[:]); err != nil {
		return err
	}
	footer := tail[4:]
	if in.sum.Sum32() != binary.LittleEndian.Uint32(tail[:]) || crc32.ChecksumIEEE(footer[4:10]) != binary.LittleEndian.Uint32(footer) ||
		(int64(binary.LittleEndian.Uint32(footer[4:]))+1)*4 != in.n+4 || [2]byte(footer[8:10]) != x.flags || string(footer[10:]) != "YZ" {
		return fmt.Errorf("%w: end of a stream", errXz)
	}
	return nil
}

// indexReader counts and sums the bytes of an index.
type indexReader struct {
	r   *bufio.Reader
	n   int64
	sum hash.Hash32
}

func (i *indexReader) ReadByte() (byte, error) {
	c, err := i.r.ReadByte()
	if err == nil {
		i.n++
		i.sum.Write([]byte{c})
	}
	return c, err
}
