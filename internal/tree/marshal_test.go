package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

const (
	goldenIdentity = "sha256:c5957d2cf4bf309159d8bcd7c2c37aa7ea4cb367fb70fe0a7c5e876968a3f0f4"
	goldenKey      = "sha256:9e69e6b7b10181d61509e64cbe9ff3af372d231140694ed171062740a0baeb81"
	goldenMarshal  = "sha256:cd9d9c0312a33b4b4bd6c9e6b101e81560d0e474ff20a522644dd031788af892"
	goldenEmpty    = "sha256:0c1db9a9d420cb12e9940a50ef885930c1fac0d2ffe3f1ac52efc4409cfec011"
)

func digestOf(s string) Digest { return sha256.Sum256([]byte(s)) }

// seeds are encodings that are good, and in every way bad.
func seeds(t testing.TB) (good, bad map[string][]byte) {
	all := Marshal(Diff(nil, small(t)))
	opaque := Marshal([]Change{{Path: "d", Node: NewDir(Meta{}), Opaque: true}, {Path: "d/x"}})
	good = map[string][]byte{"all": all, "opaque": opaque, "none": Marshal(nil)}
	head := []byte(marshalMagic)
	list := func(count int, rest string) []byte {
		return append(binary.AppendUvarint(head[:len(head):len(head)], uint64(count)), rest...)
	}
	bad = map[string][]byte{
		"empty":          nil,
		"cut off":        all[:len(all)-1],
		"trailing":       append(all[:len(all):len(all)], 0),
		"other version":  append([]byte("swtree\x02"), 0),
		"huge count":     append(head[:len(head):len(head)], 0xff, 0xff, 0xff, 0xff, 0x7f),
		"count":          list(2, "\x00\x01a\x00"),
		"long number":    list(1, "\x80\x00\x01a\x00"),
		"no prefix":      list(1, "\x01\x01a\x00"),
		"same twice":     list(2, "\x00\x01a\x00\x01\x00\x00"),
		"order":          list(2, "\x00\x01b\x00\x00\x01a\x00"),
		"short prefix":   list(2, "\x00\x02ab\x00\x00\x02ac\x00"),
		"flags":          list(1, "\x00\x01a\x02"),
		"dot dot":        list(1, "\x00\x02..\x00"),
		"long name":      list(1, "\x00\x80\x02"+strings.Repeat("n", 256)+"\x00"),
		"kind":           list(1, "\x00\x01a\x01\x09\x00\x00\x00\x00\x00"),
		"mode":           list(1, "\x00\x01a\x01\x01\x80\x20\x00\x00\x00\x00"),
		"uid":            list(1, "\x00\x01a\x01\x01\x00\x80\x80\x80\x80\x10\x00\x00\x00"),
		"opaque fifo":    list(1, "\x00\x01a\x03\x06\x00\x00\x00\x00\x00"),
		"symlink mode":   list(1, "\x00\x01a\x01\x03\x00\x00\x00\x00\x00\x01x"),
		"xattr order":    list(1, "\x00\x01a\x01\x06\x00\x00\x00\x00\x02\x01b\x00\x01a\x00"),
		"group from two": list(1, "\x00\x01a\x01\x02\x00\x00\x00\x00\x00\x00"+strings.Repeat("\x00", 32)+"\x02"),
		"negative size":  list(1, "\x00\x01a\x01\x02\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"+strings.Repeat("\x00", 33)),
	}
	return good, bad
}

func TestUnmarshal(t *testing.T) {
	good, bad := seeds(t)
	for name, b := range good {
		if c, err := Unmarshal(b); err != nil || string(Marshal(c)) != string(b) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	for name, b := range bad {
		if c, err := Unmarshal(b); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
}

// Prefixes that are shared must not expand without bound.
func TestUnmarshalBoundsExpansion(t *testing.T) {
	long := strings.Repeat("d/", 1900)
	const count = 5_000
	b := binary.AppendUvarint([]byte(marshalMagic), count)
	last := ""
	for i := range count {
		p := long + string([]byte{'a' + byte(i>>15), '0' + byte(i>>10&31), 'A' + byte(i>>5&31), 'A' + byte(i&31)})
		shared := commonPrefix(last, p)
		b = binary.AppendUvarint(b, uint64(shared))
		b = appendString(b, p[shared:])
		b = append(b, flagRemoved)
		last = p
	}
	if _, err := Unmarshal(b); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "bytes of paths") {
		t.Errorf("%d bytes: %v", len(b), err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	good, bad := seeds(f)
	if len(good)+len(bad) < 25 {
		f.Fatalf("only %d seeds", len(good)+len(bad))
	}
	for _, b := range good {
		f.Add(b)
	}
	for _, b := range bad {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		changes, err := Unmarshal(b)
		if err != nil {
			if !errors.Is(err, ErrFormat) {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		if string(Marshal(changes)) != string(b) {
			t.Errorf("%q has another form %q", b, Marshal(changes))
		}
		root, err := Apply(nil, changes)
		if err != nil {
			if _, ok := errors.AsType[*PathError](err); !ok {
				t.Errorf("untyped error %v", err)
			}
			return
		}
		root.Identity()
		again, err := Apply(nil, Diff(nil, root))
		if err != nil || again.Identity() != root.Identity() {
			t.Errorf("round trip: %v", err)
		}
	})
}
