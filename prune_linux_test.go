package stagewright_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// pruning is a cache directory with builds on a base image out of a registry.
type pruning struct {
	t       *testing.T
	dir     string
	ref     string
	context string
}

func newPruning(t *testing.T) *pruning {
	base := shell(t)
	reg := newRegistry(t)
	p := &pruning{t: t, dir: filepath.Join(t.TempDir(), "cache"), ref: reg.host + "/shell:1", context: t.TempDir()}
	builder(t)(base.File("/data/a", "1").File("/data/b", "2"), stagewright.Options{Sinks: []image.Sink{registry.Push(p.ref)}})
	if err := os.WriteFile(filepath.Join(p.context, "conf"), []byte("conf"), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// app has a stage that runs steps with a cache mount, and one that copies from it. last is in the last step only.
func (p *pruning) app(name, last string) (app, tool stage.Stage) {
	tool = stage.From(p.ref, stage.As("tool"+name)).
		Run("echo "+name+"; mkdir /out; seq 20000 > /out/a; cp /out/a /c/"+name, stage.CacheMount("/c", stage.ID("seq"))).
		Run("seq 100 >> /out/a; ln /out/a /out/b; echo done")
	app = stage.From(p.ref, stage.As("app"+name)).CopyFrom(tool, "/out/a", "/app/").Copy("conf", "/etc/").
		Run("wc -l /app/a > /lines; echo " + last + " > /last")
	return app, tool
}

func (p *pruning) build(s stage.Stage, o stagewright.Options) *stagewright.Result {
	p.t.Helper()
	o.CacheDir, o.Context = p.dir, stagewright.Dir(p.context)
	res, err := stagewright.Build(p.t.Context(), s, o)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { res.Close() })
	return res
}

// digestOf builds a stage, and returns its digest and how many steps ran.
func (p *pruning) digestOf(s stage.Stage, o stagewright.Options) (string, int) {
	p.t.Helper()
	res := p.build(s, o)
	defer res.Close()
	d, err := res.Digest()
	if err != nil {
		p.t.Fatal(err)
	}
	return d, res.Report().Ran()
}

func (p *pruning) prune(policy cache.Policy) *cache.Collection {
	p.t.Helper()
	done, err := stagewright.Prune(p.t.Context(), stagewright.Options{CacheDir: p.dir}, policy)
	if err != nil {
		p.t.Fatal(err)
	}
	return done
}

// stamps are the files whose times say when entries were last used, by the entries.
func (p *pruning) stamps() map[string]string {
	p.t.Helper()
	all := map[string]string{}
	for pattern, name := range map[string]func(string) string{
		"records/*/*":                           func(f string) string { return "record " + filepath.Base(f) },
		"blobs/sha256/*/*":                      func(f string) string { return "blob " + filepath.Base(f) },
		"private/snapshots/*/layers/*/manifest": func(f string) string { return "snapshot " + filepath.Base(filepath.Dir(f)) },
		"private/logs/*":                        func(f string) string { return "log " + filepath.Base(f) },
		"private/memo/*":                        func(f string) string { return "memo " + filepath.Base(f) },
		"private/mounts/*/*.used": func(f string) string {
			return "mount " + filepath.Base(filepath.Dir(f)) + "/" + strings.TrimSuffix(filepath.Base(f), ".used")
		},
	} {
		files, err := filepath.Glob(filepath.Join(p.dir, pattern))
		if err != nil {
			p.t.Fatal(err)
		}
		for _, f := range files {
			all[name(f)] = f
		}
	}
	return all
}

// age makes everything that is in the cache last used at a time. The record of when a build has marked its steps says that in its data: it goes.
func (p *pruning) age(used time.Time) {
	p.t.Helper()
	for name, f := range p.stamps() {
		if data, err := os.ReadFile(f); strings.HasPrefix(name, "record ") && bytes.Contains(data, []byte(`{"touched":`)) {
			if err := errors.Join(err, os.Remove(f)); err != nil {
				p.t.Fatal(err)
			}
			continue
		}
		if err := os.Chtimes(f, used, used); err != nil {
			p.t.Fatal(err)
		}
	}
}

func kindsOf(removed []cache.Removal) map[cache.Kind]int {
	kinds := map[cache.Kind]int{}
	for _, r := range removed {
		kinds[r.Kind]++
	}
	return kinds
}

func TestUsageIsWhatTheDiskSays(t *testing.T) {
	p := newPruning(t)
	app, _ := p.app("one", "1")
	p.digestOf(app, stagewright.Options{})
	usage, err := stagewright.Usage(t.Context(), stagewright.Options{CacheDir: p.dir})
	if err != nil {
		t.Fatal(err)
	}
	du := func(path string) int64 {
		out, err := exec.CommandContext(t.Context(), "du", "-s", "--block-size=1", path).Output()
		if err != nil {
			t.Skip("no du:", err)
		}
		n, _ := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
		return n
	}
	within := func(what string, got, want int64) {
		if diff := max(got-want, want-got); diff*100 > want {
			t.Errorf("%s: %d bytes, the disk says %d", what, got, want)
		}
	}
	within("total", usage.Total, du(p.dir))
	sum := usage.Other
	for _, k := range usage.Kinds {
		sum += k.Bytes
		if k.Entries == 0 && k.Kind != local.KindGit {
			t.Errorf("no %s", k.Kind)
		}
		if k.Kind == local.KindSnapshot {
			all, err := filepath.Glob(filepath.Join(p.dir, "private/snapshots/*/layers/*"))
			if err != nil {
				t.Fatal(err)
			}
			var want int64
			for _, dir := range all {
				want += du(dir)
			}
			within("snapshots", k.Bytes, want)
		}
		if k.Kind == local.KindMount {
			dirs, err := filepath.Glob(filepath.Join(p.dir, "private/mounts/*/*"))
			if err != nil {
				t.Fatal(err)
			}
			var want int64
			for _, path := range dirs {
				want += du(path)
			}
			within("mounts", k.Bytes, want)
		}
	}
	if sum != usage.Total {
		t.Errorf("the parts are %d, the total is %d", sum, usage.Total)
	}
}

// TestAgeRemovesWhatNoBuildUsed: of two images one is built on every day, from its last layers alone. All its steps are still there. On the
// first day what it uses is read out of the records of its steps, on others it is known.
func TestAgeRemovesWhatNoBuildUsed(t *testing.T) {
	t.Run("on the first day", func(t *testing.T) { ageRemovesWhatNoBuildUsed(t, 1) })
	t.Run("on another day", func(t *testing.T) { ageRemovesWhatNoBuildUsed(t, 3) })
}

func ageRemovesWhatNoBuildUsed(t *testing.T, days int) {
	p := newPruning(t)
	daily, _ := p.app("daily", "1")
	once, _ := p.app("once", "1")
	digest, _ := p.digestOf(daily, stagewright.Options{})
	other, all := p.digestOf(once, stagewright.Options{})
	long := time.Now().Add(-10 * 24 * time.Hour)
	for range days {
		p.age(long)
		if _, ran := p.digestOf(daily, stagewright.Options{}); ran != 0 {
			t.Fatalf("%d steps ran", ran)
		}
	}
	cutoff := time.Now().Add(-24 * time.Hour)
	var unused []string
	for name, f := range p.stamps() {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		if at, err := accessTime(f); err != nil || !info.ModTime().After(cutoff) && !at.After(cutoff) {
			unused = append(unused, name)
		}
	}
	var removed []string
	done := p.prune(cache.Policy{MaxAge: 24 * time.Hour})
	for _, r := range done.Removed {
		removed = append(removed, string(r.Kind)+" "+r.ID)
		if r.Reason != cache.ReasonAge {
			t.Errorf("%v", r)
		}
	}
	slices.Sort(unused)
	slices.Sort(removed)
	if !slices.Equal(unused, removed) || len(removed) == 0 {
		t.Errorf("removed\n%s\nof what was not used\n%s", strings.Join(removed, "\n"), strings.Join(unused, "\n"))
	}
	changed, _ := p.app("daily", "2")
	if _, ran := p.digestOf(changed, stagewright.Options{}); ran != 1 {
		t.Errorf("%d steps ran for a change of the last one", ran)
	}
	if got, ran := p.digestOf(daily, stagewright.Options{}); got != digest || ran != 0 {
		t.Errorf("the daily image is %s after %d steps, want %s", got, ran, digest)
	}
	if got, ran := p.digestOf(once, stagewright.Options{}); got != other || ran > all || ran == 0 {
		t.Errorf("the other image is %s after %d of %d steps, want %s", got, ran, all, other)
	}
}

func TestPruneByKind(t *testing.T) {
	p := newPruning(t)
	app, _ := p.app("one", "1")
	digest, _ := p.digestOf(app, stagewright.Options{})
	for _, kind := range []cache.Kind{local.KindLog, local.KindMemo, local.KindMount, local.KindSnapshot, cache.KindBlob, cache.KindRecord} {
		done := p.prune(cache.Policy{All: true, Kinds: []cache.Kind{kind}})
		if kinds := kindsOf(done.Removed); len(kinds) != 1 || kinds[kind] == 0 {
			t.Errorf("%s: removed %v", kind, kinds)
		}
		if done.Kept != 0 || done.Freed == 0 {
			t.Errorf("%s: freed %d, kept %d", kind, done.Freed, done.Kept)
		}
		if got, _ := p.digestOf(app, stagewright.Options{}); got != digest {
			t.Errorf("without %s the image is %s, want %s", kind, got, digest)
		}
		changed, _ := p.app("one", string(kind))
		p.digestOf(changed, stagewright.Options{}) // all that is still there is used
	}
}

// listing is what is in a directory, but the collector's own notes.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if name == "journal" || name == "tmp" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err == nil && !d.IsDir() {
			all[name] = fmt.Sprint(info.Mode(), info.ModTime())
			if !strings.HasSuffix(name, ".used") {
				all[name] += fmt.Sprint(" ", info.Size())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestADryRunChangesNothing(t *testing.T) {
	p := newPruning(t)
	app, _ := p.app("one", "1")
	digest, _ := p.digestOf(app, stagewright.Options{})
	before := listing(t, p.dir)
	would := p.prune(cache.Policy{All: true, DryRun: true})
	if after := listing(t, p.dir); !maps.Equal(before, after) {
		t.Errorf("the cache was %v, is %v", before, after)
	}
	done := p.prune(cache.Policy{All: true})
	if len(would.Removed) != len(done.Removed) || would.Freed != done.Freed || done.Kept != 0 {
		t.Errorf("%d entries of %d bytes would go; %d of %d went, %d bytes are left", len(would.Removed), would.Freed, len(done.Removed), done.Freed, done.Kept)
	}
	if left := p.stamps(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	got, ran := p.digestOf(app, stagewright.Options{})
	if got != digest || ran == 0 {
		t.Errorf("out of an empty cache the image is %s after %d steps, want %s", got, ran, digest)
	}
}

// TestPruneBesideARunningBuild: a step that runs has its files below it, and the build that it is part of ends as if it were alone.
func TestPruneBesideARunningBuild(t *testing.T) {
	p := newPruning(t)
	app, _ := p.app("one", "1")
	want, _ := p.digestOf(app, stagewright.Options{})
	waiting := app.Run("echo waiting; while [ ! -e /tell/go ]; do sleep 0.01; done; cat /app/a /etc/conf /lines > /all; ls / > /list",
		stage.CacheMount("/tell", stage.ID("tell")))
	old := time.Now().Add(-time.Hour)
	p.age(old)
	removed := map[cache.Kind]int{}
	tell := func(ev stage.Event) {
		if out, ok := ev.(stage.StepOutput); !ok || !strings.Contains(string(out.Data), "waiting") {
			return
		}
		for range 3 {
			for _, policy := range []cache.Policy{{All: true}, {MaxBytes: 1}, {MaxAge: 1}, {MinFree: 1 << 60}} {
				done := p.prune(policy)
				for kind, n := range kindsOf(done.Removed) {
					removed[kind] += n
				}
				if done.Lease.IsZero() {
					t.Error("no lease was seen")
				}
			}
		}
		all, err := filepath.Glob(filepath.Join(p.dir, "private/mounts/*/*/id"))
		for _, id := range all {
			if text, _ := os.ReadFile(id); string(text) == "tell" {
				err = errors.Join(err, os.WriteFile(filepath.Join(filepath.Dir(id), "0", "go"), nil, 0o644))
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	first := p.build(waiting, stagewright.Options{Progress: tell})
	digest, err := first.Digest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := first.Image()
	if err == nil {
		err = validate.Image(img)
	}
	if err != nil {
		t.Error(err)
	}
	if len(removed) == 0 {
		t.Error("nothing was removed beside the build")
	}
	first.Close()
	p.prune(cache.Policy{All: true})
	if left := p.stamps(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if got, _ := p.digestOf(waiting, stagewright.Options{Progress: tell}); got != digest {
		t.Errorf("alone the image is %s, beside collectors %s", got, digest)
	}
	if got, _ := p.digestOf(app, stagewright.Options{}); got != want {
		t.Errorf("the image below is %s, want %s", got, want)
	}
}

// TestAResultIsReadBesideACollector: an open result gives its image, whose layers it has used, and the files of its stages, which are made again.
func TestAResultIsReadBesideACollector(t *testing.T) {
	p := newPruning(t)
	app, tool := p.app("one", "1")
	want, _ := p.digestOf(app, stagewright.Options{})
	res := p.build(app, stagewright.Options{}) // it has marked nothing but the image: that was done a moment ago
	done := p.prune(cache.Policy{All: true})
	if kindsOf(done.Removed)[local.KindSnapshot] == 0 {
		t.Errorf("removed %v, no snapshot", kindsOf(done.Removed))
	}
	img, err := res.Image()
	if err == nil {
		err = validate.Image(img)
	}
	if err != nil {
		t.Errorf("the layers: %v", err)
	}
	for name, s := range map[string]stage.Stage{"out/b": tool, "lines": app} {
		p.prune(cache.Policy{All: true})
		files, err := res.FilesOf(s)
		if err != nil {
			t.Error(err)
			continue
		}
		p.prune(cache.Policy{All: true})
		if data, err := fs.ReadFile(files, name); err != nil || len(data) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(data), err)
		}
	}
	p.prune(cache.Policy{All: true})
	var out strings.Builder
	if err := res.Run(t.Context(), stage.Process{Argv: []string{"cat", "/last"}, Stdout: &out}); err != nil || out.String() != "1\n" {
		t.Errorf("a process: %q, %v", &out, err)
	}
	res.Close()
	p.prune(cache.Policy{All: true})
	if got, _ := p.digestOf(app, stagewright.Options{}); got != want {
		t.Errorf("the image is %s, want %s", got, want)
	}
}

func TestKeepRemovesNothingThatTheBuildUsed(t *testing.T) {
	p := newPruning(t)
	one, _ := p.app("one", "1")
	two, _ := p.app("two", "1")
	digest, all := p.digestOf(one, stagewright.Options{})
	p.digestOf(two, stagewright.Options{})
	for _, keep := range []cache.Policy{{All: true}, {MaxBytes: 1}, {MaxAge: 1}} {
		if got, ran := p.digestOf(two, stagewright.Options{Keep: keep}); ran != 0 {
			t.Errorf("%+v: %s after %d steps", keep, got, ran)
		}
	}
	changed, _ := p.app("two", "2")
	if _, ran := p.digestOf(changed, stagewright.Options{}); ran != 1 {
		t.Errorf("%d steps ran for a change of the last one", ran)
	}
	if got, ran := p.digestOf(one, stagewright.Options{}); got != digest || ran == 0 || ran > all {
		t.Errorf("what no build used: %s after %d of %d steps, want %s", got, ran, all, digest)
	}
}

func TestPruneMistakes(t *testing.T) {
	dir := t.TempDir()
	made, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err == nil {
		err = made.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		o    stagewright.Options
		p    cache.Policy
		want string
	}{
		{stagewright.Options{CacheDir: dir}, cache.Policy{MaxBytes: -1}, "MaxBytes is -1"},
		{stagewright.Options{CacheDir: dir}, cache.Policy{All: true, Kinds: []cache.Kind{"layers"}}, `"layers", which is not kept here; there are record, blob, snapshot, mount, git, log, memo`},
		{stagewright.Options{Store: cache.NewMemory()}, cache.Policy{All: true}, "only one on disk"},
	} {
		if _, err := stagewright.Prune(t.Context(), tt.o, tt.p); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.p, err)
		}
		tt.o.Keep = tt.p
		if _, err := stagewright.Build(t.Context(), stage.Scratch().File("/a", "a"), tt.o); err == nil || !strings.Contains(err.Error(), "Options.Keep") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Keep %+v: %v", tt.p, err)
		}
	}
	if _, err := stagewright.Usage(t.Context(), stagewright.Options{Store: cache.NewMemory()}); !errors.Is(err, stage.ErrUnsupported) {
		t.Errorf("usage of memory: %v", err)
	}
}

func accessTime(name string) (time.Time, error) {
	var st syscall.Stat_t
	err := syscall.Stat(name, &st)
	return time.Unix(st.Atim.Unix()), err
}
