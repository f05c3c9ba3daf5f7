// Package toolbox makes a root filesystem with a shell and core commands out of nothing but Go modules, for programs that run build
// steps on a machine that has no base image: the quickstart example and tests.
//
// [Build] compiles one static Linux binary from a small embedded module and keeps it in a directory; [Binary.Files] is the root
// filesystem around it: /bin/sh, a link per command, /etc/passwd, /tmp. [Toolchain] finds the machine's Go toolchain, so that a step
// can compile Go there.
//
// # What is in it
//
// The shell is mvdan.cc/sh v3.14.1 (BSD-3-Clause); base64, cat, cp, find, gzip, ls, mkdir, mktemp, rm, shasum, tar, touch
// and xargs come from github.com/u-root/u-root v0.16.0 (BSD-3-Clause); grep, sed, sort, ln, mv, chmod, chown, env and the other commands are
// written in the template. An image that carries the binary carries code under those licences and under those of what they import:
// golang.org/x (BSD-3-Clause) and, through u-root, the small modules that the template's go.mod lists.
// The template's modules never enter this module's go.mod: they are fetched by the go command, checked against the embedded go.sum,
// at the first build.
//
// # Guarantees and limits
//
// The binary is a function of the template, the go command's version and GOARCH: the same bytes whatever the directory, user, umask,
// time zone or environment, and it needs no file of the machine it runs on. The commands have the options that POSIX names and people
// use, and refuse others by name. The shell is not a complete POSIX shell: it runs subshells, pipes and background jobs as
// goroutines of one process (so $$ is the same in all of them and $! is no process id), it traps EXIT and ERR but no signal, and it
// expands braces. u-root's find takes one directory with -name and -type alone, and its tar has -c, -t and -x with -f and, for -x, the
// directory to write into as its operand: no compression, no -C.
//
// All functions may be called from several goroutines and processes at once.
package toolbox

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/stagewright/stagewright/internal/filelock"
)

// Binary is a compiled toolbox.
type Binary struct {
	// Path is the file, executable, below the directory that was given to Build. It must not be edited.
	Path string
	// Digest names its content, as "sha256:" and 64 hexadecimal digits.
	Digest string
	// Size is its length in bytes.
	Size int64
	// Commands are the names it answers to, sorted, "sh" among them.
	Commands []string
}

// Build returns the toolbox for Linux on this machine's architecture, compiled into cacheDir when it is not there yet. An empty cacheDir
// means "stagewright-toolbox" in os.UserCacheDir, which the examples and tests of this module share.
//
// The first call takes tens of seconds of processor time and needs a go command, found as [Toolchain] finds it, and its modules:
// from the module cache, or else from the module proxy. It runs that command once, in a temporary directory, with CGO off. Any later
// call with the same directory costs a stat and a small file's read, and starts no process; processes that call it at the same time
// compile once between them (where the system has no flock, each on its own, to the same result).
// The result is kept under a name made of runtime.Version, GOARCH and the embedded template, so one directory may serve many versions.
//
// Errors: [*GoError] when there is no usable go command or it fails, the context's error when it ends, else the file system's.
func Build(ctx context.Context, cacheDir string) (Binary, error) {
	return BuildFor(ctx, cacheDir, runtime.GOARCH)
}

// BuildFor is Build for another architecture, named as GOARCH names it.
func BuildFor(ctx context.Context, cacheDir, arch string) (Binary, error) {
	if cacheDir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Binary{}, fmt.Errorf("toolbox: no directory for the binary: %w; set HOME or XDG_CACHE_HOME, or name a directory", err)
		}
		cacheDir = filepath.Join(user, "stagewright-toolbox")
	}
	dir, err := filepath.Abs(cacheDir)
	if err != nil {
		return Binary{}, fmt.Errorf("toolbox: %w", err)
	}
	slot := slot{dir: dir, name: "toolbox-" + buildKey(runtime.Version(), arch)}
	if b, ok := slot.load(); ok {
		return b, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Binary{}, fmt.Errorf("toolbox: make the cache directory: %w", err)
	}
	unlock, err := filelock.Path(ctx, filepath.Join(dir, slot.name+".lock"), filelock.Exclusive)
	if err != nil {
		return Binary{}, fmt.Errorf("toolbox: wait for another process that compiles it: %w", err)
	}
	defer unlock()
	if b, ok := slot.load(); ok {
		return b, nil
	}
	return slot.build(ctx, arch)
}
