package compress

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

	"github.com/klauspost/compress/zstd"
)

// golden has the digests of the output for sample(n): a new version of the compressor may change them, and
// then klauspostVersion, which is part of every cache key, changes with them.
var golden = []struct {
	o    Options
	n    int
	want string
}{
	{Options{}, 5 << 20 / 2, "7b4fb0a4924e9660f1f59bb63c92172a2ffa67efb9b0f9441c3b3bc973007c63"},
	{Options{Level: 9}, 5 << 20, "ca1172faeed82b9313f45bc585cf2a9c89d57664aa9794ce32d3f131cb8bceb3"},
	{Options{Level: 100}, 5 << 20, "ca1172faeed82b9313f45bc585cf2a9c89d57664aa9794ce32d3f131cb8bceb3"},
	{Options{Format: Zstd}, 5 << 20, "d651386b48e5338d18cd84f245727f8b3c36f2c01e0d78a7cff0dc9108fac39b"},
	{Options{Format: Zstd, Level: 1}, 5 << 20, "8beb13e8e3475800cc9d119114a7941a52e432167f57df08e699a26aed48d46e"},
	{Options{Format: Zstd, Level: 7}, 5 << 20, "21d2374bb2ff818f84c2ea6be611280710f2f8e06936afc20e6cf41296dfcb38"},
	{Options{Format: Zstd, Level: 19}, 5 << 20, "fb674bade8c98a9a527932858a5d10715991a7fed91386fd11675d59ceae2adf"},
	{Options{Format: None}, 5 << 20, "87294af679fa58b651e4adde6cf2a6363dd9245063ead28876d7abceacd350d4"},
}

// blockFormats are those that compress.
var blockFormats = map[string]Format{"gzip": Gzip, "zstd": Zstd}

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

// unpack reads with the standard library's gzip, and with zstd's decoder as readers of images set it up.
func unpack(f Format, packed []byte) ([]byte, error) {
	switch f {
	case None:
		return packed, nil
	case Zstd:
		zr, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, err
		}
		defer zr.Close()
		return io.ReadAll(zr)
	}
	zr, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	if zr.Name != "" || !zr.ModTime.IsZero() || zr.OS != 255 {
		return nil, fmt.Errorf("header %+v", zr.Header)
	}
	return io.ReadAll(zr)
}

func TestRoundTrip(t *testing.T) {
	for name, f := range map[string]Format{"gzip": Gzip, "zstd": Zstd, "none": None} {
		each := max(f.BlockSize(), 1<<20)
		for _, n := range []int{0, 1, 4096, each - 1, each, each + 1, 2*each + 77} {
			in := sample(n)
			w, out := pack(t, in, Options{Format: f}, whole)
			if got, err := unpack(f, out); err != nil || !bytes.Equal(got, in) {
				t.Errorf("%s, %d bytes: read %d bytes, %v", name, n, len(got), err)
			}
			blocks := (n + each - 1) / each
			if f == None {
				blocks = 0
			}
			if w.Total() != int64(n) || len(w.Blocks()) != blocks {
				t.Errorf("%s, %d bytes: total %d, blocks %v", name, n, w.Total(), w.Blocks())
			}
		}
	}
}

// TestSystemPrograms: gzip(1) and zstd(1) read what is written here.
func TestSystemPrograms(t *testing.T) {
	for name, f := range blockFormats {
		t.Run(name, func(t *testing.T) {
			path, err := exec.LookPath(name)
			if err != nil {
				t.Skipf("no %s program on this machine (Debian: apt-get install %s)", name, name)
			}
			for _, n := range []int{0, 3, 2*f.BlockSize() + 5} {
				in := sample(n)
				_, out := pack(t, in, Options{Format: f, Level: 1}, whole)
				for _, flag := range []string{"-dc", "-t"} {
					cmd := exec.CommandContext(t.Context(), path, flag)
					cmd.Stdin = bytes.NewReader(out)
					got, err := cmd.Output()
					if err != nil || flag == "-dc" && !bytes.Equal(got, in) {
						t.Errorf("%s %s: %d bytes, %v", name, flag, len(got), err)
					}
				}
			}
		})
	}
}

func TestGolden(t *testing.T) {
	in := sample(5 << 20)
	for _, g := range golden {
		_, out := pack(t, in[:g.n], g.o, whole)
		if got := fmt.Sprintf("%x", sha256.Sum256(out)); got != g.want {
			t.Errorf("%+v: output is %s, want %s", g.o, got, g.want)
		}
	}
}

// TestSameBytesHoweverWritten: neither the sizes of the writes nor the number of processors is in the bytes.
func TestSameBytesHoweverWritten(t *testing.T) {
	for name, f := range blockFormats {
		in := sample(5 * f.BlockSize() / 2)
		_, want := pack(t, in, Options{Format: f, Parallel: 1}, whole)
		r := rand.New(rand.NewPCG(3, 4))
		for _, parallel := range []int{0, 2, 5} {
			for _, sizes := range []func() int{whole, func() int { return 1 + r.IntN(100_000) }, func() int { return 4093 }} {
				if _, got := pack(t, in, Options{Format: f, Parallel: parallel}, sizes); !bytes.Equal(got, want) {
					t.Fatalf("%s, parallel %d: other bytes", name, parallel)
				}
			}
		}
	}
}

// TestEncodersForget: a block comes out the same whatever its encoder has done before.
func TestEncodersForget(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	blocks := make([][]byte, 12)
	text := sample(1 << 20)
	for i := range blocks {
		switch i % 3 {
		case 0: // like each other
			at := r.IntN(len(text) / 2)
			blocks[i] = text[at : at+r.IntN(len(text)/2)]
		case 1: // zeros
			blocks[i] = make([]byte, r.IntN(300_000))
		case 2:
			blocks[i] = make([]byte, 1+r.IntN(300_000))
			for at := range blocks[i] {
				one, other := r.Uint32(), r.Uint32()
				blocks[i][at] = byte(one & other)
			}
		}
	}
	for _, o := range []Options{{Level: 1}, {Level: 6}, {Level: 9}, {Format: Zstd, Level: 1}, {Format: Zstd, Level: 3}, {Format: Zstd, Level: 7}, {Format: Zstd, Level: 19}} {
		used, err := o.encoder()
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			block := blocks[r.IntN(len(blocks))]
			fresh, err := o.encoder()
			if err != nil {
				t.Fatal(err)
			}
			var want, got bytes.Buffer
			if err := errors.Join(fresh(&want, block), used(&got, block)); err != nil || !bytes.Equal(want.Bytes(), got.Bytes()) {
				t.Fatalf("%+v: a used encoder writes other bytes, %v", o, err)
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
	// The first is in the keys of caches that users have.
	if got, want := (Options{}).Name(), "blockgz/1 klauspost/compress@"+klauspostVersion+" level=6 block=1048576"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	if got, want := (Options{Format: Zstd}).Name(), "blockzstd/1 klauspost/compress@"+klauspostVersion+" level=default block=4194304"; got != want {
		t.Errorf("name %q, want %q", got, want)
	}
	for _, same := range [][2]Options{{{}, {Level: 6, Parallel: 9}}, {{Format: Zstd, Level: 1}, {Format: Zstd, Level: 2}}, {{Format: None}, {Format: None, Level: 3}}} {
		if a, b := same[0].Name(), same[1].Name(); a != b {
			t.Errorf("names %q and %q", a, b)
		}
	}
	names := map[string]bool{}
	different := []Options{{}, {Level: 9}, {Format: Zstd}, {Format: Zstd, Level: 1}, {Format: Zstd, Level: 19}, {Format: None}}
	for _, o := range different {
		names[o.Name()] = true
	}
	if len(names) != len(different) {
		t.Errorf("names %v", names)
	}
}

func TestReaderAt(t *testing.T) {
	for name, f := range blockFormats {
		each := f.BlockSize()
		in := sample(5*each + 1234)
		w, out := pack(t, in, Options{Format: f}, whole)
		ra, err := NewReaderAt(bytes.NewReader(out), int64(len(out)), f, w.Blocks(), w.Total())
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(5, 6))
		for range 50 {
			off := r.IntN(len(in))
			p := make([]byte, r.IntN(3*each/2))
			n, err := ra.ReadAt(p, int64(off))
			if want := min(len(p), len(in)-off); n != want || !bytes.Equal(p[:n], in[off:off+n]) || (err == io.EOF) != (n < len(p)) {
				t.Fatalf("%s: read %d at %d: %d, %v", name, len(p), off, n, err)
			}
		}
		if err := iotest.TestReader(io.NewSectionReader(ra, int64(each)-100, 300), in[each-100:each+200]); err != nil {
			t.Error(err)
		}
		if _, err := ra.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("negative offset was read")
		}
	}
	if _, err := NewReaderAt(bytes.NewReader(nil), 0, None, nil, 0); err == nil {
		t.Error("a format without blocks was taken")
	}
}

func TestReaderAtDamaged(t *testing.T) {
	for name, f := range blockFormats {
		in := sample(2*f.BlockSize() + 9)
		w, out := pack(t, in, Options{Format: f}, whole)
		blocks, size := w.Blocks(), int64(len(out))
		for what, c := range map[string]struct {
			blocks []int64
			total  int64
		}{
			"count":    {blocks[:2], w.Total()},
			"negative": {nil, -1},
			"order":    {[]int64{blocks[1], blocks[0], blocks[2]}, w.Total()},
			"outside":  {[]int64{10, 20, size}, w.Total()},
			"before":   {[]int64{-1, 20, 30}, w.Total()},
		} {
			if _, err := NewReaderAt(bytes.NewReader(out), size, f, c.blocks, c.total); !errors.Is(err, ErrDamaged) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		ra, err := NewReaderAt(bytes.NewReader(out), size, f, []int64{blocks[0], blocks[1] + 1, blocks[2]}, w.Total())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(io.NewSectionReader(ra, 0, ra.Size())); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s, wrong offset: %v", name, err)
		}
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
	for _, f := range []Format{Gzip, Zstd, None} {
		in := sample(6 * max(f.BlockSize(), 1<<20))
		for _, left := range []int{0, 5, 1000, 600_000} {
			w := NewWriter(&failingWriter{left}, Options{Format: f, Parallel: 2})
			_, err := w.Write(in)
			if cerr := w.Close(); !errors.Is(cerr, errFull) || err != nil && !errors.Is(err, errFull) {
				t.Errorf("format %d after %d bytes: %v, %v", f, left, err, cerr)
			}
			if _, err := w.Write(in); err == nil {
				t.Error("write after Close")
			}
			if err := w.Close(); err != nil {
				t.Errorf("second Close: %v", err)
			}
		}
	}
}

func Example() {
	var out bytes.Buffer
	zw := NewWriter(&out, Options{Format: Zstd})
	fmt.Fprint(zw, "hello, world")
	if err := zw.Close(); err != nil {
		fmt.Println(err)
	}
	ra, err := NewReaderAt(bytes.NewReader(out.Bytes()), int64(out.Len()), Zstd, zw.Blocks(), zw.Total())
	if err != nil {
		fmt.Println(err)
	}
	p := make([]byte, 5)
	_, err = ra.ReadAt(p, 7)
	fmt.Println(string(p), err)
	// Output: world <nil>
}
