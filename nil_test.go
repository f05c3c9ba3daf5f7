package stagewright_test

import (
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

type nilSink struct{ image.Sink }

// A nil pointer in an option is an error that names the field, before anything is built.
func TestNilInOptions(t *testing.T) {
	var disk *cache.Disk
	for want, o := range map[string]stagewright.Options{
		"Options.Store is a *cache.Disk that is nil":      {Store: disk},
		"Options.CacheFrom[1] is nil":                     {CacheFrom: []cache.Store{cache.NewMemory(), disk}},
		"Options.CacheTo[0].Store is nil":                 {CacheTo: []stagewright.CacheExport{{Store: disk}}},
		"Options.Sinks[0] is nil":                         {Sinks: []image.Sink{(*nilSink)(nil)}},
		"Options.Runner is a *namespaces.Runner":          {Runner: (*namespaces.Runner)(nil)},
		"Options.Executor is a *local.Executor":           {Executor: (*local.Executor)(nil)},
		"Options.Registry.Transport is a *http.Transport": {Registry: registry.Options{Transport: (*http.Transport)(nil)}},
		"Options.Run: option 1 of 1 is nil":               {Run: []stage.RunOption{nil}},
		"argument 1 of NewLayered is nil":                 {Store: cache.NewLayered(nil)},
		"argument 2 of NewLayered is nil":                 {Store: cache.NewLayered(cache.NewMemory(), disk)},
	} {
		if o.Store == nil {
			o.CacheDir = filepath.Join(t.TempDir(), "cache")
		}
		res, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), o)
		if err == nil {
			res.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := stagewright.Usage(t.Context(), stagewright.Options{Store: disk}); err == nil {
		t.Error("Usage of a nil store is no error")
	}
	if _, err := local.New(local.Options{Images: (*registryImages)(nil)}); err == nil || !strings.Contains(err.Error(), "Options.Images") {
		t.Errorf("Images: %v", err)
	}
}

type registryImages struct{ local.Images }

// What only looks at a cache does not make one: a mistyped directory is told, or is as an empty cache.
func TestLookingMakesNoCache(t *testing.T) {
	o := stagewright.Options{CacheDir: filepath.Join(t.TempDir(), "above", "mistyped")}
	target := stage.Scratch().File("/f", "x")
	for name, look := range map[string]func() error{
		"Usage":       func() error { _, err := stagewright.Usage(t.Context(), o); return err },
		"Prune":       func() error { _, err := stagewright.Prune(t.Context(), o, cache.Policy{All: true}); return err },
		"VerifyCache": func() error { _, err := stagewright.VerifyCache(t.Context(), o); return err },
	} {
		if err := look(); !errors.Is(err, cache.ErrNoCache) || !strings.Contains(err.Error(), o.CacheDir) {
			t.Errorf("%s: %v", name, err)
		}
	}
	list, err := stagewright.Explain(t.Context(), target, o)
	if err != nil || len(list) != 1 || list[0].Cause != stage.CauseFirst {
		t.Errorf("Explain: %v, %v", list, err)
	}
	if plan, err := stagewright.Plan(t.Context(), target, o); err != nil || len(plan) == 0 {
		t.Errorf("Plan: %v, %v", plan, err)
	}
	if v, err := stagewright.Verify(t.Context(), target, o); err != nil || v.Err() != nil {
		t.Errorf("Verify: %v, %v", v, err)
	}
	if _, err := os.Lstat(filepath.Dir(o.CacheDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a look made %s: %v", filepath.Dir(o.CacheDir), err)
	}
}
