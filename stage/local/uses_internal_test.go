package local

import (
	"reflect"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
)

// A list of uses is what was written, or nothing.
func TestUsesAreWholeOrNone(t *testing.T) {
	for _, u := range []*uses{
		{sources: []cache.Key{}, keys: []cache.Key{}, blobs: []cache.Digest{}, snapshots: []tree.Digest{}},
		{state: cache.Digest{1}, sources: []cache.Key{{2}, {3}}, keys: []cache.Key{{4}}, blobs: []cache.Digest{{5}, {6}, {7}}, snapshots: []tree.Digest{{8}}},
	} {
		data := u.encode()
		if got, ok := decodeUses(data); !ok || !reflect.DeepEqual(got, u) {
			t.Errorf("read back %+v, %v; want %+v", got, ok, u)
		}
		for n := range data {
			if _, ok := decodeUses(data[:n]); ok {
				t.Errorf("%d of %d bytes are taken for a list", n, len(data))
			}
		}
		if _, ok := decodeUses(append(data, 0)); ok {
			t.Error("a byte too many is taken for a list")
		}
	}
	huge := append(make([]byte, 32), 0xff, 0xff, 0xff, 0xff)
	if _, ok := decodeUses(huge); ok {
		t.Error("a number without entries is taken for a list")
	}
}
