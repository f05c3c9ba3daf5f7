// Package decompress reads what is compressed with gzip, bzip2, xz or zstd, told by its
// first bytes, and everything else as it is.
//
//	r, kind, err := decompress.NewReader(file)
//	defer r.Close()
//
// The kinds and how they are told are those of ADD in a Dockerfile. Several gzip
// members, xz streams or zstd frames one after the other are one stream, as their
// programs read them. Memory is bounded: a window or dictionary of more than 64 MiB is
// refused. How much comes out is not bounded:
// that is for the caller, who knows what it is. Of xz the LZMA2 filter is known, which is
// what xz and tar write unless they are told otherwise.
package decompress

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Kind is a compression.
type Kind string

// The kinds that [NewReader] knows.
const (
	None  Kind = ""
	Gzip  Kind = "gzip"
	Bzip2 Kind = "bzip2"
	Xz    Kind = "xz"
	Zstd  Kind = "zstd"
)

// DetectLen is how many bytes Detect needs at most.
const DetectLen = 8

// Detect tells the compression by the first bytes.
func Detect(head []byte) Kind {
	switch {
	case bytes.HasPrefix(head, []byte("BZh")):
		return Bzip2
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b, 8}):
		return Gzip
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		return Xz
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return Zstd
	// A skippable frame of zstd, RFC 8878, section 3.1.2.
	case len(head) >= DetectLen && binary.LittleEndian.Uint32(head)&^0xf == 0x184d2a50:
		return Zstd
	}
	return None
}

// maxWindow bounds the memory of one stream. RFC 8878 recommends that decoders support
// 8 MiB; the highest levels of the zstd and xz programs ask for 64 MiB.
const maxWindow = 64 << 20

// NewReader returns what r holds, decompressed, and how it was compressed. Closing it does
// not close r. It reads ahead: what r holds behind the stream may be gone. The error is
// that of reading the first bytes, or of a damaged header; damage further on is an
// error of Read.
func NewReader(r io.Reader) (io.ReadCloser, Kind, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head, err := in.Peek(DetectLen)
	if err != nil && err != io.EOF {
		return nil, None, err
	}
	kind := Detect(head)
	switch kind {
	case Gzip:
		z, err := newGzipReader(in)
		if err != nil {
			return nil, kind, err
		}
		return z, kind, nil
	case Bzip2:
		return io.NopCloser(bzip2.NewReader(in)), kind, nil
	case Xz:
		z, err := newXzReader(in)
		if err != nil {
			return nil, kind, err
		}
		return io.NopCloser(z), kind, nil
	case Zstd:
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, kind, err
		}
		return z.IOReadCloser(), kind, nil
	}
	return io.NopCloser(in), None, nil
}
