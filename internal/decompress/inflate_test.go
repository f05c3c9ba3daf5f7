package decompress

import (
	"bytes"
	"compress/flate"
	stdgzip "compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/gzip"
)

// samples are kinds of data that make different codes, lengths and distances.
func samples(random *rand.Rand) map[string][]byte {
	words := bytes.Fields([]byte("func return if err != nil { } for range := string int byte struct type context image stage layer"))
	text := func(n int) (b []byte) {
		for len(b) < n {
			if random.IntN(8) == 0 {
				b = fmt.Appendf(b, "%x", random.Uint64())
			}
			b = append(append(b, words[random.IntN(len(words))]...), ' ')
		}
		return b
	}
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	skewed := make([]byte, 400_000) // codes of all lengths
	for i := range skewed {
		for skewed[i] = 0; skewed[i] < 255 && random.IntN(5) > 0; skewed[i]++ {
		}
	}
	far := noise(32 << 10)
	return map[string][]byte{
		"nothing": nil,
		"byte":    {7},
		"text":    text(400_000),
		"noise":   noise(400_000),
		"mixed":   bytes.Join([][]byte{text(200_000), noise(100_000), text(50_000), noise(70_000)}, nil),
		"zeros":   make([]byte, 400_000),
		"period3": bytes.Repeat([]byte("abc"), 130_000),
		"period7": bytes.Repeat([]byte("abcdefg"), 60_000),
		"skewed":  skewed,
		"far":     bytes.Repeat(far, 12), // distances of 32 KiB
	}
}

func TestGzip(t *testing.T) {
	for name, data := range samples(rand.New(rand.NewPCG(1, 2))) {
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, 1, 6, 9} {
			var b bytes.Buffer
			w, _ := stdgzip.NewWriterLevel(&b, level)
			w.Name, w.Comment, w.Extra = "name", "comment", []byte("extra")
			half := len(data) / 2
			w.Write(data[:half])
			if level == 6 {
				w.Flush()
			}
			w.Write(data[half:])
			w.Close()
			member := b.Bytes()
			two := append(bytes.Clone(member), member...)
			for how, r := range map[string]io.Reader{
				"whole": bytes.NewReader(two), "halves": iotest.HalfReader(bytes.NewReader(two)), "data and error": iotest.DataErrReader(bytes.NewReader(two)),
			} {
				z, kind, err := NewReader(r)
				if err != nil || kind != Gzip {
					t.Fatalf("%s, level %d: %v %v", name, level, kind, err)
				}
				got, err := io.ReadAll(z)
				if err != nil || !bytes.Equal(got, append(bytes.Clone(data), data...)) {
					t.Errorf("%s, level %d, %s: %d bytes, %v", name, level, how, len(got), err)
				}
				z.Close()
			}
		}
	}
}

// What klauspost's reader makes of a stream, ours does: the same bytes, and an error or none.
func FuzzGzip(f *testing.F) {
	for _, data := range samples(rand.New(rand.NewPCG(3, 4))) {
		data = data[:min(len(data), 3000)]
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
			var b bytes.Buffer
			w, _ := stdgzip.NewWriterLevel(&b, level)
			w.Write(data)
			w.Close()
			f.Add(b.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { sameAsReference(t, data) })
}

func sameAsReference(t *testing.T, data []byte) {
	t.Helper()
	const most = 4 << 20
	want, wantErr := readAll(data, most, func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) })
	got, gotErr := readAll(data, most, func(r io.Reader) (io.Reader, error) { return newGzipReader(r) })
	if len(want) == most || len(got) == most {
		wantErr, gotErr = nil, nil
	}
	if (wantErr == nil) != (gotErr == nil) {
		t.Fatalf("the reference says %v, we say %v, of %x", wantErr, gotErr, data[:min(len(data), 200)])
	}
	if wantErr == nil && !bytes.Equal(got, want) {
		t.Fatalf("other bytes of %x", data[:min(len(data), 200)])
	}
}

func readAll(data []byte, most int64, open func(io.Reader) (io.Reader, error)) ([]byte, error) {
	r, err := open(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, most))
}

// Of deflate streams with a bit or two changed, or cut short, ours and the standard library's reader make the same. Without a
// checksum around them, many still decode.
func TestDamagedDeflate(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for name, data := range samples(random) {
		data = data[:min(len(data), 20_000)]
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			w.Write(data)
			w.Close()
			for range 100 {
				stream := bytes.Clone(b.Bytes())
				for range 1 + random.IntN(2) {
					stream[random.IntN(min(len(stream), 1+random.IntN(300)))] ^= 1 << random.IntN(8)
				}
				if random.IntN(10) == 0 {
					stream = stream[:random.IntN(len(stream))]
				}
				sameInflated(t, fmt.Sprintf("%s, level %d", name, level), stream)
			}
		}
	}
}

func FuzzInflate(f *testing.F) {
	for _, data := range samples(rand.New(rand.NewPCG(7, 8))) {
		for _, level := range []int{flate.HuffmanOnly, 0, 1, 9} {
			var b bytes.Buffer
			w, _ := flate.NewWriter(&b, level)
			w.Write(data[:min(len(data), 1000)])
			w.Close()
			f.Add(b.Bytes())
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte) { sameInflated(t, "", stream) })
}

func sameInflated(t *testing.T, name string, stream []byte) {
	t.Helper()
	const most = 1 << 20
	want, wantErr := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(stream)), most))
	z := newInflater(bytes.NewReader(stream))
	var got []byte
	var err error
	for err == nil && len(got) < most {
		z.slide()
		from := z.w
		err = z.more()
		got = append(got, z.out[from:z.w]...)
	}
	if len(want) >= most && len(got) >= most {
		return
	}
	if err == io.EOF {
		err = nil
	}
	if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
		t.Fatalf("%s: the reference says %v and %d bytes, we %v and %d, of %x", name, wantErr, len(want), err, len(got), stream[:min(len(stream), 300)])
	}
}

func BenchmarkGzip(b *testing.B) {
	for name, data := range samples(rand.New(rand.NewPCG(1, 2))) {
		var z bytes.Buffer
		w, _ := stdgzip.NewWriterLevel(&z, 6)
		w.Write(data)
		w.Close()
		for who, open := range map[string]func(io.Reader) (io.Reader, error){
			"ours":      func(r io.Reader) (io.Reader, error) { return newGzipReader(r) },
			"klauspost": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		} {
			b.Run(name+"/"+who, func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				for b.Loop() {
					r, err := open(bytes.NewReader(z.Bytes()))
					if err == nil {
						_, err = io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, 64<<10))
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
