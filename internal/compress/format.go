package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"
)

// BlockSize is how many bytes of input each block but the last has: 0 where there are no blocks.
func (f Format) BlockSize() int {
	switch f {
	case Zstd:
		return 4 << 20
	case None:
		return 0
	}
	return 1 << 20
}

// frame is what stands round the blocks of one stream. It sees the whole input in order.
type frame interface {
	head() []byte
	add(block []byte)
	tail() []byte
}

// encoder compresses one block to out. It is for one goroutine, and the same for each block, whatever it did before.
type encoder func(out *bytes.Buffer, block []byte) error

func (f Format) frame() frame {
	if f == Zstd {
		return &zstdFrame{}
	}
	return &gzipFrame{}
}

func (o Options) encoder() (encoder, error) {
	if o.Format == Zstd {
		return zstdEncoder(o.Level)
	}
	return gzipEncoder(o.Level)
}

// decode decompresses the beginning of one block into data, as much as there is of it.
func (f Format) decode(data []byte, block io.Reader) (n int, err error) {
	if f == Zstd {
		zr, err := zstd.NewReader(block, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(uint64(f.BlockSize())))
		if err != nil {
			return 0, err
		}
		defer zr.Close()
		return io.ReadFull(zr, data)
	}
	fr := flate.NewReader(block)
	defer fr.Close()
	return io.ReadFull(fr, data)
}

type gzipFrame struct{ crc, size uint32 }

// head is fixed: magic, deflate, no flags, mtime 0, no extra flags, OS 255 (unknown).
func (*gzipFrame) head() []byte { return []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255} }

func (f *gzipFrame) add(block []byte) {
	f.crc = crc32.Update(f.crc, crc32.IEEETable, block)
	f.size += uint32(len(block)) // modulo 2^32, as RFC 1952 has it
}

// tail ends the deflate stream with an empty block with fixed codes and the final bit (RFC 1951, 3.2.6).
func (f *gzipFrame) tail() []byte {
	b := binary.LittleEndian.AppendUint32([]byte{0x03, 0x00}, f.crc)
	return binary.LittleEndian.AppendUint32(b, f.size)
}

func gzipEncoder(level int) (encoder, error) {
	fw, err := flate.NewWriter(nil, level)
	if err != nil {
		return nil, err
	}
	return func(out *bytes.Buffer, block []byte) error {
		fw.Reset(out)
		if _, err := fw.Write(block); err != nil {
			return err
		}
		return fw.Flush()
	}, nil
}

type zstdFrame struct{ some bool }

func (*zstdFrame) head() []byte       { return nil }
func (f *zstdFrame) add(block []byte) { f.some = true }

// tail is a frame without content when there is no other: no bytes at all are no zstd.
func (f *zstdFrame) tail() []byte {
	if f.some {
		return nil
	}
	// Magic; a header with a content size of one byte, 0; a raw last block of no bytes (RFC 8878, 3.1.1).
	return []byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0}
}

func zstdEncoder(level int) (encoder, error) {
	zw, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(Zstd.BlockSize()), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, err
	}
	return func(out *bytes.Buffer, block []byte) error {
		out.Grow(len(block)/4 + 512) // room for what mostly comes out
		_, err := out.Write(zw.EncodeAll(block, out.AvailableBuffer()))
		return err
	}, nil
}
