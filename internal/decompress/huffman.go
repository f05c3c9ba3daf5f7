package decompress

import "math/bits"

// An entry of a table is a number:
//
//	bits 0-5    how many bits the symbol takes, its extra bits included
//	bits 8-13   how many bits its code takes; of a link, how many bits index the table behind it
//	bits 16-28  the literal, or the length without its extra bits; of a link, where the table is
//	bits 16-30  the distance without its extra bits
//	bits 29-31  what it is. A distance has none of these marks.
const (
	lenMask    = 63
	codeShift  = 8
	valueShift = 16
	endOfBlock = 1 << 29
	literal    = 1 << 30
	special    = 1 << 31 // the end of the block, a link, or a code that nothing has
)

const (
	litBits  = 11
	litMask  = 1<<litBits - 1
	distBits = 8
	distMask = 1<<distBits - 1
	headBits = 7
	headMask = 1<<headBits - 1

	litCodes  = 286
	distCodes = 30
	headCodes = 19

	maxCode  = 15                 // bits of a code
	maxMatch = 2*maxCode + 5 + 13 // bits of a length and a distance
)

// The sizes are what the worst codes of 288 and 32 symbols need, as zlib's examples/enough.c finds them.
type (
	litTable  [2342]uint32
	distTable [402]uint32
)

// tables are those of one block.
type tables struct {
	lit  litTable
	dist distTable
	head [1 << headBits]uint32 // of the code of the lengths
	lens [litCodes + distCodes]uint8
}

// at looks up the symbol that bits begin with.
func (t *litTable) at(bits uint64) uint32 { return follow(t[:], t[bits&litMask], bits, litBits) }

func (t *distTable) at(bits uint64) uint32 { return follow(t[:], t[bits&distMask], bits, distBits) }

// follow goes to the second table when e is a link.
func follow(t []uint32, e uint32, bits uint64, root uint) uint32 {
	width := e >> codeShift & lenMask
	if e&special == 0 || width == 0 {
		return e
	}
	return t[e>>valueShift&0x1fff+uint32(bits>>root)&(1<<width-1)]
}

// value is that of a length or a distance, which bits begin with.
func value(e uint32, bits uint64) uint32 {
	return e>>valueShift + uint32(bits&(1<<(e&lenMask)-1)>>(e>>codeShift&lenMask))
}

// read reads the codes of a block: RFC 1951, 3.2.7.
func (t *tables) read(z *inflater) error {
	head, err := z.take(14)
	if err != nil {
		return err
	}
	lits, dists, heads := int(head&31)+257, int(head>>5&31)+1, int(head>>10)+4
	if lits > litCodes || dists > distCodes {
		return errDeflate
	}
	var lens [headCodes]uint8
	order := [headCodes]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	for _, i := range order[:heads] {
		v, err := z.take(3)
		if err != nil {
			return err
		}
		lens[i] = uint8(v)
	}
	if !build(t.head[:], headBits, lens[:], headEntry) {
		return errDeflate
	}
	if err := t.readLengths(z, t.lens[:lits+dists]); err != nil {
		return err
	}
	if !build(t.lit[:], litBits, t.lens[:lits], litEntry) || !build(t.dist[:], distBits, t.lens[lits:lits+dists], distEntry) {
		return errDeflate
	}
	return nil
}

// readLengths reads the lengths of the codes of all literals, lengths and distances.
func (t *tables) readLengths(z *inflater, lens []uint8) error {
	for i := 0; i < len(lens); {
		z.want()
		e := t.head[z.bits&headMask]
		if uint(e&lenMask) > z.n {
			return z.ended()
		}
		if e&special != 0 {
			return z.damaged()
		}
		sym := uint8(e >> valueShift)
		z.drop(e)
		if sym < 16 {
			lens[i] = sym
			i++
			continue
		}
		again, least, extra := uint8(0), 3, uint(3)
		switch sym {
		case 16:
			if i == 0 {
				return errDeflate
			}
			again, extra = lens[i-1], 2
		case 18:
			least, extra = 11, 7
		}
		k, err := z.take(extra)
		if err != nil {
			return err
		}
		end := i + least + int(k)
		if end > len(lens) {
			return errDeflate
		}
		for ; i < end; i++ {
			lens[i] = again
		}
	}
	return nil
}

// build makes the table of a canonical code, given the length of each symbol's code: RFC 1951, 3.2.2. The code must be
// complete, or have one symbol of one bit, or none.
func build(t []uint32, root int, lens []uint8, entry func(sym int, n uint32) uint32) bool {
	var count, next [maxCode + 2]int
	for _, n := range lens {
		count[n]++
	}
	count[0] = 0
	code, longest := 0, 0
	for n := 1; n <= maxCode; n++ {
		code <<= 1
		next[n] = code
		if code += count[n]; count[n] > 0 {
			longest = n
		}
		if code > 1<<n {
			return false
		}
	}
	if code != 1<<maxCode {
		if longest > 1 {
			return false
		}
		for i := range t[:1<<root] {
			t[i] = special
		}
	}
	free := 1 << root
	for n := 1; n <= longest; n++ {
		if count[n] == 0 {
			continue
		}
		for sym, length := range lens {
			if int(length) != n {
				continue
			}
			at := int(bits.Reverse16(uint16(next[n])) >> (16 - n))
			next[n]++
			e := entry(sym, uint32(n))
			if n <= root {
				for ; at < 1<<root; at += 1 << n {
					t[at] = e
				}
			} else if !link(t, root, n, at, longest, &free, &count, e) {
				return false
			}
			count[n]--
		}
	}
	return true
}

// link puts the entry of a code that is longer than root bits into a second table, which the first code with that
// beginning makes: codes come in order, so it fills the tables one after the other.
func link(t []uint32, root, n, at, longest int, free *int, count *[maxCode + 2]int, e uint32) bool {
	first := at & (1<<root - 1)
	l := t[first]
	if at>>root == 0 { // the first code with this beginning has zeros behind it
		width := n - root
		for left := 1 << width; width+root < longest; left <<= 1 {
			if left -= count[width+root]; left <= 0 {
				break
			}
			width++
		}
		if *free+1<<width > len(t) {
			return false
		}
		l = special | uint32(*free)<<valueShift | uint32(width)<<codeShift
		t[first] = l
		*free += 1 << width
	}
	from, width := int(l>>valueShift&0x1fff), int(l>>codeShift&lenMask)
	for i := at >> root; i < 1<<width; i += 1 << (n - root) {
		t[from+i] = e
	}
	return true
}

func headEntry(sym int, n uint32) uint32 { return uint32(sym)<<valueShift | n }

// litEntry is the entry of a literal, the end of the block, or a length: RFC 1951, 3.2.5.
func litEntry(sym int, n uint32) uint32 {
	switch {
	case sym < 256:
		return literal | uint32(sym)<<valueShift | n
	case sym == 256:
		return special | endOfBlock | n
	case sym < 265:
		return uint32(sym-257+3)<<valueShift | n<<codeShift | n
	case sym < 285:
		extra := uint32(sym-261) >> 2
		return ((4+uint32(sym-261)&3)<<extra+3)<<valueShift | n<<codeShift | (n + extra)
	case sym == 285:
		return 258<<valueShift | n<<codeShift | n
	}
	return special
}

// distEntry is the entry of a distance.
func distEntry(sym int, n uint32) uint32 {
	switch {
	case sym < 4:
		return uint32(sym+1)<<valueShift | n<<codeShift | n
	case sym < distCodes:
		extra := uint32(sym-2) >> 1
		return ((2+uint32(sym)&1)<<extra+1)<<valueShift | n<<codeShift | (n + extra)
	}
	return special
}

// fixedTables makes the tables of blocks that bring none: RFC 1951, 3.2.6.
func fixedTables() *tables {
	t := &tables{}
	lens := make([]uint8, 288)
	for i := range lens {
		switch {
		case i < 144:
			lens[i] = 8
		case i < 256:
			lens[i] = 9
		case i < 280:
			lens[i] = 7
		default:
			lens[i] = 8
		}
	}
	build(t.lit[:], litBits, lens, litEntry)
	clear(lens)
	for i := range lens[:32] {
		lens[i] = 5
	}
	build(t.dist[:], distBits, lens[:32], distEntry)
	return t
}
