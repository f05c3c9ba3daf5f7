// Package blockgz is gzip (RFC 1952) that is reproducible, parallel and readable at any offset.
//
// [NewWriter] compresses; [Writer.Blocks] tells [NewReaderAt] where to enter:
//
//	zw := blockgz.NewWriter(w, blockgz.Options{})
//	_, err := io.Copy(zw, tar)
//	err = zw.Close()
//	ra, err := blockgz.NewReaderAt(file, size, zw.Blocks(), total)
//
// # Format
//
// One gzip member with a fixed header: no name, no time, no extra field, OS
// "unknown". The input is cut into blocks of 1 MiB; each is deflated on its own,
// knowing nothing of the one before, and ends with an empty stored block, as by a
// full flush of zlib, so that the next begins at a byte. A final empty block, the
// CRC-32 and the length end the member. Every gzip reader takes it.
//
// # Guarantees
//
// The bytes depend on the input, the level and the version of
// github.com/klauspost/compress alone ([Options.Name] says which), never on the
// number of processors, the timing or the sizes of the Writes. Memory is bounded
// by a few MiB for each block compressed at a time.
//
// # Concurrency
//
// A Writer belongs to one goroutine; a reader may be used by any number.
package blockgz

import (
	"cmp"
	"fmt"
	"runtime"
)

// BlockSize is how many bytes of input each block but the last has.
const BlockSize = 1 << 20

// klauspostVersion is the module version that the golden digest in the tests was made with;
// a test compares it with go.mod.
const klauspostVersion = "v1.20.3"

// Options say how to compress. The zero value is the default.
type Options struct {
	Level    int // 1 fastest to 9 smallest; 0 is 6, as of gzip(1)
	Parallel int // blocks compressed at once; 0 is GOMAXPROCS. Changes no byte of the output
}

func (o Options) withDefaults() Options {
	o.Level = min(max(cmp.Or(o.Level, 6), 1), 9)
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	return o
}

// Name names everything that the output depends on beside the input: compressor,
// its version, level, block size. It belongs into the key of whatever is cached.
func (o Options) Name() string {
	return fmt.Sprintf("blockgz/1 klauspost/compress@%s level=%d block=%d", klauspostVersion, o.withDefaults().Level, BlockSize)
}
