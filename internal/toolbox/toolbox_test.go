package toolbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright/internal/toolbox"
)

// built compiles the toolbox once for all tests, in a directory that outlives them: a compilation costs 20 s of processor time, and the
// key names everything that it depends on.
var built = sync.OnceValues(func() (toolbox.Binary, error) {
	dir, err := os.UserCacheDir()
	if err == nil && os.MkdirAll(filepath.Join(dir, "stagewright-toolbox"), 0o755) == nil {
		return toolbox.Build(context.Background(), "")
	}
	return toolbox.Build(context.Background(), filepath.Join(os.TempDir(), fmt.Sprint("stagewright-toolbox-", os.Getuid())))
})

func binary(t testing.TB) toolbox.Binary {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the toolbox is a Linux program")
	}
	b, err := built()
	var missing *toolbox.GoError
	if errors.As(err, &missing) && missing.Go == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// install makes a bin directory of the toolbox's commands and returns it.
func install(t testing.TB) string {
	t.Helper()
	b := binary(t)
	bin := filepath.Join(t.TempDir(), "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range b.Commands {
		if err := os.Symlink(b.Path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

func TestBuildIsKept(t *testing.T) {
	want := binary(t)
	t.Setenv("PATH", "") // no go command can be started
	got, err := toolbox.Build(t.Context(), filepath.Dir(want.Path))
	if err != nil {
		t.Fatalf("a second Build started a compilation: %v", err)
	}
	if got.Path != want.Path || got.Digest != want.Digest || got.Size != want.Size || !slices.Equal(got.Commands, want.Commands) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBuildNoticesDamage(t *testing.T) {
	want := binary(t)
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Dir(want.Path))); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, filepath.Base(want.Path)), 10); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "")
	_, err := toolbox.Build(t.Context(), dir)
	var missing *toolbox.GoError
	if !errors.As(err, &missing) || missing.Go != "" {
		t.Errorf("a damaged binary was believed, or the error is not about the go command: %v", err)
	}
}

func TestBuildIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("links a second time")
	}
	want := binary(t)
	dir := filepath.Join(t.TempDir(), "another directory")
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("GOFLAGS", "-tags=netgo")
	t.Setenv("GOAMD64", "v3")
	t.Setenv("LANG", "de_DE.UTF-8")
	got, err := toolbox.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != want.Digest {
		t.Errorf("in another directory and environment: %s, want %s", got.Digest, want.Digest)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "toolbox-build-") {
			t.Errorf("the work directory %s was left behind", e.Name())
		}
	}
}

func TestBuildFromManyGoroutines(t *testing.T) {
	want := binary(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			got, err := toolbox.Build(t.Context(), filepath.Dir(want.Path))
			if err != nil || got.Digest != want.Digest {
				t.Errorf("got %v, %v", got.Digest, err)
			}
		})
	}
	wg.Wait()
}

func TestBuildErrors(t *testing.T) {
	t.Run("no go command", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		_, err := toolbox.Build(t.Context(), t.TempDir())
		var goErr *toolbox.GoError
		if !errors.As(err, &goErr) || !errors.Is(err, exec.ErrNotFound) || !strings.Contains(err.Error(), "https://go.dev/dl") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no proxy", func(t *testing.T) {
		if _, err := exec.LookPath("go"); err != nil {
			t.Skip(err)
		}
		t.Setenv("GOMODCACHE", t.TempDir())
		t.Setenv("GOPROXY", "off")
		_, err := toolbox.Build(t.Context(), t.TempDir())
		var goErr *toolbox.GoError
		if !errors.As(err, &goErr) || !strings.Contains(err.Error(), "module proxy") || goErr.Output == "" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		if _, err := exec.LookPath("go"); err != nil {
			t.Skip(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		dir := t.TempDir()
		if _, err := toolbox.Build(ctx, dir); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "toolbox-build-*")); left != nil {
			t.Errorf("left behind: %q", left)
		}
	})
}

func TestCommandsAreTheBinarys(t *testing.T) {
	b := binary(t)
	out, err := exec.Command(b.Path, "--list").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); !slices.Equal(got, b.Commands) {
		t.Errorf("the binary answers to\n%q, Commands says\n%q", got, b.Commands)
	}
}

func TestFiles(t *testing.T) {
	// A small file in the binary's place: TestFS reads it through every link.
	path := filepath.Join(t.TempDir(), "sh")
	if err := os.WriteFile(path, []byte("the binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := toolbox.Binary{Path: path, Size: 10, Commands: []string{"cat", "env", "grep", "sh"}}
	fsys := b.Files()
	if err := fstest.TestFS(fsys, "bin/sh", "bin/grep", "usr/bin", "etc/passwd", "tmp", "var/tmp", "root"); err != nil {
		t.Error(err)
	}
	sh, err := fs.ReadFile(fsys, "usr/bin/env") // through two links
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(b.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sh, want) {
		t.Error("usr/bin/env does not lead to the binary")
	}
	for name, mode := range map[string]fs.FileMode{
		"bin/sh": 0o755, "bin/grep": fs.ModeSymlink | 0o777, "tmp": fs.ModeDir | fs.ModeSticky | 0o777, "root": fs.ModeDir | 0o700,
		"etc/passwd": 0o644, "usr/bin": fs.ModeSymlink | 0o777, ".": fs.ModeDir | 0o755,
	} {
		fi, err := fs.Lstat(fsys, name)
		if err != nil || fi.Mode() != mode {
			t.Errorf("%s: %v, %v; want %v", name, fi, err, mode)
		}
	}
	if _, err := fsys.Open("bin/nosuch"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent file: %v", err)
	}
	if _, err := fsys.Open("../etc/passwd"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a path out of the root: %v", err)
	}
}

func BenchmarkBuildCached(b *testing.B) {
	dir := filepath.Dir(binary(b).Path)
	for b.Loop() {
		if _, err := toolbox.Build(b.Context(), dir); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkShellStart(b *testing.B) {
	sh := binary(b).Path
	for b.Loop() {
		if err := exec.Command(sh, "sh", "-c", ":").Run(); err != nil {
			b.Fatal(err)
		}
	}
}
