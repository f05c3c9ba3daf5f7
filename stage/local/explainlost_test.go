package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// What the cache has lost is told apart from what changed.
func TestExplainLost(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	app := stage.From(base, stage.As("app")).Run("mktemp -u > /id").CopyFrom(stage.FS(fstest.MapFS{"a": {}}), "a", "/a").Run("cat /id > /copy")
	g := compile(t, app)
	build(t, executor(t, dir, local.Options{}), app, stage.Request{})
	sameLines(t, "whole", explanations(explain(t, executor(t, dir, local.Options{}), g, stage.Request{})))

	layers, err := filepath.Glob(filepath.Join(dir, "private", "snapshots", "*", "layers"))
	if err != nil || len(layers) != 1 {
		t.Fatal(layers, err)
	}
	if err := os.RemoveAll(layers[0]); err != nil {
		t.Fatal(err)
	}
	sameLines(t, "only what the layers are made of is lost", explanations(explain(t, executor(t, dir, local.Options{}), g, stage.Request{})))
	above := compile(t, app.File("/new", "x"))
	sameLines(t, "directories", explanations(explain(t, executor(t, dir, local.Options{}), above, stage.Request{})),
		"run lost: RUN mktemp -u > /id: its directory was removed from the cache",
		" below: COPY --from=fs a /a: stands on RUN mktemp -u > /id, which is made again"+unknown,
		" lost: RUN cat /id > /copy: its directory was removed from the cache"+unknown,
		"run first: FILE /new: never built before")
}

// A directory of a Run in which something was changed behind the cache's back is told, and what stands on it.
func TestExplainDamaged(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	app := stage.From(base, stage.As("app")).Run("mkdir /d && echo 1 > /d/f").Run("cat /d/f > /g").File("/h", "x")
	build(t, executor(t, dir, local.Options{}), app, stage.Request{})
	files, err := filepath.Glob(filepath.Join(dir, "private", "snapshots", "*", "layers", "*", "fs", "d", "f"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	if err := os.WriteFile(files[0], []byte("2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	above := compile(t, app.Run("cat /g > /i"))
	sameLines(t, "damaged", explanations(explain(t, executor(t, dir, local.Options{}), above, stage.Request{})),
		"run lost: RUN mkdir /d && echo 1 > /d/f: its directory was damaged",
		" below: RUN cat /d/f > /g: stands on RUN mkdir /d && echo 1 > /d/f, which is made again"+unknown,
		" below: FILE /h: stands on RUN mkdir /d && echo 1 > /d/f, which is made again"+unknown,
		" first: RUN cat /g > /i: never built before"+unknown)
}

// A record that was made on other files than the step stands on now, since a build of another executor made those again, counts for
// nothing, and that is told.
func TestExplainOtherFiles(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	made := stage.From(base, stage.As("app")).Run("cat /proc/sys/kernel/random/uuid > /id")
	app := made.Run("cat /id > /copy")
	build(t, executor(t, dir, local.Options{}), app, stage.Request{})
	build(t, executor(t, dir, local.Options{}), made, stage.Request{NoCache: true})
	above := app.Run("cat /copy > /new") // the image of app alone is what it was: nothing below its layers is looked at
	sameLines(t, "explained", explanations(explain(t, executor(t, dir, local.Options{}), compile(t, above), stage.Request{})),
		"run files: RUN cat /id > /copy: stands on other files than before",
		" first: RUN cat /copy > /new: never built before"+unknown)
	if ran := build(t, executor(t, dir, local.Options{}), above, stage.Request{}).Report().Ran(); ran != 2 {
		t.Errorf("%d steps ran", ran)
	}
	sameLines(t, "afterwards", explanations(explain(t, executor(t, dir, local.Options{}), compile(t, above), stage.Request{})))
}

// A record of an older version says that something changed, and not what.
func TestExplainOldRecords(t *testing.T) {
	store := &forgetting{Store: cache.NewMemory()}
	e, err := local.New(local.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	from := stage.Scratch(stage.As("app"))
	build(t, e, from.File("/f", "1"), stage.Request{})
	list := explain(t, e, compile(t, from.File("/f", "2")), stage.Request{})
	sameLines(t, "explained", explanations(list), "run changed: FILE /f: changed, but what the cache knows of the earlier step does not say what")
}

// forgetting is a store that takes the recipes out of records.
type forgetting struct{ cache.Store }

func (f *forgetting) Put(ctx context.Context, key cache.Key, data []byte) error {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) == nil {
		delete(fields, "recipe")
		data, _ = json.Marshal(fields)
	}
	return f.Store.Put(ctx, key, data)
}

// Explaining changes nothing in the cache: no file is made, written or removed.
func TestExplainChangesNothing(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	e := executor(t, dir, local.Options{})
	context := layout(t, "a = 1")
	archive := stage.FS(fstest.MapFS{"x.tar": {Data: tarOf(t, "in/the/archive")}})
	app := func(n string) stage.Stage {
		return stage.From(base, stage.As("app")).CopyFrom(archive, "x.tar", "/", stage.UnpackArchive()).
			Run("echo "+n+" > /n").Copy(".", "/app/").Run("cat /n > /m")
	}
	request := stage.Request{Context: stage.Dir(context)}
	build(t, e, app("1"), request)
	writeFile(t, context, "a", "2")
	explain(t, e, compile(t, app("1")), request) // the memo of digests takes the file up
	before := state(t, dir)
	explain(t, e, compile(t, app("2").File("/x", "y")), request)
	explain(t, executor(t, dir, local.Options{Epoch: time.Unix(1, 0)}), compile(t, app("1")), request)
	if diff := cmp.Diff(before, state(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// state lists the records, blobs and directories of a cache with their sizes and times.
func state(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		top, _, _ := strings.Cut(rel, string(filepath.Separator))
		if top == "tmp" || top == "leases" || top == "locks" || top == "journal" || d.IsDir() {
			return nil
		}
		info, err := d.Info()
		if err == nil {
			files[rel] = fmt.Sprint(info.Size(), " ", info.ModTime())
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return files
}
