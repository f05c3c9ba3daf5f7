//go:build !purego

package hashpair

// have says that blocks may be called: the processor has SSSE3, SSE4.1 and the SHA extensions (Intel's manual, volume 2, CPUID).
var have = func() bool {
	if most, _, _ := cpuid(0, 0); most < 7 {
		return false
	}
	_, _, features := cpuid(1, 0)
	_, extended, _ := cpuid(7, 0)
	const ssse3, sse41, sha = 1 << 9, 1 << 19, 1 << 29
	return features&ssse3 != 0 && features&sse41 != 0 && extended&sha != 0
}()

// blocks adds the whole blocks of p to two states.
//
//go:noescape
func blocks(a, b *[8]uint32, p []byte)

// cpuid returns registers A, B and C.
//
//go:noescape
func cpuid(leaf, sub uint32) (a, b, c uint32)
