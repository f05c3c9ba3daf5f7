package local_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// openDisk opens a cache directory as another process does.
func openDisk(t *testing.T, dir string) *cache.Disk {
	t.Helper()
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	return disk
}

// entries lists an area of a cache.
func entries(t *testing.T, s cache.Store, kind cache.Kind) (list []cache.Entry) {
	t.Helper()
	for _, a := range local.Areas(s) {
		if a.Kind() != kind {
			continue
		}
		if err := a.Scan(t.Context(), func(e cache.Entry) error { list = append(list, e); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return list
}

// A cache mount stays while a step uses it, though no lease would protect it, and the step does not notice that somebody wants to remove it.
func TestACacheMountInUseIsNotRemoved(t *testing.T) {
	dir := t.TempDir()
	e := executor(t, dir, local.Options{})
	s := shell(t).Run("echo first >> /c/log; echo holding; while [ ! -e /tell/go ]; do sleep 0.01; done; echo done >> /c/log; cat /c/log > /log",
		stage.CacheMount("/c", stage.ID("the id")), stage.CacheMount("/tell", stage.ID("tell")))
	disk := openDisk(t, dir)
	later := time.Now().Add(time.Hour) // as if the last use were long ago
	refused := 0
	try := func(want error) {
		for _, m := range entries(t, disk, local.KindMount) {
			for _, a := range local.Areas(disk) {
				if a.Kind() != local.KindMount {
					continue
				}
				if _, err := a.Remove(t.Context(), m.ID, later); !errors.Is(err, want) {
					t.Errorf("%s: %v", m.Detail, err)
				}
				refused++
			}
		}
	}
	res := build(t, e, s, stage.Request{Progress: func(ev stage.Event) {
		out, ok := ev.(stage.StepOutput)
		if !ok || !strings.Contains(string(out.Data), "holding") {
			return
		}
		list := entries(t, disk, local.KindMount)
		if len(list) != 2 || list[0].Detail+list[1].Detail != "the idtell" && list[0].Detail+list[1].Detail != "tellthe id" {
			t.Errorf("got %v", list)
		}
		try(cache.ErrInUse)
		ids, _ := filepath.Glob(filepath.Join(dir, "private/mounts/*/*/id"))
		for _, id := range ids {
			if text, _ := os.ReadFile(id); string(text) == "tell" {
				if err := os.WriteFile(filepath.Join(filepath.Dir(id), "0/go"), nil, 0o644); err != nil {
					t.Error(err)
				}
			}
		}
	}})
	if got := read(t, res, "log"); got != "first\ndone\n" || refused != 2 {
		t.Errorf("the step saw %q; %d removals were refused", got, refused)
	}
	res.Close()
	try(nil)
	if left, err := filepath.Glob(filepath.Join(dir, "private/mounts/*/*")); len(left) > 0 || err != nil {
		t.Errorf("left: %v, %v", left, err)
	}
}

// tarFile is the path of an archive with one file.
func tarFile(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err := w.WriteHeader(&tar.Header{Name: "f", Mode: 0o644, Size: 1})
	if err == nil {
		_, err = w.Write([]byte("x"))
	}
	name := filepath.Join(t.TempDir(), "archive.tar")
	if err := errors.Join(err, w.Close(), os.WriteFile(name, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return name
}

// What killed processes left in the directory for temporary files goes when the next one begins; what a living one has there stays.
func TestTemporaryFilesOfDeadProcessesGo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no flock")
	}
	dir := t.TempDir()
	alive := executor(t, dir, local.Options{})
	archive := stage.Scratch().CopyFrom(stage.TarFile(tarFile(t)), ".", "/")
	build(t, alive, archive, stage.Request{})
	temporary := filepath.Join(dir, "private/temporary")
	if err := errors.Join(os.MkdirAll(temporary+"/DEAD/bind-1", 0o700), os.WriteFile(temporary+"/DEAD/bind-1/file", []byte("x"), 0o600),
		os.WriteFile(temporary+"/DEAD.used", nil, 0o600), os.WriteFile(temporary+"/GONE.used", nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadDir(temporary)
	if err != nil || len(before) != 5 { // that of the living one, its mark, and the dead
		t.Fatal(before, err)
	}
	next, err := local.New(local.Options{Store: openDisk(t, dir)})
	if err != nil {
		t.Fatal(err)
	}
	res := build(t, next, archive.File("/a", "a"), stage.Request{})
	if err := errors.Join(res.Close(), next.Close()); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(temporary)
	if err != nil || len(left) != 2 || strings.Contains(left[0].Name()+left[1].Name(), "DEAD") {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := alive.Close(); err != nil {
		t.Error(err)
	}
}

func TestAreasRefuseStrangeNames(t *testing.T) {
	disk := openDisk(t, t.TempDir())
	outside := filepath.Join(filepath.Dir(disk.Dir()), "version")
	for _, a := range local.Areas(disk) {
		for _, id := range []string{"", ".", "..", "../../version", "/etc", "0", "a/", "a/b/c/d", "zz"} {
			if n, err := a.Remove(context.Background(), id, time.Now()); n != 0 || !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("%s %q: %d, %v", a.Kind(), id, n, err)
			}
		}
		if s, ok := a.(cache.Stater); ok {
			if _, err := s.Stat(context.Background(), "zz"); !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("%s: %v", a.Kind(), err)
			}
		}
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
	if got := local.Areas(cache.NewMemory()); len(got) > 0 {
		t.Errorf("memory has %v", got)
	}
}
