package compress

import (
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// goSource is a tar of Go's own sources, an input that looks like a layer.
func goSource(b *testing.B) []byte {
	b.Helper()
	const dir = "/usr/local/go/src"
	if _, err := os.Stat(dir); err != nil {
		b.Skip(err)
	}
	out, err := exec.Command("tar", "-C", dir, "--sort=name", "-cf", "-", ".").Output()
	if err != nil {
		b.Skip(err)
	}
	return out
}

type countWriter int64

func (c *countWriter) Write(p []byte) (int, error) {
	*c += countWriter(len(p))
	return len(p), nil
}

func BenchmarkWriter(b *testing.B) {
	in := goSource(b)
	run := func(name string, open func(io.Writer) io.WriteCloser) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			var n countWriter
			for b.Loop() {
				n = 0
				w := open(&n)
				if _, err := w.Write(in); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/float64(len(in))*100, "%size")
		})
	}
	run("gzip", func(w io.Writer) io.WriteCloser { return NewWriter(w, Options{}) })
	run("zstd", func(w io.Writer) io.WriteCloser { return NewWriter(w, Options{Format: Zstd}) })
	run("gzip-1", func(w io.Writer) io.WriteCloser { return NewWriter(w, Options{Parallel: 1}) })
	run("klauspost-6", func(w io.Writer) io.WriteCloser { zw, _ := gzip.NewWriterLevel(w, 6); return zw })
}

func BenchmarkSmall(b *testing.B) {
	in := sample(5000)
	b.ReportAllocs()
	for b.Loop() {
		var n countWriter
		w := NewWriter(&n, Options{})
		if _, err := w.Write(in); err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
