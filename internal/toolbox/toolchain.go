package toolbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Go is a Go toolchain on this machine.
type Go struct {
	// Root is its GOROOT, absolute, links resolved.
	Root string
	// Version is its version as its VERSION file has it, "go1.26.8".
	Version string
	// Ignore are patterns in .dockerignore syntax, relative to Root. What they leave compiles programs for any target with CGO off,
	// by `bin/go build`, on a machine of this one's kind; tests, documentation, the go command's own source and `go vet` are left out.
	Ignore []string
}

// Toolchain locates the machine's Go toolchain: the one whose go command comes first in PATH.
//
// It costs a few file system calls; only where that command is not part of a GOROOT (a wrapper script) is it run, for `go env GOROOT`.
// Errors: [*GoError] when there is none.
func Toolchain(ctx context.Context) (Go, error) {
	command, err := findGo()
	if err != nil {
		return Go{}, err
	}
	if g, ok := goAt(command); ok {
		return g, nil
	}
	cmd := exec.CommandContext(ctx, command, "env", "GOROOT")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOWORK=off", "GOFLAGS=")
	out, err := cmd.Output()
	if err != nil {
		if ctx.Err() != nil {
			return Go{}, fmt.Errorf("toolbox: ask %s for its GOROOT: %w", command, context.Cause(ctx))
		}
		e := &GoError{Go: command, Fix: "`go env GOROOT` must work", Err: err}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			e.Output = string(exit.Stderr)
		}
		return Go{}, e
	}
	root := strings.TrimSpace(string(out))
	if g, ok := goAt(filepath.Join(root, "bin", "go"+exeSuffix())); ok {
		return g, nil
	}
	return Go{}, &GoError{Go: command, Fix: "install Go from https://go.dev/dl and put its bin directory first in PATH",
		Err: fmt.Errorf("its GOROOT %q has no VERSION file or no compiler", root)}
}

// findGo looks the go command up in PATH.
func findGo() (string, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return "", &GoError{Err: err, Fix: "install Go from https://go.dev/dl and put its bin directory into PATH"}
	}
	return filepath.Abs(path)
}

// goAt reports the toolchain that command, or what it is a link to, is the bin/go of.
func goAt(command string) (Go, bool) {
	resolved, err := filepath.EvalSymlinks(command)
	if err != nil {
		return Go{}, false
	}
	root := filepath.Dir(filepath.Dir(resolved))
	if filepath.Base(filepath.Dir(resolved)) != "bin" {
		return Go{}, false
	}
	version, err := os.ReadFile(filepath.Join(root, "VERSION"))
	if err != nil {
		return Go{}, false
	}
	tools := filepath.Join(root, "pkg", "tool", runtime.GOOS+"_"+runtime.GOARCH)
	for _, need := range []string{filepath.Join(tools, "compile"+exeSuffix()), filepath.Join(root, "src", "runtime")} {
		if _, err := os.Stat(need); err != nil {
			return Go{}, false
		}
	}
	line, _, _ := strings.Cut(string(version), "\n")
	if line = strings.TrimSpace(line); !strings.HasPrefix(line, "go") && !strings.HasPrefix(line, "devel") {
		return Go{}, false
	}
	return Go{Root: root, Version: line, Ignore: toolchainIgnore()}, true
}

// toolchainIgnore excludes whole directories first: what a walk need not enter costs nothing.
func toolchainIgnore() []string {
	patterns := []string{
		"api", "doc", "lib", "misc", "test", "src/cmd",
		"**/testdata", "**/*_test.go",
		"bin/gofmt" + exeSuffix(),
		"*.md", "codereview.cfg", "PATENTS", ".git*",
		"src/*.bash", "src/*.bat", "src/*.rc", "pkg/obj", "pkg/bootstrap",
	}
	for _, tool := range []string{"cgo", "cover", "fix", "vet", "preprofile", "doc", "nm", "objdump", "pprof", "trace", "test2json", "distpack", "dist", "api", "fips140", "covdata", "addr2line", "buildid", "pack"} {
		patterns = append(patterns, "pkg/tool/*/"+tool+exeSuffix())
	}
	return patterns
}

func exeSuffix() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
