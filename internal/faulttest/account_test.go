//go:build linux

package faulttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage/local"
)

// deed is something that one of several processes did in a cache, and between which readings of the clock that all of them share.
type deed struct {
	Kind     string   // executed, kept, missed or collected
	Name     string   // the command or function; the key of the result
	Entries  []string // of a result: where the cache has it; of a collection: what it removed
	From, To int64
}

// books is a file in which processes write what they do.
type books string

// clock is the same for all processes, and nobody sets it.
func clock() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

// note writes down what ends now, with one write, for several processes at once.
func (b books) note(d deed) {
	d.To = clock()
	line, err := json.Marshal(d)
	if err == nil {
		var f *os.File
		if f, err = os.OpenFile(string(b), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644); err == nil {
			_, err = f.Write(append(line, '\n'))
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		panic(err)
	}
}

// read returns everything that was noted.
func (b books) read(t *testing.T) []deed {
	t.Helper()
	f, err := os.Open(string(b))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []deed
	for in := json.NewDecoder(f); in.More(); {
		var d deed
		if err := in.Decode(&d); err != nil {
			t.Fatal(err)
		}
		list = append(list, d)
	}
	return list
}

// noted is a cache that writes down which results of executed steps are kept in it, and which records were asked for and are not there.
type noted struct {
	*cache.Disk
	books
}

func (s *noted) Get(ctx context.Context, key cache.Key) ([]byte, error) {
	from := clock()
	data, err := s.Disk.Get(ctx, key)
	if errors.Is(err, cache.ErrNotFound) {
		s.note(deed{Kind: "missed", Name: key.Hex(), From: from})
	}
	return data, err
}

func (s *noted) Put(ctx context.Context, key cache.Key, data []byte) error {
	from := clock()
	err := s.Disk.Put(ctx, key, data)
	// A step that was executed is kept under the key of what it saw, by who executed it. Records that name this key are those of steps that
	// found it.
	var r struct {
		Content                 cache.Key
		Changes, Pack, Snapshot cache.Digest
	}
	if json.Unmarshal(data, &r) != nil || r.Content != key {
		return err
	}
	d := deed{Kind: "kept", Name: key.Hex(), From: from, Entries: []string{entry(cache.KindRecord, key.Hex())}}
	for _, blob := range []cache.Digest{r.Changes, r.Pack} {
		if !blob.IsZero() {
			d.Entries = append(d.Entries, entry(cache.KindBlob, blob.Hex()))
		}
	}
	if !r.Snapshot.IsZero() {
		d.Entries = append(d.Entries, entry(local.KindSnapshot, r.Snapshot.Hex()))
	}
	s.note(d)
	return err
}

func entry(k cache.Kind, id string) string { return string(k) + " " + id }

// balance is what the books say of all results together.
type balance struct {
	executed, distinct, evicted int
	wrong                       []string
}

// balanceOf holds the executions of each step against what was removed: all but the first of a key make up for one collection that, after the execution
// before, removed something of what that one had left, and no collection is made up for twice; and who asked for a result
// that was not there has had it executed, or saw another execute it. So executed = distinct + evicted, exactly, where evicted counts a
// result once, however much of it was removed, and only if it was asked for again: nobody executes for the others, and a collection is
// not to blame for them. A collection whose interval overlaps an execution may have removed the entry before or after: there, and only
// there, the intervals leave both open.
func balanceOf(deeds []deed) balance {
	var b balance
	kept, executed := map[string][]deed{}, map[string]int{}
	var collections []deed
	for _, d := range deeds {
		switch d.Kind {
		case "executed":
			b.executed++
			executed[d.Name]++
		case "kept":
			kept[d.Name] = append(kept[d.Name], d)
		case "collected":
			collections = append(collections, d)
		}
	}
	slices.SortFunc(collections, func(a, b deed) int { return int(a.From - b.From) }) // one waits for the other
	b.distinct = len(executed)
	if len(kept) != len(executed) {
		b.wrong = append(b.wrong, fmt.Sprintf("%d different steps were executed, and the results of %d kept", len(executed), len(kept)))
	}
	for key, results := range kept {
		slices.SortFunc(results, func(a, b deed) int { return int(a.From - b.From) })
		next := 0
		for i, r := range results[1:] {
			before := results[i]
			for next < len(collections) && !(collections[next].To > before.From && removes(collections[next], before)) {
				next++
			}
			if next == len(collections) || collections[next].From > r.To {
				b.wrong = append(b.wrong, fmt.Sprintf("result %s was executed again (%d) although nothing of it was removed since", key, i+2))
				continue
			}
			next++
			b.evicted++
		}
	}
	for _, d := range deeds {
		if results := kept[d.Name]; d.Kind == "missed" && len(results) > 0 && results[len(results)-1].To < d.From {
			b.wrong = append(b.wrong, fmt.Sprintf("result %s was asked for, was not there, and was not executed again", d.Name))
		}
	}
	if b.executed != b.distinct+b.evicted {
		b.wrong = append(b.wrong, fmt.Sprintf("%d executed, but %d distinct and %d of them evicted and asked for again", b.executed, b.distinct, b.evicted))
	}
	return b
}

func removes(collection, result deed) bool {
	return slices.ContainsFunc(result.Entries, func(e string) bool { return slices.Contains(collection.Entries, e) })
}

// The books are only worth what they find.
func TestBalance(t *testing.T) {
	executed := func(at int64) deed { return deed{Kind: "executed", Name: "make", From: at, To: at} }
	kept := func(at int64) deed {
		return deed{Kind: "kept", Name: "K", From: at, To: at, Entries: []string{"record K", "blob B"}}
	}
	collected := func(from, to int64, entries ...string) deed {
		return deed{Kind: "collected", From: from, To: to, Entries: entries}
	}
	missed := func(at int64) deed { return deed{Kind: "missed", Name: "K", From: at, To: at} }
	once := []deed{missed(1), executed(2), kept(3)}
	for _, c := range []struct {
		name    string
		then    []deed
		evicted int
		wrong   string
	}{
		{name: "once"},
		{name: "evicted, and not asked for", then: []deed{collected(4, 5, "record K", "blob B")}},
		{name: "evicted and asked for", then: []deed{collected(4, 5, "record K"), missed(6), executed(7), kept(8)}, evicted: 1},
		{name: "of which a part was evicted", then: []deed{collected(4, 5, "blob B"), executed(7), kept(8)}, evicted: 1},
		{name: "evicted while it is asked for", then: []deed{collected(4, 9, "record K"), missed(6), executed(7), kept(8)}, evicted: 1},
		{name: "twice for no reason", then: []deed{executed(7), kept(8)}, wrong: "although nothing of it was removed"},
		{name: "twice for another's eviction", then: []deed{collected(4, 5, "record L"), executed(7), kept(8)}, wrong: "although nothing of it was removed"},
		{name: "twice for an eviction before", then: []deed{collected(1, 2, "record K"), executed(7), kept(8)}, wrong: "although nothing of it was removed"},
		{name: "twice for an eviction after", then: []deed{executed(7), kept(8), collected(9, 10, "record K")}, wrong: "although nothing of it was removed"},
		{name: "thrice for one eviction", then: []deed{collected(4, 5, "record K", "blob B"), executed(7), kept(8), executed(9), kept(10)}, evicted: 1, wrong: "(3)"},
		{name: "asked for in vain", then: []deed{collected(4, 5, "record K"), missed(6)}, wrong: "was not executed again"},
		{name: "executed and not kept", then: []deed{executed(7)}, wrong: "2 executed, but 1 distinct"},
	} {
		b := balanceOf(append(once[:len(once):len(once)], c.then...))
		if got := strings.Join(b.wrong, "; "); b.evicted != c.evicted || got != "" && c.wrong == "" || !strings.Contains(got, c.wrong) {
			t.Errorf("%s: %+v", c.name, b)
		}
	}
}
