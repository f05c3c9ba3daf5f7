package compress

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// TestOffersAreAsWritten offers blocks of an earlier output, right ones and wrong ones: the output is that without.
func TestOffersAreAsWritten(t *testing.T) {
	for _, o := range []Options{{Level: 1}, {Format: Zstd}} {
		size := o.Format.BlockSize()
		old := sample(2*size + size/3)
		w, packed := pack(t, old, o, whole)
		blocks := w.Sums()
		for name, c := range map[string]struct {
			in []byte
			of func(i int) int // the block that is offered for block i
		}{
			"the same":          {old, func(i int) int { return i }},
			"another":           {old, func(i int) int { return (i + 1) % 3 }},
			"changed in one":    {append(bytes.Clone(old[:size]), append([]byte{1}, old[size+1:]...)...), func(i int) int { return i }},
			"a longer one":      {old[:2*size+size/4], func(i int) int { return i }},
			"one that is there": {old[:size/2], func(int) int { return 0 }},
		} {
			_, want := pack(t, c.in, o, whole)
			var buf bytes.Buffer
			again := NewWriter(&buf, o)
			again.Offers(func(i int, _ uint32) (Offer, bool) {
				b := blocks[c.of(i)]
				return Offer{Block: b, Give: giver(packed, b)}, true
			})
			_, err := again.Write(c.in)
			if err := errors.Join(err, again.Close()); err != nil {
				t.Fatalf("%v, %s: %v", o, name, err)
			}
			if !bytes.Equal(buf.Bytes(), want) {
				t.Errorf("%v, %s: the output differs", o, name)
			}
		}
		var got bytes.Buffer
		again := NewWriter(&got, o)
		asked := 0
		again.Offers(func(i int, crc uint32) (Offer, bool) {
			if asked++; crc != blocks[i].CRC {
				t.Errorf("block %d: CRC-32 %08x, not %08x", i, crc, blocks[i].CRC)
			}
			return Offer{Block: blocks[i], Give: giver(packed, blocks[i]), Same: true}, true
		})
		_, err := again.Write(old)
		if err := errors.Join(err, again.Close()); err != nil || asked != 3 || !bytes.Equal(got.Bytes(), packed) {
			t.Errorf("%v, the same for certain: %v, %d asked", o, err, asked)
		}
	}
}

// TestOfferDamaged: what is the same for certain and is not there ends the stream; any other is compressed instead.
func TestOfferDamaged(t *testing.T) {
	in := sample(100_000)
	w, packed := pack(t, in, Options{}, whole)
	for _, same := range []bool{true, false} {
		var got bytes.Buffer
		again := NewWriter(&got, Options{})
		again.Offers(func(int, uint32) (Offer, bool) {
			return Offer{Block: w.Sums()[0], Same: same, Give: func(to io.Writer) error {
				_, err := to.Write(packed[1:])
				return err
			}}, true
		})
		_, err := again.Write(in)
		err = errors.Join(err, again.Close())
		if same != errors.Is(err, ErrDamaged) || !same && !bytes.Equal(got.Bytes(), packed) {
			t.Errorf("same %v: %v", same, err)
		}
	}
}
