package hashpair

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"math/rand/v2"
	"testing"
)

// Whatever was written before, however the bytes are cut, and whichever sums they are: each is as on its own.
func TestSums(t *testing.T) {
	t.Logf("paired: %v", have)
	random := rand.New(rand.NewPCG(1, 2))
	data := make([]byte, 3*most+1000)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	sums := []func() hash.Hash{sha256.New, sha256.New, sha256.New224, sha512.New}
	for n := range 2000 {
		makeA, makeB := sums[0], sums[0]
		if n%8 == 7 {
			makeA, makeB = sums[random.IntN(len(sums))], sums[random.IntN(len(sums))]
		}
		a, b, wantA, wantB := makeA(), makeB(), makeA(), makeB()
		w := New(a, b)
		for range 1 + random.IntN(5) {
			for _, to := range [][2]hash.Hash{{a, wantA}, {b, wantB}} { // each alone
				own := data[:random.IntN(3)*[...]int{0, 1, 64, 512, 700}[random.IntN(5)]]
				to[0].Write(own)
				to[1].Write(own)
			}
			for range random.IntN(4) { // both
				from := random.IntN(len(data))
				size := [...]int{0, 1, 63, 64, 65, worth - 1, worth, worth + 63, 5000, most, most + 1, len(data)}[random.IntN(12)]
				p := data[from:min(from+size, len(data))]
				if got, err := w.Write(p); got != len(p) || err != nil {
					t.Fatal(got, err)
				}
				wantA.Write(p)
				wantB.Write(p)
			}
			if !bytes.Equal(a.Sum(nil), wantA.Sum(nil)) || !bytes.Equal(b.Sum(nil), wantB.Sum(nil)) {
				t.Fatalf("round %d: the sums are not those of each alone", n)
			}
			if random.IntN(4) == 0 {
				b.Reset()
				wantB.Reset()
			}
		}
	}
}

func FuzzSums(f *testing.F) {
	f.Add([]byte("abc"), uint16(64), uint16(128))
	f.Fuzz(func(t *testing.T, data []byte, beforeA, beforeB uint16) {
		zeros := make([]byte, 1<<16)
		data = bytes.Repeat(data, 1+4*worth/(len(data)+1))
		a, b := sha256.New(), sha256.New()
		a.Write(zeros[:beforeA])
		b.Write(zeros[:beforeB])
		New(a, b).Write(data)
		if want := sha256.Sum256(append(zeros[:beforeA:beforeA], data...)); !bytes.Equal(a.Sum(nil), want[:]) {
			t.Error("the first sum is wrong")
		}
		if want := sha256.Sum256(append(zeros[:beforeB:beforeB], data...)); !bytes.Equal(b.Sum(nil), want[:]) {
			t.Error("the second sum is wrong")
		}
	})
}

func BenchmarkPair(b *testing.B) {
	data := make([]byte, 64<<10)
	x, y := sha256.New(), sha256.New()
	for name, write := range map[string]func(){
		"one": func() { x.Write(data) }, "two": func() { x.Write(data); y.Write(data) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				write()
			}
		})
	}
	w := New(x, y)
	b.Run("pair", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			w.Write(data)
		}
	})
}
