//go:build linux

package faulttest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// kinds are what files of a cache there are, and which damage may be an error rather than a miss.
var kinds = []struct {
	name     string
	match    *regexp.Regexp
	mayFail  []string // with one of these in the error the build may say what is wrong instead of going on
	excluded bool
}{
	{name: "version", match: regexp.MustCompile(`^version$`), mayFail: []string{"cache: "}},
	{name: "tag", match: regexp.MustCompile(`^CACHEDIR\.TAG$`)},
	{name: "record", match: regexp.MustCompile(`^records/`)},
	// A sink that is in the middle of a layer cannot begin again with another.
	{name: "blob", match: regexp.MustCompile(`^blobs/`), mayFail: []string{"damaged and must be made again", "missing in the cache"}},
	{name: "manifest of a directory", match: regexp.MustCompile(`^private/snapshots/.*/manifest$`)},
	{name: "file of a directory", match: regexp.MustCompile(`^private/snapshots/.*/fs/`)},
	{name: "lock", match: regexp.MustCompile(`(^|/|\.)(locks?|gate)$`)},
	{name: "memo", match: regexp.MustCompile(`^private/memo/`)},
	{name: "log", match: regexp.MustCompile(`^private/logs/`)},
	{name: "git", match: regexp.MustCompile(`^private/git/`)},
	{name: "journal", match: regexp.MustCompile(`^journal/`)},
	// What is in them is the commands' own, and in no image but by what they do with it.
	{name: "cache mount", match: regexp.MustCompile(`^private/mounts/`), excluded: true},
}

func kindOf(t *testing.T, rel string) int {
	for i, k := range kinds {
		if k.match.MatchString(rel) {
			return i
		}
	}
	t.Fatalf("%s is a kind of file that this test does not know", rel)
	return 0
}

// regions is into how many parts a file is cut, each of which is damaged in its turn.
const regions = 16

// harm is one damage of one file.
type harm struct {
	what string
	do   func(r *rand.Rand, data []byte) []byte
}

// harms returns what is done to a file of n bytes. By the time it is done, the file may have another length: a build writes to the journal.
func harms(n int) []harm {
	list := []harm{{"appended to", func(_ *rand.Rand, b []byte) []byte { return append(b, "more\n"...) }}}
	if n == 0 {
		return list
	}
	list = append(list, harm{"zeroed", func(_ *rand.Rand, b []byte) []byte { return make([]byte, len(b)) }})
	parts := min(regions, n)
	for i := range parts {
		from, to := n*i/parts, n*(i+1)/parts
		list = append(list,
			harm{fmt.Sprintf("cut in bytes %d to %d", from, to), func(r *rand.Rand, b []byte) []byte { return b[:min(len(b), from+r.IntN(to-from))] }},
			harm{fmt.Sprintf("flipped in bytes %d to %d", from, to), func(r *rand.Rand, b []byte) []byte {
				if at := from + r.IntN(to-from); at < len(b) {
					b[at] ^= 1 << r.IntN(8)
				}
				return b
			}})
	}
	return list
}

// victim is a cache with one graph in it.
type victim struct {
	*bench
	t       *testing.T
	wanted  wanted
	cache   string
	files   map[string]int // path to kind, of the undamaged cache
	renewed int
	seen    map[string]int // of each kind: how often a build went on, and failed
}

// Every part of every file in a cache is damaged, one at a time: what builds next builds the golden digest, or says what is wrong.
func testDamage(t *testing.T, w *world) {
	r := chance(0)
	seen := map[string]int{}
	var victims []*victim
	for _, g := range w.shuffled() {
		v := &victim{bench: &bench{world: w, ctx: t.Context()}, t: t, wanted: wanted{g, 0}, seen: seen}
		w.goldenOf(t, v.wanted)
		v.renew()
		victims = append(victims, v)
	}
	began := time.Now()
	if *soak {
		for _, v := range victims {
			v.all(r)
			t.Logf("%s: %v in %v", v.wanted, seen, time.Since(began).Round(time.Second))
		}
	}
	for i := 0; !*soak && budget(t, began, i); i++ {
		r := chance(1 + i)
		victims[r.IntN(len(victims))].one(r, r.IntN(len(kinds)))
	}
	t.Logf("%v in %v", seen, time.Since(began).Round(time.Second))
}

// renew builds in another cache.
func (v *victim) renew() {
	v.t.Helper()
	if v.cache != "" {
		if err := os.RemoveAll(v.cache); err != nil {
			v.t.Fatal(err)
		}
	}
	v.renewed++
	v.cache = v.in(fmt.Sprintf("%s-%d", v.wanted.Graph, v.renewed))
	v.files = map[string]int{}
	if err := v.attempt(); err != nil {
		v.t.Fatalf("%s in a new cache: %v", v.wanted, err)
	}
	err := filepath.WalkDir(v.cache, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			rel := strings.TrimPrefix(p, v.cache+"/")
			v.files[rel] = kindOf(v.t, rel)
		}
		return err
	})
	if err != nil {
		v.t.Fatal(err)
	}
}

var errWrong = errors.New("WRONG IMAGE")

// attempt builds and compares with the golden digest.
func (v *victim) attempt() error {
	ctx, stop := context.WithTimeout(v.t.Context(), *hang)
	defer stop()
	b := *v.bench
	b.ctx = ctx
	var digest string
	err := v.within(v.t, 2**hang, v.wanted.String(), func() (err error) {
		digest, _, err = b.build(v.cache, v.wanted, nil)
		return err
	})
	if err == nil && digest != v.goldenOf(v.t, v.wanted) {
		err = fmt.Errorf("%w: %s", errWrong, digest)
	}
	return err
}

// one damages one file of a kind, if there is one, in one way.
func (v *victim) one(r *rand.Rand, kind int) {
	var names []string
	for name, k := range v.files {
		if k == kind && !kinds[k].excluded {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	name := names[r.IntN(len(names))]
	info, err := os.Stat(filepath.Join(v.cache, name))
	if err != nil {
		return // an earlier damage has cost it, and nobody needed it again
	}
	all := harms(int(info.Size()))
	v.harm(r, name, all[r.IntN(len(all))])
}

// all damages each file in every way.
func (v *victim) all(r *rand.Rand) {
	for _, name := range slices.Sorted(maps.Keys(v.files)) {
		k := v.files[name]
		info, err := os.Stat(filepath.Join(v.cache, name))
		if kinds[k].excluded || err != nil {
			continue
		}
		for _, h := range harms(int(info.Size())) {
			v.harm(r, name, h)
			if v.t.Failed() {
				return
			}
		}
	}
}

// harm damages a file, and lets it be found: by a build that finds all else, and at times by one that finds only a part of it, so
// that it looks at what is below.
func (v *victim) harm(r *rand.Rand, name string, h harm) {
	v.t.Helper()
	kind, path := kinds[v.files[name]], filepath.Join(v.cache, name)
	was, err := os.ReadFile(path)
	if err != nil {
		return
	}
	bad := h.do(r, bytes.Clone(was))
	if bytes.Equal(was, bad) {
		return
	}
	if r.IntN(2) == 0 {
		evictBut(v.t, v.cache, r, name)
	}
	v.write(path, bad)
	err = v.attempt()
	switch {
	case err == nil:
		v.seen[kind.name+": built"]++
	case !errors.Is(err, errWrong) && slices.ContainsFunc(kind.mayFail, func(text string) bool { return strings.Contains(err.Error(), text) }):
		v.seen[kind.name+": said so"]++
	default:
		v.t.Errorf("%s: %s (%d bytes) %s: %v; and the next build: %v", v.wanted, name, len(was), h.what, err, v.attempt())
		v.renew()
		return
	}
	if err != nil && kind.name == "blob" { // it has said so once, and made it again by now
		if err := v.attempt(); err != nil {
			v.t.Errorf("%s: %s (%d bytes) %s: again: %v", v.wanted, name, len(was), h.what, err)
		}
	}
	// What is still damaged was not looked at: the next must not meet two at once.
	if now, err := os.ReadFile(path); err == nil && bytes.Equal(now, bad) {
		v.write(path, was)
	}
	if err := v.attempt(); err != nil {
		v.t.Errorf("%s: after %s %s: %v", v.wanted, name, h.what, err)
		v.renew()
	}
}

// write changes a file where it is, and leaves its time of modification as it was: nothing but the bytes is different, and what no
// program can hide.
func (v *victim) write(path string, data []byte) {
	v.t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		v.t.Fatal(err)
	}
	err = os.Chmod(path, 0o600)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err := errors.Join(err, os.Chmod(path, info.Mode()), os.Chtimes(path, info.ModTime(), info.ModTime())); err != nil {
		v.t.Fatal(err)
	}
}

// evictBut removes half of the records and blobs, but not the one that is to be damaged.
func evictBut(t *testing.T, cache string, r *rand.Rand, name string) {
	t.Helper()
	aside := filepath.Join(cache, "aside")
	keep := strings.HasPrefix(name, "records/") || strings.HasPrefix(name, "blobs/")
	if keep {
		if err := os.Rename(filepath.Join(cache, name), aside); err != nil {
			t.Fatal(err)
		}
	}
	evict(t, cache, r, "records", 0.5)
	evict(t, cache, r, "blobs", 0.2)
	if keep {
		if err := os.Rename(aside, filepath.Join(cache, name)); err != nil {
			t.Fatal(err)
		}
	}
}
