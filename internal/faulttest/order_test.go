//go:build linux

package faulttest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const fileCalls = "rename,renameat,renameat2,link,linkat,fsync,fdatasync,syncfs"

var (
	twoPaths   = regexp.MustCompile(`"([^"]+)".*"([^"]+)"`)
	descriptor = regexp.MustCompile(`^\d+<([^>]*)>`)
	digests    = regexp.MustCompile(`[0-9a-f]{64}`)
)

// recorder is what of a cache has reached the disk, by the system calls that builds made: the recording file system.
type recorder struct {
	cache string
	calls []call
}

// early returns the records that could be seen before what they name was on the disk: its bytes, and its name.
func (d *recorder) early(blobs map[string]bool) (list []string, records int) {
	for i, c := range d.calls {
		to, ok := d.renamed(c)
		if !ok || !strings.HasPrefix(to, "records/") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(d.cache, to))
		if err != nil || d.again(i, to) {
			continue // another is there by now, whose names this one had not
		}
		records++
		for _, name := range digests.FindAllString(string(data), -1) {
			if blobs[name] {
				if why := d.missing(c, name); why != "" {
					list = append(list, fmt.Sprintf("%s names %s, %s", to, name, why))
				}
			}
		}
	}
	return list, records
}

// renamed returns where in the cache a call has put a file.
func (d *recorder) renamed(c call) (to string, ok bool) {
	if !c.OK || !strings.HasPrefix(c.Name, "rename") && !strings.HasPrefix(c.Name, "link") {
		return "", false
	}
	m := twoPaths.FindStringSubmatch(c.Text)
	if m == nil {
		return "", false
	}
	return strings.CutPrefix(m[2], d.cache+"/")
}

func (d *recorder) again(i int, name string) bool {
	return slices.ContainsFunc(d.calls[i+1:], func(c call) bool { to, ok := d.renamed(c); return ok && to == name })
}

// missing says what of a blob was not on the disk when a record was renamed into place; empty when all was. A blob that no traced call made is
// older than the trace.
func (d *recorder) missing(record call, blob string) string {
	name := filepath.Join("blobs/sha256", blob[:2], blob)
	made := -1
	temp := ""
	for _, c := range d.calls {
		if to, ok := d.renamed(c); ok && to == name && c.Begin < record.Begin {
			made = c.End
			temp = twoPaths.FindStringSubmatch(c.Text)[1]
		}
	}
	if made < 0 {
		return ""
	}
	path := filepath.Join(d.cache, name)
	switch {
	case !d.synced(0, record.Begin, path) && !d.synced(0, record.Begin, temp):
		return "whose bytes were not synced"
	case !d.synced(made, record.Begin, filepath.Dir(path)):
		return "whose name was not synced"
	}
	return ""
}

// synced reports whether a file or directory was synced between two lines of the trace.
func (d *recorder) synced(from, to int, path string) bool {
	return slices.ContainsFunc(d.calls, func(c call) bool {
		if !c.OK || c.Begin < from || c.End >= to {
			return false
		}
		if c.Name == "syncfs" {
			return true
		}
		m := descriptor.FindStringSubmatch(c.Text)
		return strings.HasSuffix(c.Name, "sync") && m != nil && m[1] == path
	})
}

// No record can be seen before the content that it names is on the disk, in any build: the first, one that finds a part, and two at once.
func testSyncOrder(t *testing.T, w *world) {
	needsStrace(t)
	r := chance(0)
	began, records := time.Now(), 0
	for _, g := range w.shuffled() {
		cache := w.in("cache-" + g)
		for v := range variants {
			records += w.syncOrder(t, cache, []wanted{{g, v}})
			evict(t, cache, r, "records", 0.5)
			evict(t, cache, r, "blobs", 0.3)
		}
		records += w.syncOrder(t, cache, []wanted{{g, 0}, {g, 1}})
		if !budget(t, began, records) {
			break
		}
	}
	t.Logf("%d records", records)
}

// syncOrder builds and returns how many records it looked at.
func (w *world) syncOrder(t *testing.T, cache string, builds []wanted) int {
	t.Helper()
	o := &order{World: w, Cache: cache, Builds: builds}
	calls, got, err := o.traced(t, supported()(fileCalls))
	w.want(t, o, got, err)
	d := &recorder{cache: cache, calls: calls}
	blobs := map[string]bool{}
	files, _ := filepath.Glob(filepath.Join(cache, "blobs/sha256/*/*"))
	for _, f := range files {
		blobs[filepath.Base(f)] = true
	}
	early, n := d.early(blobs)
	for _, e := range early {
		t.Errorf("%v: %s", builds, e)
	}
	// The control: where nothing is synced, the same trace has records that are early.
	d.calls = slices.DeleteFunc(calls, func(c call) bool { return strings.HasSuffix(c.Name, "sync") || c.Name == "syncfs" })
	if early, _ := d.early(blobs); n > 0 && len(early) == 0 {
		t.Logf("%v: of %d records none names a blob that is new", builds, n)
	}
	return n
}
