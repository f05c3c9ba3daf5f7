package sandboxtest

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

//go:embed testdata/prober/main.go
var proberSource embed.FS

// probers are the compiled programs of testdata/prober, by GOARCH.
var probers sync.Map

// prober returns the program for an architecture. It is built once a test
// process, from the go command's build cache, and loaded into memory, so that
// no directory has to outlive a test.
func prober(arch string) ([]byte, error) {
	build, _ := probers.LoadOrStore(arch, sync.OnceValues(func() ([]byte, error) { return buildProber(arch) }))
	return build.(func() ([]byte, error))()
}

func buildProber(arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "sandboxtest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	source, err := proberSource.ReadFile("testdata/prober/main.go")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), source, 0o644); err != nil {
		return nil, err
	}
	goTool := "go"
	if _, err := exec.LookPath(goTool); err != nil {
		//lint:ignore SA1019 a test binary is mostly run where it was built, and elsewhere this go is just not found
		goTool = filepath.Join(runtime.GOROOT(), "bin", "go")
	}
	cmd := exec.Command(goTool, "build", "-trimpath", "-ldflags=-s -w", "-o", "prober", "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sandboxtest: build the prober: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "prober"))
}

// Prober is the path, inside the roots that this package makes, of a static
// program that does nothing and exits 0 when it has no arguments.
const Prober = "/bin/prober"

// Lower writes a directory with the prober as its only file, as the lowest
// layer of a root. It skips the test where the go command cannot build one.
func Lower(tb testing.TB) string {
	tb.Helper()
	return lowerFor(tb, runtime.GOARCH)
}

// lowerFor is Lower with a prober for an architecture.
func lowerFor(tb testing.TB, arch string) string {
	tb.Helper()
	program, err := prober(arch)
	if err != nil {
		tb.Skipf("no prober: %v", err)
	}
	dir := tempDir(tb)
	write(tb, filepath.Join(dir, "bin/prober"), program, 0o755)
	return dir
}

func write(tb testing.TB, path string, content []byte, mode os.FileMode) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, content, mode); err != nil {
		tb.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // the umask does not count
		tb.Fatal(err)
	}
}

// tempDir is tb.TempDir for overlays: what the kernel leaves in a work
// directory is mode 000, and an ordinary user must open it to remove it.
func tempDir(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	tb.Cleanup(func() {
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, _ error) error {
			if d != nil && d.IsDir() {
				_ = os.Chmod(path, 0o700)
			}
			return nil // the removal that follows reports what matters
		})
	})
	// Others than the owner must reach the root: a step runs as anybody.
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		_ = os.Chmod(d, 0o755)
	}
	return dir
}
