package decompress

import (
	"errors"
	"io"
)

var errDeflate = errors.New("decompress: damaged deflate data")

const (
	inSize  = 64 << 10
	history = 32 << 10 // the farthest that a distance reaches: RFC 1951, 2
	longest = 264      // bytes of a match, copied eight at a time
	// slack is room behind the limit of the output for what is decoded without a look at it: two literals and a match.
	slack   = 2 + longest
	outSize = history + 256<<10 + slack
)

// An inflater decodes deflate (RFC 1951) into a buffer that begins with the history: symbols
// are looked up in one table, for a literal or a length and its extra bits at once, out of 64 bits that are
// filled eight bytes at a time.
type inflater struct {
	r    io.Reader
	rerr error // of r, sticky

	in       []byte // in[pos:end] was read of r
	pos, end int
	// bits has the next n bits in its lowest ones. Those above are what in[pos:] begins with,
	// or zero, so that they may be put there again.
	bits uint64
	n    uint

	out   []byte
	w     int // out[:w] is decoded
	start int // distances reach down to here

	last   bool // it is the last block
	stored int  // bytes of a stored block that are still to come
	inside bool // a block with Huffman codes
	lit    *litTable
	dist   *distTable
	own    *tables // of the block, when it brings its own
	fixed  *tables // when a block used them
}

func newInflater(r io.Reader) *inflater {
	return &inflater{r: r, in: make([]byte, inSize), out: make([]byte, outSize)}
}

// limit is up to where the output is filled before it is taken away.
func (z *inflater) limit() int { return len(z.out) - slack }

// slide makes room in the output, all of which was taken.
func (z *inflater) slide() {
	if z.w < z.limit() {
		return
	}
	by := z.w - history
	copy(z.out, z.out[by:z.w])
	z.w = history
	z.start = max(0, z.start-by)
}

// fill reads more, so that it can be told whether something follows.
func (z *inflater) fill() bool {
	for empty := 0; z.pos == z.end && z.rerr == nil; {
		z.pos = 0
		z.end, z.rerr = z.r.Read(z.in)
		if empty++; z.end == 0 && z.rerr == nil && empty > 100 {
			z.rerr = io.ErrNoProgress
		}
	}
	return z.pos < z.end
}

// ended is the error of input that stops too early.
func (z *inflater) ended() error {
	if z.rerr == io.EOF { //nolint:errorlint // an io.Reader's end is io.EOF itself
		return io.ErrUnexpectedEOF
	}
	return z.rerr
}

// want has at least 56 bits in z.bits, or all that there are.
func (z *inflater) want() {
	for z.n < 56 && (z.pos < z.end || z.fill()) {
		z.bits |= uint64(z.in[z.pos]) << z.n
		z.pos++
		z.n += 8
	}
}

// take returns the next k bits, at most 32.
func (z *inflater) take(k uint) (uint32, error) {
	if z.n < k {
		if z.want(); z.n < k {
			return 0, z.ended()
		}
	}
	v := uint32(z.bits & (1<<k - 1))
	z.bits >>= k
	z.n -= k
	return v, nil
}

// align drops the bits up to the next byte.
func (z *inflater) align() {
	k := z.n & 7
	z.bits >>= k
	z.n -= k
}

// more decodes until the output is full or the last block ends, which is io.EOF.
func (z *inflater) more() error {
	for z.w < z.limit() {
		var err error
		switch {
		case z.stored > 0:
			err = z.copyStored()
		case z.inside:
			err = z.symbols()
		case z.last:
			z.last = false
			z.align()
			return io.EOF
		default:
			err = z.block()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// block reads the header of a block.
func (z *inflater) block() error {
	head, err := z.take(3)
	if err != nil {
		return err
	}
	z.last = head&1 != 0
	switch head >> 1 {
	case 0:
		z.align()
		both, err := z.take(32)
		if err != nil {
			return err
		}
		if uint16(both) != ^uint16(both>>16) {
			return errDeflate
		}
		z.stored = int(uint16(both))
		return nil
	case 1:
		if z.fixed == nil {
			z.fixed = fixedTables()
		}
		z.lit, z.dist = &z.fixed.lit, &z.fixed.dist
	case 2:
		if z.own == nil {
			z.own = &tables{}
		}
		if err := z.own.read(z); err != nil {
			return err
		}
		z.lit, z.dist = &z.own.lit, &z.own.dist
	default:
		return errDeflate
	}
	z.inside = true
	return nil
}

// copyStored copies a piece of a stored block: what was read already, and the rest straight from the reader.
func (z *inflater) copyStored() error {
	to := z.out[z.w:min(z.w+z.stored, z.limit())]
	k := 0
	for ; z.n > 0 && k < len(to); k++ {
		to[k] = byte(z.bits)
		z.bits >>= 8
		z.n -= 8
	}
	if z.n == 0 {
		z.bits = 0 // what was looked at ahead is about to be copied
	}
	switch {
	case k == len(to):
	case z.pos < z.end:
		c := copy(to[k:], z.in[z.pos:z.end])
		z.pos += c
		k += c
	case z.rerr == nil && len(to)-k >= inSize/4:
		var c int
		c, z.rerr = z.r.Read(to[k:])
		k += c
	case !z.fill():
		return z.ended()
	}
	z.w += k
	z.stored -= k
	return nil
}

// symbols decodes symbols of the block until the output is full or the block ends.
func (z *inflater) symbols() error {
	for z.inside && z.w < z.limit() {
		z.fast()
		if err := z.symbol(); err != nil {
			return err
		}
	}
	return nil
}

// symbol decodes one symbol, whatever it is and wherever the input ends.
func (z *inflater) symbol() error {
	if z.w >= z.limit() {
		return nil
	}
	z.want()
	e := z.lit.at(z.bits)
	if uint(e&lenMask) > z.n {
		return z.ended()
	}
	switch {
	case e&literal != 0:
		z.out[z.w] = byte(e >> valueShift)
		z.w++
		z.drop(e)
		return nil
	case e&special != 0:
		if e&endOfBlock == 0 {
			return z.damaged()
		}
		z.drop(e)
		z.inside = false
		return nil
	}
	length := value(e, z.bits)
	z.drop(e)
	e = z.dist.at(z.bits)
	if uint(e&lenMask) > z.n {
		return z.ended()
	}
	if e&special != 0 {
		return z.damaged()
	}
	distance := int(value(e, z.bits))
	z.drop(e)
	if distance > z.w-z.start {
		return errDeflate
	}
	z.copyMatch(distance, int(length))
	return nil
}

func (z *inflater) drop(e uint32) {
	z.bits >>= e & lenMask
	z.n -= uint(e & lenMask)
}

// damaged is the error of a code that means nothing: input that ends looks like one, too.
func (z *inflater) damaged() error {
	if z.n < maxCode {
		return z.ended()
	}
	return errDeflate
}

func (z *inflater) copyMatch(distance, length int) {
	repeat(z.out[z.w-distance:z.w+length], distance)
	z.w += length
}

// repeat fills p with its first n bytes, over and over.
func repeat(p []byte, n int) {
	for ; n < len(p); n *= 2 {
		copy(p[n:], p[:n])
	}
}
