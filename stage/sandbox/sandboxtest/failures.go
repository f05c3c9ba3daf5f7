package sandboxtest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// errorCases are about processes that cannot be started.
var errorCases = []suiteCase{
	{"NotFound", false, testNotFound},
	{"NotExecutable", false, testNotExecutable},
	{"WorkingDirectory", false, testWorkingDirectory},
	{"InvalidSpec", false, testInvalidSpec},
}

func testNotFound(f *fixture) {
	for _, c := range []struct {
		args, env []string
		tried     []string
	}{
		{[]string{"nope"}, []string{"PATH=/usr/bin:/bin"}, []string{"/usr/bin/nope", "/bin/nope"}},
		{[]string{"nope"}, nil, nil},
		{[]string{"/opt/nope"}, []string{"PATH=/bin"}, []string{"/opt/nope"}},
	} {
		s := f.spec()
		s.Args, s.Env = c.args, c.env
		_, err := f.runner.Run(f.Context(), s)
		e, ok := errors.AsType[*sandbox.NotFoundError](err)
		if !ok || !errors.Is(err, fs.ErrNotExist) {
			f.Errorf("%q: %v, want a *NotFoundError", c.args, err)
			continue
		}
		equal(f, "name", e.Name, c.args[0])
		equal(f, "tried", e.Tried, c.tried)
		equal(f, "no PATH", e.NoEnv, c.env == nil)
		f.noTrace(s.Root)
	}
}

func testNotExecutable(f *fixture) {
	layer := tempDir(f)
	write(f, filepath.Join(layer, "plain"), []byte("x"), 0o644)
	write(f, filepath.Join(layer, "data"), []byte("neither this nor that"), 0o755)
	write(f, filepath.Join(layer, "script"), []byte("#!/bin/bash -e\ntrue\n"), 0o755)
	write(f, filepath.Join(layer, "dynamic"), dynamicELF("/lib64/ld-linux-x86-64.so.2", 62), 0o755)
	write(f, filepath.Join(layer, "dir/x"), nil, 0o644)
	if err := os.Symlink("/missing", filepath.Join(layer, "dangling")); err != nil {
		f.Fatal(err)
	}
	for _, c := range []struct{ path, interpreter, reason string }{
		{"/plain", "", "chmod +x"},
		{"/data", "", "#!"},
		{"/script", "/bin/bash", "/bin/bash is missing"},
		{"/dir", "", "directory"},
		{"/dangling", "", "symbolic link"},
	} {
		s := f.spec()
		s.Root, s.Args = f.root(layer), []string{c.path}
		_, err := f.runner.Run(f.Context(), s)
		e, ok := errors.AsType[*sandbox.ExecError](err)
		if !ok || e.Path != c.path || e.Interpreter != c.interpreter || !strings.Contains(e.Error(), c.reason) {
			f.Errorf("%s: %v (%+v), want an *ExecError about %q", c.path, err, e, c.reason)
		}
	}
}

// dynamicELF is the start of a program that wants an interpreter.
func dynamicELF(interpreter string, machine byte) []byte {
	b := make([]byte, 64+56, 64+56+len(interpreter)+1)
	copy(b, "\x7fELF\x02\x01\x01")
	b[16], b[18], b[20] = 2, machine, 1
	b[32], b[52], b[54], b[56] = 64, 64, 56, 1 // program headers
	b[64] = 3                                  // PT_INTERP
	b[64+8], b[64+32], b[64+40] = 120, byte(len(interpreter)+1), byte(len(interpreter)+1)
	return append(append(b, interpreter...), 0)
}

func testWorkingDirectory(f *fixture) {
	for _, dir := range []string{"/missing", Prober} {
		s := f.spec("euid")
		s.Dir = dir
		_, err := f.runner.Run(f.Context(), s)
		if e, ok := errors.AsType[*sandbox.DirError](err); !ok || e.Dir != dir {
			f.Errorf("working directory %s: %v, want a *DirError", dir, err)
		}
	}
}

func testInvalidSpec(f *fixture) {
	s := f.spec()
	s.Args = nil
	_, err := f.runner.Run(f.Context(), s)
	if _, ok := errors.AsType[*sandbox.InvalidSpecError](err); !ok {
		f.Errorf("no arguments: %v, want an *InvalidSpecError", err)
	}
}
