package decompress_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/stagewright/stagewright/internal/decompress"
)

// bzip2Hello is "hello\n" as the bzip2 program writes it: Go has no writer.
const bzip2Hello = "425a6839314159265359c1c080e2000001410000100244a00030cd00c3462997177245385090c1c080e2"

func pack(t testing.TB, kind decompress.Kind, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case decompress.Gzip:
		w = gzip.NewWriter(&b)
	case decompress.Xz:
		w, err = xz.NewWriter(&b)
	case decompress.Zstd:
		w, err = zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
	default:
		return data
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestNewReader(t *testing.T) {
	hello, err := hex.DecodeString(bzip2Hello)
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("hello\n")
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'x', 'y'}, pack(t, decompress.Zstd, text)...)
	tests := []struct {
		name string
		in   []byte
		kind decompress.Kind
		want string
	}{
		{"plain", text, decompress.None, "hello\n"},
		{"empty", nil, decompress.None, ""},
		{"one byte", []byte{0x1f}, decompress.None, "\x1f"},
		{"gzip", pack(t, decompress.Gzip, text), decompress.Gzip, "hello\n"},
		{"gzip twice", append(pack(t, decompress.Gzip, text), pack(t, decompress.Gzip, text)...), decompress.Gzip, "hello\nhello\n"},
		{"bzip2", hello, decompress.Bzip2, "hello\n"},
		{"xz", pack(t, decompress.Xz, text), decompress.Xz, "hello\n"},
		{"xz twice", append(pack(t, decompress.Xz, text), pack(t, decompress.Xz, text)...), decompress.Xz, "hello\nhello\n"},
		{"zstd", pack(t, decompress.Zstd, text), decompress.Zstd, "hello\n"},
		{"zstd behind a skippable frame", skippable, decompress.Zstd, "hello\n"},
	}
	for _, test := range tests {
		r, kind, err := decompress.NewReader(bytes.NewReader(test.in))
		if err != nil || kind != test.kind {
			t.Errorf("%s: %q, %v", test.name, kind, err)
			continue
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v", test.name, got, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		// What is cut off is an error, now or when it is read.
		if kind == decompress.None {
			continue
		}
		r, _, err = decompress.NewReader(bytes.NewReader(test.in[:len(test.in)-3]))
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		if err == nil {
			t.Errorf("%s: cut off, and no error", test.name)
		}
	}
}

func ExampleNewReader() {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, "files")
	z.Close()
	r, kind, err := decompress.NewReader(&b)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	fmt.Println(kind, string(text), err)
	// Output: gzip files <nil>
}

func FuzzNewReader(f *testing.F) {
	for _, kind := range []decompress.Kind{decompress.None, decompress.Gzip, decompress.Xz, decompress.Zstd} {
		f.Add(pack(f, kind, []byte("some text, some text")))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, kind, err := decompress.NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		defer r.Close()
		got, err := io.ReadAll(io.LimitReader(r, 1<<20))
		if kind == decompress.None && (err != nil || len(data) < 1<<20 && !bytes.Equal(got, data)) {
			t.Errorf("what is not compressed came out different: %v", err)
		}
	})
}
