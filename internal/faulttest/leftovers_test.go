//go:build linux

package faulttest_test

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// wantNoProcess waits until nothing that killed children started lives any more. Those are our own by then, as TestMain asked for.
func (w *world) wantNoProcess(t *testing.T) {
	t.Helper()
	deadline := time.Now().Add(dying)
	for {
		left := w.family.leftOver()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes are left: %+v; killed, these: %+v", left, w.family.kill(nil))
		}
		time.Sleep(2 * time.Millisecond) // nobody tells when a process that is no child of ours ends
	}
}

// process is what /proc says of one.
type process struct {
	pid, parent int
	state       byte
	name        string
}

// below lists the processes below one, but neither those of spare nor what is below those.
func below(pid int, spare map[int]bool) []process {
	ours := map[int]bool{pid: true}
	for p := range spare {
		ours[p] = false
	}
	all := processes()
	var list []process
	for changed := true; changed; {
		changed = false
		for _, p := range all {
			if _, known := ours[p.pid]; known || !ours[p.parent] {
				continue
			}
			ours[p.pid], changed = true, true
			list = append(list, p)
		}
	}
	return list
}

// processes lists all.
func processes() []process {
	dirs, _ := filepath.Glob("/proc/[0-9]*/stat")
	var all []process
	for _, name := range dirs {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		open, closing := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
		rest := strings.Fields(string(text[closing+1:]))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text[:open])))
		parent, _ := strconv.Atoi(rest[1])
		all = append(all, process{pid, parent, rest[0][0], string(text[open : closing+1])})
	}
	return all
}

// wantNoMount wants nothing of the world to be mounted where we can see it.
func (w *world) wantNoMount(t *testing.T) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if strings.Contains(line, w.Dir) {
			t.Errorf("mounted: %s", line)
		}
	}
}

// kept says which files may stay in a cache directory when nobody uses it. Everything else is what somebody left behind.
var kept = regexp.MustCompile(`^(` + strings.Join([]string{
	`version|CACHEDIR\.TAG|lock`,
	`blobs/sha256/[0-9a-f]{2}/[0-9a-f]{64}`,
	`records/[0-9a-f]{2}/[0-9a-f]{64}`,
	`private/snapshots/[^/]+/(locks|gate|tmp/lock|layers/[0-9a-f]{64}/(manifest|fs(/.*)?))`,
	`private/memo/[0-9a-f]{32}\.memo`,
	`private/logs/[0-9a-f]{64}\.log`,
	`private/mounts/[0-9]+/[0-9a-f]{64}(\.used|/(make\.lock|id|[0-9]+\.lock|[0-9]+/.*))`,
	`private/git/.*`,
	`journal/.*`,
}, "|") + `)$`)

// wantTidy wants no file in a cache directory that belongs to a build which is over, once the next one has had something to do: one
// that finds everything writes nothing, and removes nothing either.
func (w *world) wantTidy(t *testing.T, cache string) {
	t.Helper()
	if len(untidy(t, cache)) == 0 {
		return
	}
	o := &order{World: w, Cache: cache, Builds: []wanted{{"tidy", rand.IntN(1 << 30)}}}
	if got, err := o.run(t); err != nil {
		t.Errorf("%v %+v", err, got)
	}
	for _, name := range untidy(t, cache) {
		t.Errorf("left in the cache: %s", name)
	}
}

func untidy(t *testing.T, cache string) []string {
	t.Helper()
	var left []string
	err := filepath.WalkDir(cache, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if rel := strings.TrimPrefix(p, cache+"/"); !kept.MatchString(rel) {
			left = append(left, rel)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"tmp", "private/temporary", "private/snapshots/*/tmp"} {
		dirs, _ := filepath.Glob(filepath.Join(cache, dir, "*"))
		for _, d := range dirs {
			if info, err := os.Lstat(d); err == nil && info.IsDir() {
				left = append(left, strings.TrimPrefix(d, cache+"/")+"/")
			}
		}
	}
	return left
}

// wantEmptyTemp wants nothing in the directory that children take for /tmp.
func (w *world) wantEmptyTemp(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(w.in("tmp"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("left in TMPDIR: %s", e.Name())
	}
}
