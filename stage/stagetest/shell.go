package stagetest

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// Shell returns a stage with /bin/sh and core commands (cat, cp, grep, ls, mkdir, sed, sort, tar, touch and some fifty others) on
// scratch, for Run steps in tests that have no registry to take a base image from. They are one static program for this machine's
// architecture, compiled from Go modules once and kept in the user's cache directory for all packages and processes; an image
// with it has its licences (all BSD-3-Clause or like it). It is a shell for build scripts, without job control and signals, not
// all of POSIX.
//
// The first call on a machine takes tens of seconds, and needs the module proxy or a module cache. The test is skipped, with the
// reason, where there is no go command, and as by [NeedsSandbox].
func Shell(tb testing.TB) stage.Stage {
	tb.Helper()
	NeedsSandbox(tb)
	tools, err := toolbox.Build(tb.Context(), "")
	if missing, ok := errors.AsType[*toolbox.GoError](err); ok && missing.Go == "" {
		tb.Skipf("stagetest: no shell: %v", err)
	}
	if err != nil {
		tb.Fatalf("stagetest: no shell: %v", err)
	}
	return stage.Scratch(stage.As("shell")).CopyFrom(stage.FSSource{FS: shellFiles{tools.Files()}, Name: "shell"}, ".", "/")
}

// shellFiles are the files of a shell. The type tells them from other file systems.
type shellFiles struct{ fs.FS }

// ReadLink implements fs.ReadLinkFS.
func (s shellFiles) ReadLink(name string) (string, error) { return fs.ReadLink(s.FS, name) }

// Lstat implements fs.ReadLinkFS.
func (s shellFiles) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(s.FS, name) }

// NeedsSandbox skips the test on a machine that cannot run the processes of Run steps, with what is missing.
func NeedsSandbox(tb testing.TB) {
	tb.Helper()
	if err := sandbox.Probe(tb.Context(), namespaces.New(namespaces.Options{})); err != nil {
		tb.Skipf("stagetest: Run steps do not work here: %v", err)
	}
}
