package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
)

// recipeHeader opens every recipe. Its number changes when the encoding below does.
const recipeHeader = "stagewright key 1\n"

// The type letter of each field. Part of the encoding: never renumber.
const (
	typeKind   = 'K'
	typeBytes  = 'b'
	typeString = 's'
	typeList   = 'l'
	typeInt    = 'i'
	typeBool   = 't'
	typeDigest = 'd'
	typeKey    = 'k'
)

// KeyBuilder makes a [Key] from labelled fields. Start with [NewKey], add
// every value that can change the answer, and nothing that cannot: no absolute
// path of the host, no clock, no user name.
//
// # Recipe
//
// The key is the SHA-256 of the line "stagewright key 1\n" followed by the
// fields in the order in which they were added. A field is
//
//	type     1 byte
//	n        8 bytes, big endian, the length of the label
//	label    n bytes
//	m        8 bytes, big endian, the length of the value
//	value    m bytes
//
// The first field has type 'K', the kind as its label, and the version (8
// bytes, big endian) as its value. Further types and their values: 'b' bytes
// and 's' string, as they are; 'l' list of strings, each preceded by its length
// in 8 bytes; 'i' integer, 8 bytes two's complement; 't' boolean, one byte 0
// or 1; 'd' [Digest] and 'k' [Key], 32 bytes. All integers are big endian. So
// two recipes agree only when kind, version, labels, types, values and order
// agree.
//
// A KeyBuilder is for one goroutine at a time. Its methods return the builder,
// so that calls chain.
type KeyBuilder struct {
	h      hash.Hash // of what was in buf before; nil while all of it is there
	buf    []byte
	keep   bool // fields
	fields []Field
}

// Field is one part of a key's recipe in readable form, for explaining why two
// keys differ.
type Field struct {
	// Label is what the caller called it.
	Label string
	// Value is the value as text: strings and lists quoted as in Go, digests
	// and keys as their String methods write them. Bytes are quoted up to 64
	// of them, and beyond that stand as their length and SHA-256.
	Value string
}

// NewKey starts the recipe of one kind of question. Raise version whenever
// code changes so that the same fields no longer give the same answer: every
// older record is then a miss.
func NewKey(kind string, version int) *KeyBuilder {
	b := &KeyBuilder{buf: make([]byte, 0, 512)}
	b.buf = append(b.buf, recipeHeader...)
	b.addInt(typeKind, kind, uint64(version))
	return b
}

// NewExplainedKey is [NewKey] of a builder that keeps its fields for [KeyBuilder.Fields],
// which takes time and memory in the order of their length. The key is the same.
func NewExplainedKey(kind string, version int) *KeyBuilder {
	b := NewKey(kind, version)
	b.keep = true
	b.fields = []Field{{Label: kind, Value: "version " + strconv.Itoa(version)}}
	return b
}

// Bytes adds a byte string. The builder keeps no reference to v.
func (b *KeyBuilder) Bytes(label string, v []byte) *KeyBuilder {
	add(b, typeBytes, label, v)
	if b.keep {
		if len(v) > 64 {
			b.explain(label, fmt.Sprintf("%d bytes, %v", len(v), Digest(sha256.Sum256(v))))
		} else {
			b.explain(label, strconv.Quote(string(v)))
		}
	}
	return b
}

// String adds a string.
func (b *KeyBuilder) String(label, v string) *KeyBuilder {
	add(b, typeString, label, v)
	if b.keep {
		b.explain(label, strconv.Quote(v))
	}
	return b
}

// Strings adds a list of strings, whose order counts. Sort what is a set.
func (b *KeyBuilder) Strings(label string, v []string) *KeyBuilder {
	var enc []byte
	for _, s := range v {
		enc = binary.BigEndian.AppendUint64(enc, uint64(len(s)))
		enc = append(enc, s...)
	}
	add(b, typeList, label, enc)
	if b.keep {
		quoted := make([]string, len(v))
		for i, s := range v {
			quoted[i] = strconv.Quote(s)
		}
		b.explain(label, "["+strings.Join(quoted, " ")+"]")
	}
	return b
}

// Int adds an integer.
func (b *KeyBuilder) Int(label string, v int64) *KeyBuilder {
	b.addInt(typeInt, label, uint64(v))
	if b.keep {
		b.explain(label, strconv.FormatInt(v, 10))
	}
	return b
}

// Bool adds a boolean.
func (b *KeyBuilder) Bool(label string, v bool) *KeyBuilder {
	value := "\x00"
	if v {
		value = "\x01"
	}
	add(b, typeBool, label, value)
	if b.keep {
		b.explain(label, strconv.FormatBool(v))
	}
	return b
}

// Digest adds the digest of some content.
func (b *KeyBuilder) Digest(label string, v Digest) *KeyBuilder {
	add(b, typeDigest, label, v[:])
	if b.keep {
		b.explain(label, v.String())
	}
	return b
}

// Key adds the key of another question, on whose answer this one builds.
func (b *KeyBuilder) Key(label string, v Key) *KeyBuilder {
	add(b, typeKey, label, v[:])
	if b.keep {
		b.explain(label, v.String())
	}
	return b
}

// Sum returns the key of the fields added so far. More may be added after it.
func (b *KeyBuilder) Sum() Key {
	if b.h == nil {
		return sha256.Sum256(b.buf)
	}
	b.flush()
	return Key(b.h.Sum(nil))
}

// Fields returns the recipe so far in readable form, the kind and its version
// first; nothing unless the builder is of [NewExplainedKey]. The slice is the caller's.
func (b *KeyBuilder) Fields() []Field { return slices.Clone(b.fields) }

// maxPending is how many bytes of a recipe wait for their hash: of most recipes all, which are then hashed at once.
const maxPending = 4 << 10

func add[T string | []byte](b *KeyBuilder, typ byte, label string, value T) {
	b.begin(typ, label, len(value))
	for len(b.buf)+len(value) > maxPending {
		n := min(len(value), max(0, maxPending-len(b.buf)))
		b.buf = append(b.buf, value[:n]...)
		value = value[n:]
		b.flush()
	}
	b.buf = append(b.buf, value...)
}

func (b *KeyBuilder) addInt(typ byte, label string, v uint64) {
	b.begin(typ, label, 8)
	b.buf = binary.BigEndian.AppendUint64(b.buf, v)
}

// begin adds what stands before a value of n bytes.
func (b *KeyBuilder) begin(typ byte, label string, n int) {
	b.buf = append(b.buf, typ)
	b.buf = binary.BigEndian.AppendUint64(b.buf, uint64(len(label)))
	b.buf = append(b.buf, label...)
	b.buf = binary.BigEndian.AppendUint64(b.buf, uint64(n))
}

// flush hashes what is pending.
func (b *KeyBuilder) flush() {
	if b.h == nil {
		b.h = sha256.New()
	}
	b.h.Write(b.buf)
	b.buf = b.buf[:0]
}

func (b *KeyBuilder) explain(label, value string) {
	b.fields = append(b.fields, Field{Label: label, Value: value})
}
