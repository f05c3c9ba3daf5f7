package local_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// shellOnDisk is shell out of a directory, which an unchanged build looks at and
// does not read.
func shellOnDisk(tb testing.TB) stage.Stage {
	tb.Helper()
	shell(tb)
	dir := tb.TempDir()
	if err := os.CopyFS(dir, toolboxFiles(tb).Files()); err != nil {
		tb.Fatal(err)
	}
	return stage.Scratch(stage.As("shell")).CopyFrom(stage.Dir(dir), ".", "/")
}

// shell returns a stage with /bin/sh and core commands. The test is skipped where
// no sandbox works.
func shell(tb testing.TB) stage.Stage {
	tb.Helper()
	if err := sandbox.Probe(tb.Context(), namespaces.New(namespaces.Options{})); err != nil {
		tb.Skipf("no sandbox on this machine: %v", err)
	}
	return stage.Scratch(stage.As("shell")).CopyFrom(stage.FS(toolboxFiles(tb).Files()), ".", "/")
}

// toolboxFiles compiles the shell once a machine.
func toolboxFiles(tb testing.TB) toolbox.Binary {
	tb.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	bin, err := toolbox.Build(tb.Context(), filepath.Join(dir, "stagewright-test"))
	if err != nil {
		tb.Fatal(err)
	}
	return bin
}

// executor returns an executor with a cache on disk in dir.
func executor(tb testing.TB, dir string, o local.Options) *local.Executor {
	tb.Helper()
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	o.Store = disk
	e, err := local.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
		disk.Close()
	})
	return e
}

// compile compiles one target without base images.
func compile(tb testing.TB, target stage.Stage) *stage.Graph {
	tb.Helper()
	g, err := stage.Compile(tb.Context(), []stage.Stage{target}, stage.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

// build evaluates one target and returns the result, closed with the test.
func build(tb testing.TB, e stage.Executor, target stage.Stage, r stage.Request) stage.Result {
	tb.Helper()
	res, err := e.Execute(tb.Context(), compile(tb, target), r)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { res.Close() })
	return res
}

// epoch is the modification time of everything that a build makes.
var epoch = time.Unix(0, 0).UTC()

// amd64 is the platform of golden digests, whatever machine runs the test.
var amd64 = platform.MustParseSet("linux/amd64")
