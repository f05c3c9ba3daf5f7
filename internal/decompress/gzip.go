package decompress

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

var (
	errGzipHeader   = errors.New("decompress: damaged gzip header")
	errGzipChecksum = errors.New("decompress: gzip checksum does not match")
)

// A gzipReader reads gzip members, one behind the other (RFC 1952).
type gzipReader struct {
	z    *inflater
	rd   int // z.out[rd:z.w] was not read yet
	crc  uint32
	size uint32 // modulo 2^32
	err  error  // what comes behind what was not read yet
}

func newGzipReader(r io.Reader) (*gzipReader, error) {
	g := &gzipReader{z: newInflater(r)}
	if err := g.header(); err != nil {
		if err == io.EOF { //nolint:errorlint // an io.Reader's end is io.EOF itself
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return g, nil
}

// Read implements io.Reader.
func (g *gzipReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for g.rd == g.z.w {
		if g.err != nil {
			return 0, g.err
		}
		g.more()
	}
	n := copy(p, g.z.out[g.rd:g.z.w])
	g.rd += n
	return n, nil
}

func (g *gzipReader) Close() error {
	if g.err == nil || g.rd < g.z.w {
		g.rd, g.err = g.z.w, errors.New("decompress: read of a closed reader")
	}
	return nil
}

// more decodes more when all was read.
func (g *gzipReader) more() {
	g.z.slide()
	g.rd = g.z.w
	err := g.z.more()
	made := g.z.out[g.rd:g.z.w]
	g.crc = crc32.Update(g.crc, crc32.IEEETable, made)
	g.size += uint32(len(made))
	if err == io.EOF { //nolint:errorlint // it is the inflater's own
		if err = g.trailer(); err == nil {
			err = g.header()
		}
	}
	g.err = err
}

// header begins a member. At the end of the input the error is io.EOF.
func (g *gzipReader) header() error {
	g.crc, g.size = 0, 0
	g.z.start = g.z.w
	if g.z.want(); g.z.n == 0 {
		if err := g.z.ended(); err != io.ErrUnexpectedEOF { //nolint:errorlint // it is the inflater's own
			return err
		}
		return io.EOF
	}
	h := &headerReader{z: g.z}
	var fixed [10]byte
	h.read(fixed[:])
	if h.err == nil && (fixed[0] != 0x1f || fixed[1] != 0x8b || fixed[2] != 8) {
		return errGzipHeader
	}
	flags := fixed[3]
	if flags&4 != 0 { // extra fields
		var size [2]byte
		h.read(size[:])
		for range binary.LittleEndian.Uint16(size[:]) {
			h.next()
		}
	}
	for _, flag := range [...]byte{8, 16} { // a name, a comment
		for flags&flag != 0 && h.err == nil && h.next() != 0 { //nolint:revive // it skips
		}
	}
	if flags&2 != 0 {
		sum := uint16(h.crc)
		var got [2]byte
		h.read(got[:])
		if h.err == nil && binary.LittleEndian.Uint16(got[:]) != sum {
			return errGzipHeader
		}
	}
	return h.err
}

// trailer compares what stands behind a member with what was decoded.
func (g *gzipReader) trailer() error {
	crc, err := g.z.take(32)
	if err != nil {
		return err
	}
	size, err := g.z.take(32)
	if err != nil {
		return err
	}
	if crc != g.crc || size != g.size {
		return errGzipChecksum
	}
	return nil
}

// headerReader reads the bytes of a header and sums them up.
type headerReader struct {
	z   *inflater
	crc uint32
	err error // sticky
}

func (h *headerReader) read(p []byte) {
	for i := range p {
		p[i] = h.next()
	}
}

func (h *headerReader) next() byte {
	if h.err != nil {
		return 0
	}
	v, err := h.z.take(8)
	h.err = err
	h.crc = crc32.Update(h.crc, crc32.IEEETable, []byte{byte(v)})
	return byte(v)
}
