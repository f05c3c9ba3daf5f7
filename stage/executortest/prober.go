package executortest

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing/fstest"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

//go:embed testdata/prober/main.go
var proberSource []byte

// buildProber compiles the program of testdata/prober, once a test process.
var buildProber = sync.OnceValues(func() (program []byte, err error) {
	dir, err := os.MkdirTemp("", "executortest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), proberSource, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "prober", "main.go")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH, "GOFLAGS=", "GOWORK=off", "GOTOOLCHAIN=local")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the program for Run steps: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "prober"))
})

const prober = "/bin/prober"

// base is a stage whose shell is the prober: Run("say hello then exit 3"). It
// skips where the executor's sandbox does not work.
func (f *fixture) base() stage.Stage {
	f.Helper()
	base := f.program()
	res, err := f.executor().Execute(f.Context(), f.compile(base.Run("true")), stage.Request{})
	if unavailable, ok := errors.AsType[*sandbox.UnavailableError](err); ok {
		f.Skip(unavailable)
	}
	if err != nil {
		f.Fatal(err)
	}
	if err := res.Close(); err != nil {
		f.Error(err)
	}
	return base
}

func (f *fixture) program() stage.Stage {
	f.Helper()
	program, err := buildProber()
	if err != nil {
		f.Skipf("no program to run: %v", err)
	}
	fsys := fstest.MapFS{prober[1:]: {Data: program, Mode: 0o755}}
	return stage.Scratch(stage.As("base")).CopyFrom(stage.FS(fsys), ".", "/").Shell(prober, "-c")
}
