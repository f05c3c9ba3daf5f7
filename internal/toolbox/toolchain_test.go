package toolbox_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/moby/patternmatcher"

	"github.com/stagewright/stagewright/internal/toolbox"
)

func toolchain(t testing.TB) toolbox.Go {
	t.Helper()
	g, err := toolbox.Toolchain(t.Context())
	if err != nil {
		t.Skip(err)
	}
	return g
}

// What the patterns leave, copied elsewhere, compiles a program.
func TestToolchainIsEnoughToCompile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("bin/go has another name there")
	}
	g := toolchain(t)
	root := filepath.Join(t.TempDir(), "goroot")
	files := copyKept(t, g, root)
	if files > 5000 {
		t.Errorf("%d files are kept; the patterns no longer fit this toolchain", files)
	}
	for _, name := range []string{"bin/gofmt", "src/cmd", "test", "src/runtime/runtime_test.go"} {
		if _, err := os.Stat(filepath.Join(root, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was kept: %v", name, err)
		}
	}
	src := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":  "module hello\n\ngo 1.26\n",
		"main.go": "package main\n\nimport (\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() { os.Stdout.WriteString(http.StatusText(200)) }\n",
	} {
		if err := os.WriteFile(filepath.Join(src, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "bin", "go"), "build", "-trimpath", "-o", "hello", ".")
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "GOROOT="+root, "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOFLAGS=", "GOWORK=off", "PWD="+src)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := exec.Command(filepath.Join(src, "hello")).Output()
	if err != nil || string(out) != "OK" {
		t.Errorf("the program says %q, %v", out, err)
	}
}

// copyKept copies what the ignore patterns leave of the toolchain, and returns how many files that is.
func copyKept(t *testing.T, g toolbox.Go, to string) int {
	matcher, err := patternmatcher.New(g.Ignore)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	files := 0
	err = filepath.WalkDir(g.Root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(g.Root, path)
		if err != nil || rel == "." {
			return err
		}
		ignored, err := matcher.MatchesOrParentMatches(rel)
		switch {
		case err != nil:
			return err
		case ignored && d.IsDir():
			return fs.SkipDir
		case ignored:
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case !d.Type().IsRegular():
			return nil
		}
		files++
		return copyFile(path, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fi.Mode().Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// A link to the go command in a directory of its own, as distributions install it, leads to the same toolchain; a wrapper is asked.
func TestToolchainThroughLinkAndWrapper(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs links and #! scripts")
	}
	want := toolchain(t)
	command := filepath.Join(want.Root, "bin", "go")
	for name, install := range map[string]func(path string) error{
		"link": func(path string) error { return os.Symlink(command, path) },
		"wrapper": func(path string) error {
			return os.WriteFile(path, []byte("#!/bin/sh\nexec '"+command+"' \"$@\"\n"), 0o755)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := install(filepath.Join(dir, "go")); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", dir)
			got, err := toolbox.Toolchain(t.Context())
			if err != nil || got.Root != want.Root || got.Version != want.Version {
				t.Errorf("got %s %s, %v; want %s %s", got.Root, got.Version, err, want.Root, want.Version)
			}
		})
	}
}

func TestToolchainErrors(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	var goErr *toolbox.GoError
	if _, err := toolbox.Toolchain(t.Context()); !errors.As(err, &goErr) || goErr.Go != "" {
		t.Errorf("no go command: %v", err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\necho broken >&2\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := toolbox.Toolchain(t.Context()); !errors.As(err, &goErr) || goErr.Output != "broken\n" {
		t.Errorf("a go command that fails: %v", err)
	}
}

func BenchmarkToolchain(b *testing.B) {
	toolchain(b)
	for b.Loop() {
		if _, err := toolbox.Toolchain(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
