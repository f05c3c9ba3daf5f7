// Package hashpair hashes the same bytes with SHA-256 twice for little more than it costs once: the digest of a file and that of
// the tar which has it in the middle.
//
// A block of SHA-256 is 64 bytes, and files in a tar begin at multiples of 512, so that both sums have the same blocks there. What is
// computed from a block alone is then computed once, and the rounds of the two sums, each of which waits for the one
// before, go side by side. That takes the SHA extensions of amd64; elsewhere, and where two sums have not got the same blocks,
// each is written to on its own, with the same results.
package hashpair

import (
	"encoding"
	"encoding/binary"
	"hash"
)

// A Writer writes to two sums, which must be of crypto/sha256 to be quicker than on their own. They are whole after each Write, and may
// be used and written to without the Writer meanwhile. A Writer belongs to one goroutine.
type Writer struct {
	sums   [2]hash.Hash
	states [2]state
	paired bool
}

// New returns a Writer to two different sums.
func New(a, b hash.Hash) *Writer {
	w := &Writer{sums: [2]hash.Hash{a, b}}
	w.paired = have && w.states[0].of(a) && w.states[1].of(b)
	return w
}

const (
	blockSize = 64
	// worth is from how many bytes the way through the encodings of the states is not noticed.
	worth = 1 << 10
	// most is how many bytes assembly does at once: a goroutine is not preempted in it.
	most = 64 << 10
)

// Write implements io.Writer. It returns len(p) and no error.
func (w *Writer) Write(p []byte) (int, error) {
	rest := p
	if w.paired && len(p) >= worth {
		rest = w.blocks(p)
	}
	w.each(rest)
	return len(p), nil
}

func (w *Writer) each(p []byte) {
	for _, sum := range w.sums {
		sum.Write(p)
	}
}

// blocks hashes what whole blocks there are, if they are the same in both sums, and returns the rest.
func (w *Writer) blocks(p []byte) (rest []byte) {
	a, b := &w.states[0], &w.states[1]
	if !a.load() || !b.load() || a.n%blockSize != b.n%blockSize {
		return p
	}
	if begun := a.n % blockSize; begun != 0 {
		w.each(p[:blockSize-begun])
		p = p[blockSize-begun:]
		if !a.load() || !b.load() {
			return p
		}
	}
	whole := len(p) / blockSize * blockSize
	for from := 0; from < whole; from += most {
		blocks(&a.h, &b.h, p[from:min(from+most, whole)])
	}
	a.store(whole)
	b.store(whole)
	return p[whole:]
}

// state is that of a sum, by way of its encoding, which crypto/sha256 promises to keep: a mark, the eight words, the bytes of the block
// that has begun, and how many bytes there were.
type state struct {
	sum interface {
		encoding.BinaryAppender
		encoding.BinaryUnmarshaler
	}
	encoded []byte
	h       [8]uint32
	n       uint64
}

const (
	mark        = "sha\x03"
	lengthAt    = len(mark) + 8*4 + blockSize
	encodedSize = lengthAt + 8
)

// of reports whether the state can be had.
func (s *state) of(sum hash.Hash) (ok bool) {
	s.sum, ok = sum.(interface {
		encoding.BinaryAppender
		encoding.BinaryUnmarshaler
	})
	return ok && s.load()
}

func (s *state) load() bool {
	var err error
	s.encoded, err = s.sum.AppendBinary(s.encoded[:0])
	if err != nil || len(s.encoded) != encodedSize || string(s.encoded[:len(mark)]) != mark {
		return false
	}
	for i := range s.h {
		s.h[i] = binary.BigEndian.Uint32(s.encoded[len(mark)+4*i:])
	}
	s.n = binary.BigEndian.Uint64(s.encoded[lengthAt:])
	return true
}

// store sets the sum to h after that many more bytes, which end with a block.
func (s *state) store(more int) {
	for i, word := range s.h {
		binary.BigEndian.PutUint32(s.encoded[len(mark)+4*i:], word)
	}
	binary.BigEndian.PutUint64(s.encoded[lengthAt:], s.n+uint64(more))
	_ = s.sum.UnmarshalBinary(s.encoded) // it takes what it has encoded, with other numbers in it
}
