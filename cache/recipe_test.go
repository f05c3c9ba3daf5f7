package cache_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// golden builds a key from one field of each type.
func golden() *cache.KeyBuilder {
	return cache.NewExplainedKey("golden", 7).
		Bytes("bytes", []byte{0, 1, 0xff}).
		Bytes("long", bytes.Repeat([]byte("x"), 65)).
		String("string", "a \"b\"\n").
		Strings("list", []string{"a", "", "b c"}).
		Strings("none", nil).
		Int("int", -3).
		Bool("yes", true).
		Bool("no", false).
		Digest("digest", cache.Digest{31: 1}).
		Key("key", cache.Key{0: 2})
}

// A change of this value makes every cache in the world a miss: only together
// with the number in the recipe's header.
func TestKeyGolden(t *testing.T) {
	const want = "key:32ff5c3f42485d1c5ac635ca1bb0b2763326aafc96f53cb15051598baf286489"
	if got := golden().Sum().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := golden().Sum(); got != golden().Sum() {
		t.Error("not the same twice")
	}
}

func TestKeyFields(t *testing.T) {
	var got []string
	for _, f := range golden().Fields() {
		got = append(got, f.Label+": "+f.Value)
	}
	want := []string{
		"golden: version 7",
		`bytes: "\x00\x01\xff"`,
		"long: 65 bytes, sha256:9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9",
		`string: "a \"b\"\n"`,
		`list: ["a" "" "b c"]`,
		"none: []",
		"int: -3",
		"yes: true",
		"no: false",
		"digest: sha256:" + strings.Repeat("0", 63) + "1",
		"key: key:02" + strings.Repeat("0", 62),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if f := cache.NewKey("a", 1).String("b", "c").Fields(); len(f) != 0 || cache.NewKey("a", 1).Sum() != cache.NewExplainedKey("a", 1).Sum() {
		t.Errorf("a builder that is not to explain has %v, or another key", f)
	}
	b := cache.NewExplainedKey("a", 1)
	b.Fields()[0].Label = "edited"
	if b.Fields()[0].Label != "a" {
		t.Error("Fields handed out the builder's own slice")
	}
}

// Recipes that a careless encoding would confuse have different keys.
func TestKeyDistinct(t *testing.T) {
	n := func() *cache.KeyBuilder { return cache.NewKey("k", 1) }
	builders := []*cache.KeyBuilder{
		n(),
		cache.NewKey("k", 2),
		cache.NewKey("k1", 1),
		n().String("a", ""),
		n().String("", "a"),
		n().String("a", "b"),
		n().String("ab", ""),
		n().Bytes("a", []byte("b")),
		n().String("a", "").String("b", ""),
		n().String("b", "").String("a", ""),
		n().Strings("a", nil),
		n().Strings("a", []string{""}),
		n().Strings("a", []string{"", ""}),
		n().Strings("a", []string{"bc"}),
		n().Strings("a", []string{"b", "c"}),
		n().Strings("a", []string{"c", "b"}),
		n().Strings("a", []string{"b"}).Strings("a", []string{"c"}),
		n().Int("a", 0),
		n().Int("a", 1),
		n().Int("a", -1),
		n().Bool("a", true),
		n().Bool("a", false),
		n().Digest("a", cache.Digest{}),
		n().Key("a", cache.Key{}),
	}
	seen := map[cache.Key]int{}
	for i, b := range builders {
		k := b.Sum()
		if j, ok := seen[k]; ok {
			t.Errorf("recipes %d and %d have the same key", j, i)
		}
		seen[k] = i
		if k.IsZero() {
			t.Errorf("recipe %d has the zero key", i)
		}
	}
}

func TestKeySumContinues(t *testing.T) {
	b := cache.NewKey("k", 1).String("a", "1")
	b.Sum()
	if b.String("b", "2").Sum() != cache.NewKey("k", 1).String("a", "1").String("b", "2").Sum() {
		t.Error("Sum changed what comes after it")
	}
}

func TestParse(t *testing.T) {
	d := cache.Digest{0: 0xab, 31: 0xcd}
	k := cache.Key{0: 0xab, 31: 0xcd}
	if got, err := cache.ParseDigest(d.String()); got != d || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := cache.ParseKey(k.String()); got != k || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	var dt cache.Digest
	var kt cache.Key
	if text, _ := d.MarshalText(); dt.UnmarshalText(text) != nil || dt != d {
		t.Errorf("text of a digest: %s, back %v", text, dt)
	}
	if text, _ := k.MarshalText(); kt.UnmarshalText(text) != nil || kt != k {
		t.Errorf("text of a key: %s, back %v", text, kt)
	}
	for _, bad := range []string{
		"", "sha256:", "key:", d.Hex(), "md5:" + d.Hex(), k.String(), d.String() + "0", d.String()[:70],
		strings.ToUpper(d.String()), "sha256:" + strings.ToUpper(d.Hex()), "sha256:" + strings.Repeat("g", 64),
		" " + d.String(), strings.Repeat("sha256:", 1000),
	} {
		if got, err := cache.ParseDigest(bad); err == nil || !got.IsZero() || len(err.Error()) > 400 {
			t.Errorf("ParseDigest(%.80q): %v, %v", bad, got, err)
		}
		if err := dt.UnmarshalText([]byte(bad)); err == nil || dt != d {
			t.Errorf("UnmarshalText(%.80q): %v, now %v", bad, err, dt)
		}
	}
	if _, err := cache.ParseKey(d.String()); err == nil {
		t.Error("a digest was taken for a key")
	}
}

func ExampleNewKey() {
	compile := func(flags ...string) *cache.KeyBuilder {
		return cache.NewKey("compile", 1).String("file", "main.c").Strings("flags", flags)
	}
	first, again, other := compile("-O2").Sum(), compile("-O2").Sum(), compile("-O3").Sum()
	fmt.Println(first == again, first == other)
	// Output:
	// true false
}

func ExampleNewExplainedKey() {
	b := cache.NewExplainedKey("compile", 1).String("file", "main.c").Strings("flags", []string{"-O2"})
	for _, f := range b.Fields() {
		fmt.Println(f.Label, "=", f.Value)
	}
	// Output:
	// compile = version 1
	// file = "main.c"
	// flags = ["-O2"]
}

// The key is the hash of the recipe as it is documented, however long the fields are.
func TestKeyOfLongFields(t *testing.T) {
	field := func(typ byte, label string, value []byte) []byte {
		b := binary.BigEndian.AppendUint64([]byte{typ}, uint64(len(label)))
		b = append(b, label...)
		b = binary.BigEndian.AppendUint64(b, uint64(len(value)))
		return append(b, value...)
	}
	for _, n := range []int{0, 1, 4000, 4095, 4096, 4097, 8191, 8192, 8193, 100_000} {
		long := bytes.Repeat([]byte("x"), n)
		b := cache.NewKey("long", 3).Bool("no", false).Bytes("bytes", long).Int("i", 5)
		recipe := append([]byte("stagewright key 1\n"), field('K', "long", []byte{7: 3})...)
		recipe = append(recipe, field('t', "no", []byte{0})...)
		recipe = append(recipe, field('b', "bytes", long)...)
		recipe = append(recipe, field('i', "i", []byte{7: 5})...)
		if got, want := b.Sum(), cache.Key(sha256.Sum256(recipe)); got != want {
			t.Errorf("%d bytes: %v, want %v", n, got, want)
		}
		recipe = append(recipe, field('s', string(long), long)...)
		if got, want := b.String(string(long), string(long)).Sum(), cache.Key(sha256.Sum256(recipe)); got != want {
			t.Errorf("%d bytes, and as many again: %v, want %v", n, got, want)
		}
	}
}
