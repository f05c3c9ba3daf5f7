package cache

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest names content: the SHA-256 of the bytes of a blob.
// It is comparable, and a type of its own so that it cannot be taken for a [Key].
type Digest [32]byte

// Key names a question: what a record is looked up by. Made by a [KeyBuilder].
// A Key says nothing about the bytes stored under it.
type Key [32]byte

const (
	digestPrefix = "sha256:"
	keyPrefix    = "key:"
)

// String returns "sha256:" and 64 lower-case hexadecimal digits.
func (d Digest) String() string { return digestPrefix + d.Hex() }

// Hex returns the 64 lower-case hexadecimal digits alone.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether d is the zero Digest, which names no content.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText returns the form of [Digest.String]. It never fails.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText accepts what [ParseDigest] accepts.
func (d *Digest) UnmarshalText(text []byte) error {
	v, err := ParseDigest(string(text))
	if err == nil {
		*d = v
	}
	return err
}

// ParseDigest reads the form that [Digest.String] writes, and no other.
func ParseDigest(s string) (Digest, error) {
	b, err := parse(s, digestPrefix)
	if err != nil {
		return Digest{}, fmt.Errorf("cache: digest %w", err)
	}
	return Digest(b), nil
}

// String returns "key:" and 64 lower-case hexadecimal digits.
func (k Key) String() string { return keyPrefix + k.Hex() }

// Hex returns the 64 lower-case hexadecimal digits alone.
func (k Key) Hex() string { return hex.EncodeToString(k[:]) }

// IsZero reports whether k is the zero Key, which no recipe yields.
func (k Key) IsZero() bool { return k == Key{} }

// MarshalText returns the form of [Key.String]. It never fails.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText accepts what [ParseKey] accepts.
func (k *Key) UnmarshalText(text []byte) error {
	v, err := ParseKey(string(text))
	if err == nil {
		*k = v
	}
	return err
}

// ParseKey reads the form that [Key.String] writes, and no other.
func ParseKey(s string) (Key, error) {
	b, err := parse(s, keyPrefix)
	if err != nil {
		return Key{}, fmt.Errorf("cache: key %w", err)
	}
	return Key(b), nil
}

func parse(s, prefix string) (out [32]byte, err error) {
	digits, ok := strings.CutPrefix(s, prefix)
	if !ok || len(digits) != hex.EncodedLen(len(out)) || strings.ToLower(digits) != digits {
		return out, fmt.Errorf("%.100q is not %q followed by 64 lower-case hexadecimal digits", s, prefix)
	}
	if _, err := hex.Decode(out[:], []byte(digits)); err != nil {
		return [32]byte{}, fmt.Errorf("%q is not %q followed by 64 lower-case hexadecimal digits: %w", s, prefix, err)
	}
	return out, nil
}
