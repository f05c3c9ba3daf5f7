package rootfs_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/image/rootfs"
)

var someFiles = fstest.MapFS{
	"app":             {Mode: fs.ModeDir | 0o750},
	"app/bin/tool":    {Data: []byte("tool"), Mode: fs.ModeSetuid | 0o755, ModTime: time.Unix(5, 0)},
	"app/bin/alias":   {Data: []byte("tool"), Mode: fs.ModeSymlink},
	"app/out":         {Data: []byte("/etc/passwd"), Mode: fs.ModeSymlink},
	"app/closed":      {Mode: fs.ModeDir | 0o500},
	"app/closed/in":   {Data: []byte("x"), Mode: 0o400},
	"current":         {Data: []byte("app"), Mode: fs.ModeSymlink},
	"pipes/one":       {Mode: fs.ModeNamedPipe},
	"other/untouched": {Data: []byte("no"), Mode: 0o644},
	"app/bin/deep/er": {Mode: fs.ModeDir | 0o711},
}

func TestSave(t *testing.T) {
	app := map[string]string{
		"bin": "dr-xr-xr-x", "bin/tool": "urwxr-xr-x tool", "bin/alias": "-> tool", "bin/deep": "dr-xr-xr-x", "bin/deep/er": "drwx--x--x",
		"out": "-> /etc/passwd", "closed": "dr-x------", "closed/in": "-r-------- x",
	}
	for _, from := range []string{"app", "/app", "./app/", "current", "/../app"} {
		dest := filepath.Join(t.TempDir(), "made", "here")
		if err := rootfs.Save(t.Context(), someFiles, from, dest); err != nil {
			t.Errorf("%s: %v", from, err)
			continue
		}
		if diff := cmp.Diff(app, list(t, dest)); diff != "" {
			t.Errorf("%s: files (-want +got):\n%s", from, diff)
		}
		if fi, _ := os.Stat(dest); fi.Mode().Perm() != 0o750 && from != "current" {
			t.Errorf("%s: the directory is %s", from, fi.Mode())
		}
		allowRemoval(dest)
	}
	dest := filepath.Join(t.TempDir(), "one", "file")
	if err := rootfs.Save(t.Context(), someFiles, "app/bin/alias", dest); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Lstat(dest)
	if err != nil || fi.Mode() != fs.ModeSetuid|0o755 || !fi.ModTime().Equal(time.Unix(5, 0)) {
		t.Errorf("%v, %v", fi, err)
	}
	if b, err := os.ReadFile(dest); err != nil || string(b) != "tool" {
		t.Errorf("%q, %v", b, err)
	}
	if all, _ := os.ReadDir(filepath.Dir(dest)); len(all) != 1 {
		t.Errorf("beside the file is %v", all)
	}
}

// allowRemoval lets t.TempDir remove directories that are closed to their owner.
func allowRemoval(dir string) {
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			os.Chmod(p, 0o700)
		}
		return nil
	})
}

func TestSaveRefuses(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"full/mine": "dear", "file": "dear"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	before := list(t, dir)
	for _, test := range []struct {
		ctx        context.Context
		from, dest string
		is         error
		want       string
	}{
		{t.Context(), "app/bin", "full", rootfs.ErrNotEmpty, `it has "mine"`},
		{t.Context(), "app/bin", "file", nil, "there is a file of that name"},
		{t.Context(), "app/bin/tool", "file", fs.ErrExist, "name a new one"},
		{t.Context(), "app/bin/tool", "empty", fs.ErrExist, "name the file in it"},
		{t.Context(), "none", "new", fs.ErrNotExist, "saving none to "},
		{t.Context(), "app/bin/tol", "new", fs.ErrNotExist, "did you mean /app/bin/tool?"},
		{t.Context(), "app/bin/something", "new", fs.ErrNotExist, "the directory /app/bin has alias, deep, tool"},
		{t.Context(), "app/bin/deep/er/x", "new", fs.ErrNotExist, "the directory /app/bin/deep/er is empty"},
		{t.Context(), "app/nowhere/x", "new", fs.ErrNotExist, "app/nowhere/x"},
		{t.Context(), "", "new", nil, `write "." for all files`},
		{t.Context(), "pipes", "new/deep", errors.ErrUnsupported, "pipes/one"},
		{t.Context(), "pipes/one", "new/deep", errors.ErrUnsupported, "pipes/one"},
		{cancelled, "app", "new/deep", context.Canceled, ""},
		{cancelled, "app/bin/tool", "new/deep", context.Canceled, ""},
	} {
		err := rootfs.Save(test.ctx, someFiles, test.from, filepath.Join(dir, test.dest))
		if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s to %s: %v", test.from, test.dest, err)
		}
	}
	endless := fstest.MapFS{"d/": {Mode: fs.ModeDir | 0o755}} // "d" has a file without a name: itself
	if err := rootfs.Save(t.Context(), endless, ".", filepath.Join(dir, "new")); err == nil || !strings.Contains(err.Error(), "lists a file named") {
		t.Errorf("%v", err)
	}
	if err := rootfs.Save(t.Context(), someFiles, "app", ""); err == nil || !strings.Contains(err.Error(), "no destination") {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(before, list(t, dir)); diff != "" {
		t.Errorf("files changed (-want +got):\n%s", diff)
	}
	if err := rootfs.Save(t.Context(), someFiles, "other", filepath.Join(dir, "empty")); err != nil {
		t.Errorf("into an empty directory: %v", err)
	}
	allowRemoval(dir)
}
