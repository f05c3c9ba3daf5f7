package blockgz

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"
)

// golden is the digest of the output for sample(5<<20/2): a new version of the compressor may change it, and
// then klauspostVersion, which is part of every cache key, changes with it.
const golden = "sha256:7b4fb0a4924e9660f1f59bb63c92172a2ffa67efb9b0f9441c3b3bc973007c63"

// sample is text-like input that compresses.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 500)
	for i := range words {
		words[i] = fmt.Sprintf("%x", r.Uint64N(1<<uint(4+r.IntN(40))))
	}
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(" \n"[r.IntN(2)])
	}
	return b.Bytes()[:n]
}

func pack(t testing.TB, in []byte, o Options, sizes func() int) (*Writer, []byte) {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, o)
	for len(in) > 0 {
		n := min(len(in), sizes())
		if _, err := w.Write(in[:n]); err != nil {
			t.Fatal(err)
		}
		in = in[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w, out.Bytes()
}

func whole() int { return 1 << 30 }

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 4096, BlockSize - 1, BlockSize, BlockSize + 1, 3*BlockSize + 77} {
		in := sample(n)
		w, out := pack(t, in, Options{}, whole)
		zr, err := gzip.NewReader(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(zr)
		if err != nil || !bytes.Equal(got, in) {
			t.Errorf("%d bytes: compress/gzip read %d bytes, %v", n, len(got), err)
		}
		if zr.Name != "" || !zr.ModTime.IsZero() || zr.OS != 255 {
			t.Errorf("header %+v", zr.Header)
		}
		if w.Total() != int64(n) || len(w.Blocks()) != (n+BlockSize-1)/BlockSize {
			t.Errorf("%d bytes: total %d, blocks %v", n, w.Total(), w.Blocks())
		}
	}
}

func TestSystemGzip(t *testing.T) {
	path, err := exec.LookPath("gzip")
	if err != nil {
		t.Skip("no gzip program on this machine")
	}
	in := sample(2*BlockSize + 5)
	_, out := pack(t, in, Options{Level: 1}, whole)
	cmd := exec.CommandContext(t.Context(), path, "-dc")
	cmd.Stdin = bytes.NewReader(out)
	got, err := cmd.Output()
	if err != nil || !bytes.Equal(got, in) {
		t.Errorf("gzip -dc: %d bytes, %v", len(got), err)
	}
}

func TestSameBytesHoweverWritten(t *testing.T) {
	in := sample(5 << 20 / 2)
	_, want := pack(t, in, Options{Parallel: 1}, whole)
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(want)); got != golden {
		t.Errorf("output is %s, want %s", got, golden)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for parallel := range 9 {
		for _, sizes := range []func() int{whole, func() int { return 1 + r.IntN(100_000) }, func() int { return 4093 }} {
			if _, got := pack(t, in, Options{Parallel: parallel, Level: 6}, sizes); !bytes.Equal(got, want) {
				t.Fatalf("parallel %d: other bytes", parallel)
			}
		}
	}
}

// The version in the key must be the one that is linked.
func TestNameHasTheVersion(t *testing.T) {
	b, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), "github.com/klauspost/compress "+klauspostVersion) {
		t.Errorf("go.mod has another version than %s", klauspostVersion)
	}
	if a, b := (Options{}).Name(), (Options{Level: 6, Parallel: 9}).Name(); a != b || !strings.Contains(a, klauspostVersion) {
		t.Errorf("names %q and %q", a, b)
	}
	if (Options{}).Name() == (Options{Level: 9}).Name() {
		t.Error("the level is not in the name")
	}
}

func TestReaderAt(t *testing.T) {
	in := sample(7*BlockSize + 1234)
	w, out := pack(t, in, Options{}, whole)
	ra, err := NewReaderAt(bytes.NewReader(out), int64(len(out)), w.Blocks(), w.Total())
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		off := r.IntN(len(in))
		p := make([]byte, r.IntN(3*BlockSize/2))
		n, err := ra.ReadAt(p, int64(off))
		if want := min(len(p), len(in)-off); n != want || !bytes.Equal(p[:n], in[off:off+n]) || (err == io.EOF) != (n < len(p)) {
			t.Fatalf("read %d at %d: %d, %v", len(p), off, n, err)
		}
	}
	if err := iotest.TestReader(io.NewSectionReader(ra, BlockSize-100, 300), in[BlockSize-100:BlockSize+200]); err != nil {
		t.Error(err)
	}
	if _, err := ra.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("negative offset was read")
	}
}

func TestReaderAtDamaged(t *testing.T) {
	in := sample(2*BlockSize + 9)
	w, out := pack(t, in, Options{}, whole)
	blocks, size := w.Blocks(), int64(len(out))
	for name, c := range map[string]struct {
		blocks []int64
		total  int64
	}{
		"count":    {blocks[:2], w.Total()},
		"negative": {nil, -1},
		"order":    {[]int64{blocks[1], blocks[0], blocks[2]}, w.Total()},
		"outside":  {[]int64{10, 20, size}, w.Total()},
		"header":   {[]int64{0, 20, 30}, w.Total()},
	} {
		if _, err := NewReaderAt(bytes.NewReader(out), size, c.blocks, c.total); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ra, err := NewReaderAt(bytes.NewReader(out), size, []int64{blocks[0], blocks[1] + 1, blocks[2]}, w.Total())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(io.NewSectionReader(ra, 0, ra.Size())); !errors.Is(err, ErrDamaged) {
		t.Errorf("wrong offset: %v", err)
	}
}

type failingWriter struct{ left int }

var errFull = errors.New("full")

func (f *failingWriter) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriterErrors(t *testing.T) {
	in := sample(6 * BlockSize)
	for _, left := range []int{0, 5, 1000, 600_000} {
		w := NewWriter(&failingWriter{left}, Options{Parallel: 2})
		_, err := w.Write(in)
		if cerr := w.Close(); !errors.Is(cerr, errFull) || err != nil && !errors.Is(err, errFull) {
			t.Errorf("after %d bytes: %v, %v", left, err, cerr)
		}
		if _, err := w.Write(in); err == nil {
			t.Error("write after Close")
		}
		if err := w.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	}
}

func Example() {
	var out bytes.Buffer
	zw := NewWriter(&out, Options{})
	fmt.Fprint(zw, "hello, world")
	if err := zw.Close(); err != nil {
		fmt.Println(err)
	}
	ra, err := NewReaderAt(bytes.NewReader(out.Bytes()), int64(out.Len()), zw.Blocks(), zw.Total())
	if err != nil {
		fmt.Println(err)
	}
	p := make([]byte, 5)
	_, err = ra.ReadAt(p, 7)
	fmt.Println(string(p), err)
	// Output: world <nil>
}
