package remote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
)

const moment = 1_700_000_000 // 14 November 2023

// sample has an entry of each kind.
func sample() *index {
	x := &index{
		merged: []string{"w018bcfe568001234567890abcdef", "u018bcfe567ff1234567890abcdef"},
		records: []record{
			{key: cache.Key{2}, time: moment * 1e6, data: []byte(`{"changes":1}`)},
			{key: cache.Key{1}, time: moment*1e6 + 5, data: []byte{}},
			{key: cache.Key{3}, time: moment * 1e6, blob: cache.Digest{9}, size: 100_000},
		},
		blobs: []blob{
			{digest: cache.Digest{8}, time: moment * 1e6, size: 1 << 30},
			{digest: cache.Digest{9}, time: moment * 1e6, size: 100_000}, // also a record's
			{digest: cache.Digest{7}, time: 0, size: 0},
		},
	}
	x.sort()
	return x
}

// golden compares with a file. A format that changes needs another version, and another file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%s was not there and is written; look at it", path)
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s, %v: the format has changed; what is in registries is not read any more\n%s", path, err, got)
	}
}

// TestGolden: what is in registries stays readable.
func TestGolden(t *testing.T) {
	x := sample()
	golden(t, "index-1.bin", x.encode())
	for _, plain := range []bool{false, true} {
		raw, _, err := manifest("main-w018bcfe568001234567890abcdef", time.Unix(moment, 0), []byte("the index, compressed"), x, plain)
		if err != nil {
			t.Fatal(err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, raw, "", "  "); err != nil {
			t.Fatal(err)
		}
		pretty.WriteByte('\n')
		golden(t, fmt.Sprintf("manifest-1-plain-%v.json", plain), pretty.Bytes())
		if d, err := indexOf(raw); err != nil || d.Size != 21 {
			t.Errorf("%+v, %v", d, err)
		}
	}
}

// TestRoundTrip: what is written is read, compressed too.
func TestRoundTrip(t *testing.T) {
	for name, x := range map[string]*index{"empty": {}, "sample": sample()} {
		packed, err := compress(x.encode())
		if err != nil {
			t.Fatal(err)
		}
		data, err := expand(packed, maxIndex)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parse(data)
		if err != nil || !reflect.DeepEqual(got, x) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, x)
		}
	}
}

// TestParseRefuses: every index that ends too early, and each of those that say what cannot be.
func TestParseRefuses(t *testing.T) {
	whole := sample().encode()
	ends := map[int]bool{len(indexHeader): true}
	for n := range whole {
		x, err := parse(whole[:n])
		if err != nil {
			continue
		}
		if again := x.encode(); !bytes.Equal(again, whole[:n]) {
			t.Errorf("cut at %d, it is taken for something else", n)
		}
		ends[n] = true
	}
	if len(ends) != 1+2+3+3-1 { // before each entry
		t.Errorf("it is an index at %d places", len(ends))
	}
	twice := func(x *index) { x.blobs = append(x.blobs, x.blobs[len(x.blobs)-1]) }
	for name, change := range map[string]func(x *index){
		"a blob twice":        twice,
		"blobs out of order":  func(x *index) { x.blobs[0], x.blobs[1] = x.blobs[1], x.blobs[0] },
		"a record twice":      func(x *index) { x.records[1].key = x.records[0].key },
		"a tag that is none":  func(x *index) { x.merged[0] = "latest" },
		"tags out of order":   func(x *index) { x.merged[0], x.merged[1] = x.merged[1], x.merged[0] },
		"a time to come":      func(x *index) { x.records[0].time = -1 },
		"a blob too large":    func(x *index) { x.blobs[0].size = maxBlobSize + 1 },
		"a record too long":   func(x *index) { x.records[0].data = make([]byte, maxInline+1) },
		"a long record, more": func(x *index) { x.records[2].size = cache.MaxRecord + 1 },
	} {
		x := sample()
		change(x)
		if _, err := parse(x.encode()); !errors.Is(err, errFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestExpandIsBounded: a few bytes that stand for gigabytes.
func TestExpandIsBounded(t *testing.T) {
	bomb, err := compress(make([]byte, 8<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := expand(bomb, 8<<20-1); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("%d bytes: %v", len(bomb), err)
	}
}

// FuzzParse: what is accepted is what encode writes of it, and nothing panics.
func FuzzParse(f *testing.F) {
	f.Add([]byte(indexHeader))
	f.Add(sample().encode())
	f.Add(append(sample().encode(), 'b'))
	f.Fuzz(func(t *testing.T, data []byte) {
		if x, err := parse(data); err == nil && !bytes.Equal(x.encode(), data) {
			t.Errorf("%q is read as %q", data, x.encode())
		}
		if out, err := expand(data, 1<<16); err == nil && len(out) > 1<<16 {
			t.Errorf("%d bytes", len(out))
		}
		_, _ = indexOf(data)
	})
}

// TestSplit: no manifest names too many blobs, none is lost, blobs come before records, and the last replaces.
func TestSplit(t *testing.T) {
	for _, n := range []struct{ blobs, records, long int }{{0, 0, 0}, {1, 1, 0}, {0, 5, 1}, {maxBlobs, 10, 0}, {3*maxBlobs + 1, 10_000, maxBlobs}, {0, 0, 2 * maxBlobs}} {
		x := &index{}
		for i := range n.blobs {
			x.blobs = append(x.blobs, blob{digest: cache.Digest{byte(i >> 16), byte(i >> 8), byte(i)}})
		}
		for i := range n.records + n.long {
			r := record{key: cache.Key{byte(i >> 16), byte(i >> 8), byte(i)}, data: []byte{}}
			if i >= n.records {
				r.blob, r.data = cache.Digest{1, byte(i >> 16), byte(i >> 8), byte(i)}, nil
			}
			x.records = append(x.records, r)
		}
		parts := split(x, []string{"w" + strings.Repeat("0", 28)})
		blobs, records := 0, 0
		for i, p := range parts {
			if len(p.content()) > maxBlobs {
				t.Errorf("%+v: %d blobs in one", n, len(p.content()))
			}
			if records > 0 && len(p.blobs) > 0 {
				t.Errorf("%+v: blobs after records", n)
			}
			if last := i == len(parts)-1; last != (len(p.merged) == 1) {
				t.Errorf("%+v: part %d of %d replaces %d", n, i, len(parts), len(p.merged))
			}
			blobs += len(p.blobs)
			records += len(p.records)
			raw, _, err := manifest("main-w", time.Unix(0, 0), nil, p, false)
			if err != nil || len(raw) > 1<<20 {
				t.Errorf("%+v: a manifest of %d bytes, %v", n, len(raw), err)
			}
		}
		if blobs != n.blobs || records != n.records+n.long {
			t.Errorf("%+v: %d blobs, %d records", n, blobs, records)
		}
	}
}
