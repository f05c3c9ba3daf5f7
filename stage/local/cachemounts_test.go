package local_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// TestCacheMounts lists, exports, removes and imports the directories of cache mounts.
func TestCacheMounts(t *testing.T) {
	base := shell(t)
	from, to := executor(t, t.TempDir(), local.Options{}), executor(t, t.TempDir(), local.Options{})
	fill := base.Run("echo one > /c/a; mkdir /c/d; ln -s a /c/d/l; chmod 600 /c/a; echo two > /other/b",
		stage.CacheMount("/c", stage.ID("modules")), stage.CacheMount("/other"))
	build(t, from, fill, stage.Request{})
	ids := func(e *local.Executor) (list []string) {
		t.Helper()
		mounts, err := e.CacheMounts(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range mounts {
			list = append(list, m.ID)
			if m.Files == 0 || m.Bytes != 4 || m.Used.IsZero() {
				t.Errorf("%+v", m)
			}
		}
		return list
	}
	if diff := cmp.Diff([]string{"/other", "modules"}, ids(from)); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	var archive bytes.Buffer
	if err := from.ExportCacheMount(t.Context(), "modules", &archive); err != nil {
		t.Fatal(err)
	}
	if err := to.ImportCacheMount(t.Context(), "modules", &archive); err != nil {
		t.Fatal(err)
	}
	check := base.Run("test \"$(cat /c/d/../a)\" = one && test \"$(stat -c %a /c/a)\" = 600 && test -L /c/d/l", stage.CacheMount("/c", stage.ID("modules")))
	build(t, to, check, stage.Request{})
	if err := from.RemoveCacheMounts(t.Context(), "modules"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/other"}, ids(from)); diff != "" {
		t.Errorf("ids after a removal (-want +got):\n%s", diff)
	}
	for what, err := range map[string]error{
		"export": from.ExportCacheMount(t.Context(), "nobody", io.Discard),
		"remove": from.RemoveCacheMounts(t.Context(), "nobody"),
	} {
		if !errors.Is(err, local.ErrNoCacheMount) {
			t.Errorf("%s of an id without mount: %v", what, err)
		}
	}
	if err := from.RemoveCacheMounts(t.Context()); err != nil || len(ids(from)) > 0 {
		t.Errorf("remove all: %v, left %v", err, ids(from))
	}
}

// TestCacheMountsTellWhenTheyWereUsed: by a step, not by whoever made the directory or looked at it.
func TestCacheMountsTellWhenTheyWereUsed(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	e := executor(t, dir, local.Options{})
	step := func(n int) stage.Stage {
		return base.Run(fmt.Sprintf("echo %d > /c/a", n), stage.CacheMount("/c", stage.ID("id"))).
			Run(fmt.Sprintf("echo %d > /p/a", n), stage.CacheMount("/p", stage.ID("private"), stage.WithSharing(stage.Private)))
	}
	used := func() (list []time.Time) {
		t.Helper()
		mounts, err := e.CacheMounts(t.Context())
		if err != nil || len(mounts) != 2 {
			t.Fatalf("%+v, %v", mounts, err)
		}
		return []time.Time{mounts[0].Used, mounts[1].Used}
	}
	build(t, e, step(1), stage.Request{})
	locks, err := filepath.Glob(filepath.Join(dir, "private", "mounts", "*", "*", "0.lock"))
	if err != nil || len(locks) != 2 {
		t.Fatalf("locks %v, %v", locks, err)
	}
	longAgo := time.Unix(1_000_000_000, 0)
	for _, lock := range locks {
		if err := os.Chtimes(lock, longAgo, longAgo); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.ExportCacheMount(t.Context(), "id", io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, at := range used() {
		if !at.Equal(longAgo) {
			t.Errorf("used %s after an export, want %s", at, longAgo)
		}
	}
	build(t, e, step(2), stage.Request{})
	for _, at := range used() {
		if !at.After(longAgo) {
			t.Errorf("used %s after a step", at)
		}
	}
}

// TestImportIsNotTrusted gives archives that lead out of the directory.
func TestImportIsNotTrusted(t *testing.T) {
	e := executor(t, t.TempDir(), local.Options{})
	for _, h := range []tar.Header{
		{Typeflag: tar.TypeReg, Name: "x", Size: 1 << 40},
		{Typeflag: tar.TypeLink, Name: "x", Linkname: "/etc/passwd"},
	} {
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if err := e.ImportCacheMount(t.Context(), "id", &archive); err == nil {
			t.Errorf("%+v was imported", h)
		}
	}
	if mounts, err := e.CacheMounts(t.Context()); err != nil || len(mounts) > 0 {
		t.Errorf("after refused imports: %+v, %v", mounts, err)
	}
}
