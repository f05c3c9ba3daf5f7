package stagewright_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/rootfs"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// TestSinksOfOnePath has two sinks of one build name one path. Only a layout holds what both write.
func TestSinksOfOnePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, c := range map[string]struct {
		sinks []image.Sink
		want  string // of the error, empty for none
	}{
		"two kinds of archive": {[]image.Sink{archive.OCI("a.tar"), archive.Docker("a.tar", "a:1")}, "sinks 0 (OCI archive a.tar) and 1 (docker archive a.tar)"},
		"two spellings":        {[]image.Sink{rootfs.Tar("r.tar"), layout.Dir("l1"), rootfs.Tar(dir + "/./r.tar")}, "sinks 0 (tar r.tar) and 2 (tar "},
		"a directory":          {[]image.Sink{rootfs.Dir("d"), rootfs.Dir("d/")}, "sinks 0 (directory d) and 1 (directory d/)"},
		"a layout":             {[]image.Sink{layout.Dir("l2", "a:1"), layout.Dir("l2", "a:2")}, ""},
		"merged":               {[]image.Sink{rootfs.DirWith("m", rootfs.Options{Merge: true}), rootfs.DirWith("m", rootfs.Options{Merge: true})}, "sinks 0 (directory m) and 1 (directory m)"},
		"writers":              {[]image.Sink{rootfs.TarTo(new(strings.Builder)), rootfs.TarTo(new(strings.Builder))}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{Store: cache.NewMemory(), Sinks: c.sinks})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				res.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "a path of its own") {
				t.Errorf("%v", err)
			}
			for _, path := range []string{"a.tar", "r.tar", "d", "m", "l1"} {
				if _, err := os.Lstat(filepath.Join(dir, path)); err == nil {
					t.Errorf("%s was written", path)
				}
			}
		})
	}
}

// TestSinksWithoutPath are refused before anything is built.
func TestSinksWithoutPath(t *testing.T) {
	for _, sink := range []image.Sink{archive.OCI(""), archive.Docker("", "a:1"), layout.Dir(""), rootfs.Dir(""), rootfs.DirWith("", rootfs.Options{Merge: true}), rootfs.Tar(""), rootfs.TarTo(nil)} {
		steps := 0
		_, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{
			Store: cache.NewMemory(), Sinks: []image.Sink{sink}, Progress: func(stage.Event) { steps++ },
		})
		if err == nil || steps > 0 || !strings.Contains(err.Error(), "name") {
			t.Errorf("%v: %d events, %v", sink, steps, err)
		}
	}
}

// TestSinkGoexit has a sink end its goroutine, as t.Fatal does: nothing was delivered, so the build fails.
func TestSinkGoexit(t *testing.T) {
	sink := image.SinkFunc(func(context.Context, image.Artifact) error {
		runtime.Goexit()
		return nil
	})
	_, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{Store: cache.NewMemory(), Sinks: []image.Sink{sink}})
	if err == nil || !strings.Contains(err.Error(), "sink 0 (image.SinkFunc): it ended its goroutine") {
		t.Errorf("%v", err)
	}
}

// TestSinkNamedOnce wants the name of a sink in its error once.
func TestSinkNamedOnce(t *testing.T) {
	dir := t.TempDir()
	_, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{Store: cache.NewMemory(), Sinks: []image.Sink{archive.OCI(dir)}})
	if err == nil || strings.Count(err.Error(), "OCI archive "+dir) != 1 || !strings.Contains(err.Error(), "sink 0: ") {
		t.Errorf("%v", err)
	}
}

// TestBadPlatforms puts sets together by hand that ParseSet would refuse.
func TestBadPlatforms(t *testing.T) {
	amd := platform.MustParse("linux/amd64")
	for name, c := range map[string]struct {
		set  platform.Set
		want string
	}{
		"unset":   {platform.Set{amd, {}}, "one platform is unset"},
		"twice":   {platform.Set{amd, {OS: "linux", Architecture: "x86_64"}}, "listed twice"},
		"unknown": {platform.Set{{OS: "linux", Architecture: "../.."}}, "unknown architecture"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{Store: cache.NewMemory(), Platforms: c.set})
			if err == nil || !strings.Contains(err.Error(), "Options.Platforms") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

// closings counts the results that are closed.
type closings struct {
	stage.Executor
	made, closed int
}

func (c *closings) Execute(ctx context.Context, g *stage.Graph, r stage.Request) (stage.Result, error) {
	res, err := c.Executor.Execute(ctx, g, r)
	if err == nil {
		c.made++
		res = closing{res, c}
	}
	return res, err
}

type closing struct {
	stage.Result
	of *closings
}

func (c closing) Close() error {
	c.of.closed++
	return c.Result.Close()
}

// TestResultIsClosed when Build returns none, so that its lease on the cache ends: after an error of a sink, and after its panic.
func TestResultIsClosed(t *testing.T) {
	for name, sink := range map[string]image.SinkFunc{
		"error": func(context.Context, image.Artifact) error { return errors.New("broken") },
		"panic": func(context.Context, image.Artifact) error { panic("broken") },
	} {
		t.Run(name, func(t *testing.T) {
			inner, err := local.New(local.Options{Store: cache.NewMemory()})
			if err != nil {
				t.Fatal(err)
			}
			executor := &closings{Executor: inner}
			func() {
				defer func() { _ = recover() }()
				_, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x"), stagewright.Options{Executor: executor, Sinks: []image.Sink{sink}})
				if err == nil {
					t.Error("no error")
				}
			}()
			if executor.made != 1 || executor.closed != 1 {
				t.Errorf("%d results, closed %d times", executor.made, executor.closed)
			}
		})
	}
}
