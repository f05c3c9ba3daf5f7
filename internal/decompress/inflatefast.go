package decompress

import "encoding/binary"

// fast decodes symbols while input and output need no looking after. It stops before what is
// not a literal or a copy.
func (z *inflater) fast() {
	in, out, lit, dist := z.in[:z.end], z.out, z.lit, z.dist
	bits, n, pos, w, limit := z.bits, z.n, z.pos, z.w, z.limit()
	for w < limit && pos+8 <= len(in) {
		bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
		pos += int((63 - n) >> 3)
		n |= 56
		e := lit[bits&litMask]
		if e&literal != 0 { // there are bits for three of them
			bits, n = bits>>(e&lenMask), n-uint(e&lenMask)
			out[w] = byte(e >> valueShift)
			w++
			if e = lit[bits&litMask]; e&literal != 0 {
				bits, n = bits>>(e&lenMask), n-uint(e&lenMask)
				out[w] = byte(e >> valueShift)
				w++
				if e = lit[bits&litMask]; e&literal != 0 {
					bits, n = bits>>(e&lenMask), n-uint(e&lenMask)
					out[w] = byte(e >> valueShift)
					w++
					continue
				}
			}
		}
		if e&special != 0 {
			if e = lit.at(bits); e&literal != 0 {
				bits, n = bits>>(e&lenMask), n-uint(e&lenMask)
				out[w] = byte(e >> valueShift)
				w++
				continue
			}
			if e&special != 0 {
				break
			}
		}
		if n < maxMatch {
			if pos+8 > len(in) {
				break
			}
			bits |= binary.LittleEndian.Uint64(in[pos:]) << (n & 63)
			pos += int((63 - n) >> 3)
			n |= 56
		}
		rest := bits >> (e & lenMask)
		d := dist[rest&distMask]
		if d&special != 0 {
			if d = dist.at(rest); d&special != 0 {
				break
			}
		}
		length, distance := int(value(e, bits)), int(value(d, rest))
		if distance > w-z.start {
			break
		}
		bits, n = rest>>(d&lenMask), n-uint(e&lenMask)-uint(d&lenMask)
		if distance >= 8 {
			to, from := out[w:w+longest], out[w-distance:w-distance+longest]
			for i := 0; i < length; i += 8 {
				binary.LittleEndian.PutUint64(to[i:i+8], binary.LittleEndian.Uint64(from[i:i+8]))
			}
		} else {
			repeat(out[w-distance:w+length], distance)
		}
		w += length
	}
	z.bits, z.n, z.pos, z.w = bits, n, pos, w
}
