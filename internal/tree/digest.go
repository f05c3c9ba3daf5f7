package tree

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// A Digest is the SHA-256 of some bytes: of a file's content, or of the
// encoding of a node (see [Node.Identity]). The zero Digest stands for "none".
type Digest [32]byte

const digestPrefix = "sha256:"

// String returns the digest as OCI writes it: "sha256:" and 64 lower-case hexadecimal digits.
func (d Digest) String() string {
	var b [len(digestPrefix) + 64]byte
	copy(b[:], digestPrefix)
	hex.Encode(b[len(digestPrefix):], d[:])
	return string(b[:])
}

// IsZero reports whether d is the zero Digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// ParseDigest reads the form that [Digest.String] writes, and no other:
// upper-case digits and other algorithms are errors.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	rest, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(rest) != 64 {
		return Digest{}, fmt.Errorf("tree: %q is not a digest: want sha256: and 64 hexadecimal digits", s)
	}
	if _, err := hex.Decode(d[:], []byte(rest)); err != nil || rest != strings.ToLower(rest) {
		return Digest{}, fmt.Errorf("tree: %q is not a digest: want lower-case hexadecimal digits", s)
	}
	return d, nil
}
