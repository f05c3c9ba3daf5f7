// Package compress makes gzip (RFC 1952) and zstd (RFC 8878) that are reproducible, parallel and readable at any offset.
//
// [NewWriter] compresses; [Writer.Blocks] tells [NewReaderAt] where to enter:
//
//	zw := compress.NewWriter(w, compress.Options{})
//	_, err := io.Copy(zw, tar)
//	err = zw.Close()
//	ra, err := compress.NewReaderAt(file, size, compress.Gzip, zw.Blocks(), zw.Total())
//
// # Format
//
// The input is cut into blocks of a fixed size, each of which is compressed on its
// own, knowing nothing of the one before.
//
// Gzip is one member with a fixed header: no name, no time, no extra field, OS
// "unknown". A block of 1 MiB ends with an empty stored block, as by a full flush
// of zlib, so that the next begins at a byte. A final empty block, the CRC-32 and
// the length end the member. Every gzip reader takes it.
//
// Zstd is one frame for each block of 4 MiB, with its content size and checksum. A
// file of several frames is what RFC 8878, section 3.1, calls zstd data, and every
// reader takes it; a frame asks for a window of at most 4 MiB, half of what readers
// must support.
//
// # Guarantees
//
// The bytes depend on the input, the format, the level and the version of
// github.com/klauspost/compress alone ([Options.Name] says which), never on the
// number of processors, the timing or the sizes of the Writes. Memory is bounded
// by a few blocks for each block compressed at a time, and the tables of the
// compressor: some 35 MiB for each with zstd's levels from 10 on, little with others.
//
// # Concurrency
//
// A Writer belongs to one goroutine; a reader may be used by any number.
package compress

import (
	"cmp"
	"fmt"
	"runtime"

	"github.com/klauspost/compress/zstd"
)

// Format is a kind of compression.
type Format uint8

const (
	Gzip Format = iota // the default
	Zstd
	None // bytes as they are
)

// klauspostVersion is the module version that the golden digests in the tests were made with;
// a test compares it with go.mod.
const klauspostVersion = "v1.20.3"

// Options say how to compress. The zero value is the default.
type Options struct {
	Format   Format
	Level    int // of gzip 1 fastest to 9 smallest, 0 is 6, as of gzip(1); of zstd 1 to 22, 0 is 3, as of zstd(1)
	Parallel int // blocks compressed at once; 0 is GOMAXPROCS, at most 16, of zstd 8. Changes no byte of the output
}

// maxLevel is the highest of any format.
const maxLevel = 22

// withDefaults fills in what is zero and brings the level into its range.
func (o Options) withDefaults() Options {
	switch o.Format {
	case Zstd:
		o.Level = min(max(cmp.Or(o.Level, 3), 1), maxLevel)
	case None:
		o.Level = 0
	default:
		o.Format, o.Level = Gzip, min(max(cmp.Or(o.Level, 6), 1), 9)
	}
	if o.Parallel <= 0 {
		// More processors would need memory and win nothing: storage is slower than that.
		most := 16
		if o.Format == Zstd {
			most = 8
		}
		o.Parallel = min(runtime.GOMAXPROCS(0), most)
	}
	return o
}

// Name names everything that the output depends on beside the input: compressor,
// its version, level, block size. It belongs into the key of whatever is cached. Two
// levels that this compressor does not tell apart have one name.
func (o Options) Name() string {
	o = o.withDefaults()
	switch o.Format {
	case Zstd:
		return fmt.Sprintf("blockzstd/1 klauspost/compress@%s level=%s block=%d", klauspostVersion, zstd.EncoderLevelFromZstd(o.Level), o.Format.BlockSize())
	case None:
		return "uncompressed/1"
	}
	return fmt.Sprintf("blockgz/1 klauspost/compress@%s level=%d block=%d", klauspostVersion, o.Level, o.Format.BlockSize())
}
