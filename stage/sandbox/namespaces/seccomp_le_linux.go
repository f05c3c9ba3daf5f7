//go:build !(ppc64 || s390x || mips || mips64)

package namespaces

// lowHalf is the offset of an argument's low 32 bits.
const lowHalf = 0
