package compress

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
)

// giver gives blocks of an earlier output.
func giver(packed []byte, b Block) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := w.Write(packed[b.Offset : b.Offset+b.Size])
		return err
	}
}

// repack writes in, taking each block that old has, too, from the output of old.
func repack(t *testing.T, in, old, packed []byte, blocks []Block, o Options) (out []byte, tee [sha256.Size]byte, copied int) {
	t.Helper()
	var buf bytes.Buffer
	sum := sha256.New()
	w := NewWriter(&buf, o)
	w.Tee(sum)
	size := o.Format.BlockSize()
	cut := func(b []byte, i int) []byte { return b[min(i*size, len(b)):min((i+1)*size, len(b))] }
	for i := 0; i*size < len(in); i++ {
		block := cut(in, i)
		if i < len(blocks) && bytes.Equal(block, cut(old, i)) {
			copied++
			if err := w.Copy(len(block), blocks[i], giver(packed, blocks[i])); err != nil {
				t.Fatal(err)
			}
		} else if _, err := w.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Total() != int64(len(in)) {
		t.Errorf("%d bytes of input, not %d", w.Total(), len(in))
	}
	return buf.Bytes(), [sha256.Size]byte(sum.Sum(nil)), copied
}

// TestCopyIsAsWritten edits inputs at random: the output with blocks taken over is that without.
func TestCopyIsAsWritten(t *testing.T) {
	for _, o := range []Options{{}, {Level: 1, Parallel: 1}, {Format: Zstd}} {
		size := o.Format.BlockSize()
		random := rand.New(rand.NewPCG(7, uint64(o.Format)))
		old := sample(3*size + size/3)
		w, packed := pack(t, old, o, whole)
		total := 0
		for round := range 12 {
			in := bytes.Clone(old)
			for range round % 4 {
				in[random.IntN(len(in))] ^= 0x55
			}
			switch random.IntN(4) {
			case 0:
				in = append(in, sample(random.IntN(size))...)
			case 1:
				in = in[:random.IntN(len(in))+1]
			}
			again, want := pack(t, in, o, whole)
			got, tee, copied := repack(t, in, old, packed, w.Sums(), o)
			if !bytes.Equal(got, want) {
				t.Fatalf("%v, round %d: with %d blocks copied the output differs", o, round, copied)
			}
			if tee != sha256.Sum256(in) {
				t.Errorf("%v, round %d: the tee got other bytes", o, round)
			}
			for i, b := range again.Sums() {
				if b.Sum != sha256.Sum256(want[b.Offset:b.Offset+b.Size]) || b.Offset != again.Blocks()[i] {
					t.Errorf("block %d: %+v", i, b)
				}
			}
			total += copied
		}
		if total == 0 {
			t.Error("nothing was copied")
		}
	}
}

func TestCopyRefusesDamage(t *testing.T) {
	size := Gzip.BlockSize()
	w, packed := pack(t, sample(2*size), Options{}, whole)
	b := w.Sums()[0]
	lost := errors.New("lost")
	for name, c := range map[string]struct {
		block Block
		give  func(io.Writer) error
		want  error
	}{
		"flipped": {b, func(w io.Writer) error {
			bad := bytes.Clone(packed[b.Offset : b.Offset+b.Size])
			bad[len(bad)/2] ^= 1
			_, err := w.Write(bad)
			return err
		}, ErrDamaged},
		"short":     {b, giver(packed, Block{Offset: b.Offset, Size: b.Size - 1}), ErrDamaged},
		"other":     {b, giver(packed, w.Sums()[1]), ErrDamaged},
		"not there": {b, func(io.Writer) error { return lost }, lost},
	} {
		to := NewWriter(io.Discard, Options{})
		err := to.Copy(size, c.block, c.give)
		if cerr := to.Close(); err == nil {
			err = cerr
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCopyWhereNoBlockBegins(t *testing.T) {
	in := sample(100)
	w, packed := pack(t, in, Options{}, whole)
	b := w.Sums()[0]
	for name, do := range map[string]func(*Writer) error{
		"amid a block": func(w *Writer) error {
			_, _ = w.Write(in)
			return w.Copy(len(in), b, giver(packed, b))
		},
		"copy behind the last block": func(w *Writer) error {
			_ = w.Copy(len(in), b, giver(packed, b))
			return w.Copy(len(in), b, giver(packed, b))
		},
		"write behind the last block": func(w *Writer) error {
			_ = w.Copy(len(in), b, giver(packed, b))
			_, _ = w.Write(in)
			return w.Close()
		},
		"nothing":  func(w *Writer) error { return w.Copy(0, b, giver(packed, b)) },
		"too much": func(w *Writer) error { return w.Copy(Gzip.BlockSize()+1, b, giver(packed, b)) },
	} {
		to := NewWriter(io.Discard, Options{})
		if err := do(to); !errors.Is(err, errAlign) {
			t.Errorf("%s: %v", name, err)
		}
		to.Close()
	}
	if err := NewWriter(io.Discard, Options{Format: None}).Copy(len(in), b, giver(packed, b)); !errors.Is(err, errAlign) {
		t.Errorf("without blocks: %v", err)
	}
}
