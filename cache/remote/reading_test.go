package remote

import (
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// TestShow: what a union replaces does not count, even when it was read at the same time as the union; the rest is merged, the newest first.
func TestShow(t *testing.T) {
	s, err := Layout(t.TempDir(), "main", Options{})
	if err != nil {
		t.Fatal(err)
	}
	rec := func(key byte, time int64, text string) record {
		return record{key: cache.Key{key}, time: time, data: []byte(text)}
	}
	parts := []*part{
		{tag: "main-u2", index: &index{records: []record{rec(1, 5, "one")}}},
		{tag: "main-u1", index: &index{records: []record{rec(1, 9, "replaced"), rec(2, 1, "too old")}}},
		{tag: "main-w1", index: &index{records: []record{rec(1, 4, "older"), rec(3, 1, "three")}}},
		{tag: "main-w2", index: &index{records: []record{rec(1, 5, "as old, of a later tag"), rec(3, 2, "three again")}}},
	}
	s.show([]string{"main-u2", "main-u1", "main-w2", "main-w1", "main-w0"}, parts, map[string]bool{"main-u1": true, "main-w0": true})
	for key, want := range map[byte]string{1: "as old, of a later tag", 3: "three again"} {
		if got, ok := s.reading.record(cache.Key{key}); !ok || string(got.data) != want {
			t.Errorf("record %d: %q, %v; want %q", key, got.data, ok, want)
		}
	}
	if got, ok := s.reading.record(cache.Key{2}); ok {
		t.Errorf("of a replaced manifest: %q", got.data)
	}
	if v := s.reading.view; len(v.live) != 3 || len(v.dead) != 2 {
		t.Errorf("%d live, %d dead", len(v.live), len(v.dead))
	}
}
