package local_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// hostile says what a cache of others does to the records of steps.
type hostile struct {
	name   string
	change func(rec map[string]any)                              // of a step's record
	raw    func(data []byte) []byte                              // of any record
	blobs  func(t *testing.T, far *far) func(rec map[string]any) // makes blobs first
}

func layerOf(rec map[string]any) map[string]any {
	l, _ := rec["layer"].(map[string]any)
	if l == nil {
		return map[string]any{}
	}
	return l
}

func putBlob(t *testing.T, far *far, data []byte) string {
	t.Helper()
	d, err := cache.PutBlob(t.Context(), far.mem, data)
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

const nobody = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var hostiles = []hostile{
	{name: "no JSON", raw: func(data []byte) []byte { return data[:len(data)/2] }},
	{name: "empty", raw: func([]byte) []byte { return nil }},
	{name: "null", raw: func([]byte) []byte { return []byte("null") }},
	{name: "too long", raw: func(data []byte) []byte { return append(data, bytes.Repeat([]byte(" "), 2<<20)...) }},
	{name: "another machine's import", change: func(rec map[string]any) { rec["imported"] = true }},
	{name: "no such changes", change: func(rec map[string]any) { rec["changes"] = nobody }},
	{name: "no digest", change: func(rec map[string]any) { rec["changes"] = "sha256:../../etc/passwd" }},
	{name: "changes that are none", blobs: func(t *testing.T, far *far) func(map[string]any) {
		d := putBlob(t, far, []byte("garbage"))
		return func(rec map[string]any) { rec["changes"] = d }
	}},
	{name: "changes that do not fit", blobs: func(t *testing.T, far *far) func(map[string]any) {
		n := tree.NewFile(tree.Meta{Mode: 0o644}, tree.Digest{1}, 1, 0)
		d := putBlob(t, far, tree.Marshal([]tree.Change{{Path: "no/such/directory/file", Node: n}}))
		return func(rec map[string]any) { rec["changes"] = d }
	}},
	{name: "files that are nowhere", blobs: func(t *testing.T, far *far) func(map[string]any) {
		n := tree.NewFile(tree.Meta{Mode: 0o644}, tree.Digest{1}, 1, 0)
		d := putBlob(t, far, tree.Marshal([]tree.Change{{Path: "file", Node: n}}))
		return func(rec map[string]any) { rec["changes"] = d }
	}},
	{name: "a directory of this machine", change: func(rec map[string]any) { rec["snapshot"] = nobody }},
	{name: "a pack", change: func(rec map[string]any) { rec["pack"] = rec["changes"] }},
	{name: "negative counts", change: func(rec map[string]any) { rec["files"], rec["bytes"] = -1, -1 }},
	{name: "other files below", change: func(rec map[string]any) { rec["on"] = nobody }},
	{name: "no layer", change: func(rec map[string]any) { delete(rec, "layer") }},
	{name: "no such layer", change: func(rec map[string]any) { layerOf(rec)["digest"] = nobody }},
	{name: "a layer of another size", change: func(rec map[string]any) { layerOf(rec)["size"] = int64(1) << 60 }},
	{name: "a layer of a negative size", change: func(rec map[string]any) { layerOf(rec)["size"], layerOf(rec)["total"] = -1, -1 }},
	{name: "a layer of another diff ID", change: func(rec map[string]any) { layerOf(rec)["diffID"] = nobody }},
	{name: "blocks that are none", change: func(rec map[string]any) { layerOf(rec)["blocks"] = []int64{-1, 1 << 62} }},
	{name: "a layer that is none", blobs: func(t *testing.T, far *far) func(map[string]any) {
		d := putBlob(t, far, []byte("garbage"))
		return func(rec map[string]any) { layerOf(rec)["digest"], layerOf(rec)["size"] = d, len("garbage") }
	}},
	{name: "a layer without the files", blobs: func(t *testing.T, far *far) func(map[string]any) {
		empty := build(t, executor(t, t.TempDir(), local.Options{}), stage.Scratch().File("/other", "other"), stage.Request{})
		layers, err := empty.Outputs()[0].Image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		rc, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer rc.Close()
		var data bytes.Buffer
		if _, err := data.ReadFrom(rc); err != nil {
			t.Fatal(err)
		}
		d := putBlob(t, far, data.Bytes())
		diff, err := layers[0].DiffID()
		if err != nil {
			t.Fatal(err)
		}
		return func(rec map[string]any) {
			l := layerOf(rec)
			l["digest"], l["size"], l["diffID"] = d, data.Len(), diff.String()
		}
	}},
	{name: "an output that is not there", change: func(rec map[string]any) {
		if rec["output"] != nil {
			rec["output"] = map[string]any{"stdout": nobody, "code": 0}
		}
	}},
	{name: "a bad output", change: func(rec map[string]any) {
		if rec["output"] != nil {
			rec["output"] = "text"
		}
	}},
}

// TestHostileCache: whatever the records of another machine say, the build ends with the image that it has without them.
func TestHostileCache(t *testing.T) {
	target, request := project(t, "one")
	good := newFar()
	export(t, build(t, executor(t, t.TempDir(), local.Options{}), target, request), good, local.ExportOptions{Mode: local.CacheMax})
	want := digest(t, build(t, executor(t, t.TempDir(), local.Options{}), target, changedSource()))
	for _, h := range hostiles {
		t.Run(h.name, func(t *testing.T) {
			bad := good.copied(t, func(far *far) func([]byte) []byte {
				change := h.change
				if h.blobs != nil {
					change = h.blobs(t, far)
				}
				if h.raw != nil {
					return h.raw
				}
				return func(data []byte) []byte {
					var rec map[string]any
					if err := json.Unmarshal(data, &rec); err != nil {
						t.Fatal(err)
					}
					if _, step := rec["files"]; !step {
						return data
					}
					change(rec)
					data, err := json.Marshal(rec)
					if err != nil {
						t.Fatal(err)
					}
					return data
				}
			})
			dir := t.TempDir()
			for _, times := range []string{"first", "second"} {
				e := executor(t, dir, local.Options{From: []cache.Store{bad}})
				res := build(t, e, target, changedSource())
				if got := digest(t, res); got != want {
					t.Errorf("the %s build: digest %s, want %s", times, got, want)
				}
				if got := read(t, res, "program"); got != "tool\na\nchanged\n" {
					t.Errorf("the %s build: program %q", times, got)
				}
			}
		})
	}
}

// copied is a store with changed records.
func (f *far) copied(t *testing.T, prepare func(*far) func([]byte) []byte) *far {
	t.Helper()
	to := newFar()
	for d := range f.blobs {
		data, err := cache.ReadBlob(t.Context(), f.mem, d, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		putBlob(t, to, data)
	}
	change := prepare(to)
	for k := range f.keys {
		data, err := f.mem.Get(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.Put(t.Context(), k, change(data)); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// TestDeadCache: a cache that fails is told of once, and asked no more.
func TestDeadCache(t *testing.T) {
	target, request := project(t, "one")
	good := newFar()
	want := build(t, executor(t, t.TempDir(), local.Options{}), target, request)
	export(t, want, good, local.ExportOptions{Mode: local.CacheMax})
	down := errors.New("the line is down")
	for _, call := range []string{"get", "open", "read"} {
		t.Run(call, func(t *testing.T) {
			dead := good.copied(t, func(*far) func([]byte) []byte { return bytes.Clone })
			dead.take()
			dead.fail = func(c string) error {
				if c == call {
					return down
				}
				return nil
			}
			var notices []string
			request := request
			request.Progress = func(e stage.Event) {
				if n, ok := e.(stage.Notice); ok && strings.Contains(n.Text, down.Error()) {
					notices = append(notices, n.Text)
				}
			}
			res := build(t, executor(t, t.TempDir(), local.Options{From: []cache.Store{dead}}), target, request)
			if digest(t, res) != digest(t, want) {
				t.Errorf("digest %s, want %s", digest(t, res), digest(t, want))
			}
			if got := read(t, res, "program"); got != "tool\na\nb\n" {
				t.Errorf("program %q", got)
			}
			if call == "read" {
				return // of a hit nothing is read
			}
			if len(notices) != 1 || !strings.Contains(notices[0], "cache far away") {
				t.Errorf("notices %q", notices)
			}
			if calls, _ := dead.take(); calls[call] > 2 { // one that was under way
				t.Errorf("asked %v", calls)
			}
		})
	}
}

// TestExportEnds: a cancelled export ends with the context's error, and a store that fails with its own.
func TestExportEnds(t *testing.T) {
	res := build(t, executor(t, t.TempDir(), local.Options{}), stage.Scratch().File("/a", "a"), stage.Request{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := local.ExportCache(ctx, res, newFar(), local.ExportOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	full := errors.New("no room")
	for _, call := range []string{"get", "open", "put", "create"} {
		to := newFar()
		to.fail = func(c string) error {
			if c == call {
				return full
			}
			return nil
		}
		if _, err := local.ExportCache(t.Context(), res, to, local.ExportOptions{}); !errors.Is(err, full) || !strings.Contains(err.Error(), "cache far away") {
			t.Errorf("%s: %v", call, err)
		}
	}
	if got := read(t, res, "a"); got != "a" {
		t.Errorf("the result has %q", got)
	}
	if err := res.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := local.ExportCache(t.Context(), res, newFar(), local.ExportOptions{}); err == nil {
		t.Error("a closed result was exported")
	}
}

// TestExportMounts: cache mounts travel by id when that is asked for, and fill a mount that has nothing yet.
func TestExportMounts(t *testing.T) {
	base := shell(t)
	fill := base.Run("mkdir /c/d; echo one > /c/d/a; echo other > /o/b", stage.CacheMount("/c", stage.ID("modules")), stage.CacheMount("/o"))
	first := build(t, executor(t, t.TempDir(), local.Options{}), fill, stage.Request{})
	for _, test := range []struct {
		ids  []string
		want string
	}{
		{nil, "none none"},
		{[]string{"modules"}, "one none"},
		{[]string{local.AllMounts}, "one other"},
	} {
		to := newFar()
		export(t, first, to, local.ExportOptions{Mounts: test.ids})
		if again := export(t, first, to, local.ExportOptions{Mounts: test.ids}); again.How != "there already" || again.Blobs > 0 {
			t.Errorf("%q: again %+v", test.ids, again)
		}
		look := base.Run("echo $(cat /c/d/a || echo none) $(cat /o/b || echo none) > /seen; echo two > /c/d/a 2> /dev/null; true",
			stage.CacheMount("/c", stage.ID("modules")), stage.CacheMount("/o"))
		dir := t.TempDir()
		e := executor(t, dir, local.Options{From: []cache.Store{to}})
		if got := strings.TrimSpace(read(t, build(t, e, look, stage.Request{}), "seen")); got != test.want {
			t.Errorf("%q: the step saw %q, want %q", test.ids, got, test.want)
		}
		if test.ids == nil {
			continue
		}
		// What is there stays.
		again := base.Run("cat /c/d/a > /again", stage.CacheMount("/c", stage.ID("modules")))
		if got := read(t, build(t, e, again, stage.Request{}), "again"); got != "two\n" {
			t.Errorf("%q: the next step saw %q", test.ids, got)
		}
	}

	// An id that there is not is told, and everything else is exported. One that the build has, and this machine not yet, is none of these.
	_, err := local.ExportCache(t.Context(), first, newFar(), local.ExportOptions{Mounts: []string{"/o"}})
	if err != nil {
		t.Error(err)
	}
	all := newFar()
	done, err := local.ExportCache(t.Context(), first, all, local.ExportOptions{Mounts: []string{"modulse", "modules"}})
	if !errors.Is(err, local.ErrNoCacheMount) || !strings.Contains(err.Error(), `"modulse"`) || !strings.Contains(err.Error(), `there are ["/o" "modules"]`) {
		t.Errorf("an unknown id: %v", err)
	}
	if again := export(t, first, all, local.ExportOptions{Mounts: []string{"modules"}}); done.Blobs == 0 || again.How != "there already" {
		t.Errorf("beside an unknown id %+v was exported, and then %+v", done, again)
	}
	fresh := build(t, executor(t, t.TempDir(), local.Options{From: []cache.Store{all}}), fill, stage.Request{})
	if fresh.Report().Ran() > 0 {
		t.Error("a step ran on another machine")
	}
	export(t, fresh, newFar(), local.ExportOptions{Mounts: []string{"modules"}})

	// A tar that is none leaves the mount empty.
	to := newFar()
	export(t, first, to, local.ExportOptions{Mounts: []string{local.AllMounts}})
	bad := to.copied(t, func(far *far) func([]byte) []byte {
		garbage := putBlob(t, far, []byte("garbage"))
		return func(data []byte) []byte {
			if bytes.HasPrefix(data, []byte(`{"tar"`)) {
				return []byte(`{"tar":"` + garbage + `"}`)
			}
			return data
		}
	})
	e := executor(t, t.TempDir(), local.Options{From: []cache.Store{bad}})
	empty := base.Run("ls /c > /seen", stage.CacheMount("/c", stage.ID("modules")))
	if got := read(t, build(t, e, empty, stage.Request{}), "seen"); got != "" {
		t.Errorf("with a bad tar the mount has %q", got)
	}
}
