package local

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func TestReadAhead(t *testing.T) {
	data := make([]byte, 3*aheadSize*aheadDepth/2)
	random := rand.New(rand.NewPCG(1, 1))
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	for _, n := range []int{0, 1, aheadSize / 2, aheadSize, aheadSize + 1, len(data)} {
		for name, r := range map[string]io.Reader{
			"whole": bytes.NewReader(data[:n]), "halves": iotest.HalfReader(bytes.NewReader(data[:n])), "data and end": iotest.DataErrReader(bytes.NewReader(data[:n])),
		} {
			a := readAhead(r)
			if err := iotest.TestReader(struct{ io.Reader }{a}, data[:n]); err != nil {
				t.Errorf("%d bytes, %s: %v", n, name, err)
			}
			a.Close()
		}
	}
	lost := errors.New("lost")
	a := readAhead(io.MultiReader(bytes.NewReader(data[:100]), iotest.ErrReader(lost)))
	if got, err := io.ReadAll(a); !errors.Is(err, lost) || !bytes.Equal(got, data[:100]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	a.Close()
	a = readAhead(bytes.NewReader(data)) // more than it may hold
	if _, err := io.ReadFull(a, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	a.Close()
}
