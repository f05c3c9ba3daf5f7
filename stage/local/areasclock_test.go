package local_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// TestAreasAfterAClockThatWasAhead: what was used by a clock that was ten years ahead counts as used when a collection first sees it, and ages
// from then on; a dry run and a look leave it as it is.
func TestAreasAfterAClockThatWasAhead(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	e, err := local.New(local.Options{Store: disk})
	if err != nil {
		t.Fatal(err)
	}
	context := t.TempDir()
	writeFile(t, context, "f", "x")
	res := build(t, e, base.Copy("f", "/f").Run("echo said; echo x > /c/x; echo y > /y", stage.CacheMount("/c")), stage.Request{Context: stage.Dir(context)})
	if err := res.Close(); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	ahead := time.Now().Add(10 * 365 * 24 * time.Hour)
	if err := filepath.WalkDir(filepath.Join(dir, "private"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			err = os.Chtimes(p, ahead, ahead)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	areas := local.Areas(disk)
	used := func() map[cache.Kind]time.Time {
		t.Helper()
		latest := map[cache.Kind]time.Time{}
		for _, a := range areas {
			if err := a.Scan(t.Context(), func(e cache.Entry) error {
				if e.Used.After(latest[a.Kind()]) {
					latest[a.Kind()] = e.Used
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		return latest
	}
	collect := func(p cache.Policy) {
		t.Helper()
		c, err := disk.Collect(t.Context(), p, areas...)
		if err != nil || len(c.Removed) > 0 {
			t.Errorf("%+v: removed %v, %v", p, c.Removed, err)
		}
	}
	old := cache.Policy{MaxAge: 24 * time.Hour}
	collect(cache.Policy{MaxAge: old.MaxAge, DryRun: true})
	usage, err := disk.Usage(t.Context(), areas...)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range usage.Kinds {
		if k.Newest.After(time.Now()) {
			t.Errorf("%s: Usage tells of a use at %v", k.Kind, k.Newest)
		}
	}
	before := used()
	for _, kind := range []cache.Kind{local.KindSnapshot, local.KindMount, local.KindLog, local.KindMemo} {
		if !before[kind].After(time.Now().Add(24 * time.Hour)) {
			t.Errorf("%s: used at %v, want one of the future", kind, before[kind])
		}
	}
	collect(old)
	limit := time.Now().Add(time.Hour)
	for kind, at := range used() {
		if at.After(limit) {
			t.Errorf("%s: used at %v after a collection", kind, at)
		}
	}
}
