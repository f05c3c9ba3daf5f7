// Package sandboxtest is the conformance suite for implementations of
// sandbox.Runner. Call [Test] from a test of the implementation; what it
// checks is what package sandbox promises. [Lower] makes a root to write
// further tests on.
//
// The suite runs processes that look around from inside: a small static
// program, compiled by the go command when the suite starts. Where there is
// none, the suite skips.
package sandboxtest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// Options say in what way the suite runs its processes.
type Options struct {
	// IDs is the Root.IDs of every Spec.
	IDs sandbox.IDs
	// Idmapped is the Root.Idmapped of every Spec.
	Idmapped bool
	// Features is the Features of every Spec.
	Features sandbox.Features
	// NoKernelPolicy leaves out what only a Runner on the host's own kernel
	// shows: capability masks, seccomp mode and masked paths.
	NoKernelPolicy bool
	// Platform and Emulators are those of every Spec; the processes are programs for
	// that platform. What an emulator shows differently, such as the masks in /proc, is then
	// not looked at. The suite skips where sandbox.CheckPlatform finds that they cannot be run.
	Platform  platform.Platform
	Emulators map[string]string
}

// arch is what the suite's processes are programs for.
func (o *Options) arch() string { return cmp.Or(o.Platform.Architecture, runtime.GOARCH) }

// emulated says that the processes are not those of this machine.
func (o *Options) emulated() bool { return o.arch() != runtime.GOARCH }

// Test runs the suite on Runners from newRunner, which is called once a
// subtest. The suite skips when sandbox.Probe finds the Runner unavailable.
func Test(t *testing.T, newRunner func(t *testing.T) sandbox.Runner, o Options) {
	t.Helper()
	if err := sandbox.Probe(t.Context(), newRunner(t)); err != nil {
		if _, ok := errors.AsType[*sandbox.UnavailableError](err); ok {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	if err := checkPlatform(t.Context(), newRunner(t), o); err != nil {
		if _, ok := errors.AsType[*sandbox.PlatformError](err); ok {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	lower := lowerFor(t, o.arch())
	for _, c := range cases {
		if c.kernelPolicy && (o.NoKernelPolicy || o.emulated()) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			c.run(&fixture{T: t, runner: &configured{newRunner(t), o}, o: o, lower: lower})
		})
	}
}

func checkPlatform(ctx context.Context, r sandbox.Runner, o Options) error {
	if !o.emulated() {
		return nil
	}
	return sandbox.CheckPlatform(ctx, r, o.Platform, o.Emulators)
}

// configured is a Runner whose Specs all have the suite's platform.
type configured struct {
	sandbox.Runner
	o Options
}

func (r *configured) Run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	s := *spec
	s.Platform, s.Emulators = r.o.Platform, r.o.Emulators
	s.Root.Idmapped = r.o.Idmapped
	return r.Runner.Run(ctx, &s)
}

// suiteCase is one subtest of the suite.
type suiteCase struct {
	name         string
	kernelPolicy bool
	run          func(*fixture)
}

var cases = slices.Concat(insideCases, rootCases, mountCases, socketCases, limitCases, endCases, errorCases)

// fixture is what one subtest works with.
type fixture struct {
	*testing.T
	runner sandbox.Runner
	o      Options
	lower  string
}

// facts mirrors the type of testdata/prober.
type facts struct {
	PID, UID, EUID, GID int
	Groups              []int
	Hostname, Dir       string
	Args, Env           []string
	Status              map[string]string
	Umask               int
	FDs                 map[string]string
	Interfaces          map[string]string
	Mounts              []string
	Readable            map[string]bool
	Writable            map[string]bool
	Refused             map[string]string
	TTY                 string
	Processes           []string
}

// root makes a fresh writable root over the fixture's lower.
func (f *fixture) root(more ...string) sandbox.Root {
	f.Helper()
	dir := tempDir(f)
	r := sandbox.Root{
		Lowers: append(more, f.lower),
		Upper:  filepath.Join(dir, "upper"),
		Work:   filepath.Join(dir, "work"),
		IDs:    f.o.IDs,
	}
	for _, d := range []string{r.Upper, r.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.Chmod(d, 0o755); err != nil {
			f.Fatal(err)
		}
	}
	return r
}

// spec is a run of the prober in a fresh root.
func (f *fixture) spec(args ...string) *sandbox.Spec {
	f.Helper()
	return &sandbox.Spec{
		Root:     f.root(),
		Args:     append([]string{Prober}, args...),
		Features: f.o.Features,
	}
}

// run runs s, wants it to succeed, and returns what it wrote.
func (f *fixture) run(s *sandbox.Spec) string {
	f.Helper()
	var out, errOut bytes.Buffer
	s.Stdout, s.Stderr = &out, &errOut
	st, err := f.runner.Run(f.Context(), s)
	if err != nil {
		f.Fatalf("run %q: %v", s.Args, err)
	}
	if !st.Success() {
		f.Fatalf("run %q: %+v\n%s", s.Args, st, errOut.String())
	}
	return out.String()
}

func (f *fixture) facts(s *sandbox.Spec) *facts {
	f.Helper()
	s.Args = []string{Prober, "facts"}
	var v facts
	if err := json.Unmarshal([]byte(f.run(s)), &v); err != nil {
		f.Fatal(err)
	}
	return &v
}

// otherUser is an identity beside root; it skips where the Runner has none.
func (f *fixture) otherUser() sandbox.User {
	f.Helper()
	u := sandbox.User{UID: 1234, GID: 2345, Groups: []uint32{2345, 27}}
	s := f.spec()
	s.User = u
	_, err := f.runner.Run(f.Context(), s)
	if _, ok := errors.AsType[*sandbox.UnmappedIDError](err); ok {
		f.Skip(err)
	}
	if err != nil {
		f.Fatal(err)
	}
	return u
}

// upper lists what is in the upper directory of a root, as slash paths.
func (f *fixture) upper(r sandbox.Root) []string {
	f.Helper()
	var out []string
	err := filepath.WalkDir(r.Upper, func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != r.Upper {
			rel, _ := filepath.Rel(r.Upper, path) // path is below by construction
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	})
	if err != nil {
		f.Fatal(err)
	}
	return out
}

func (f *fixture) noTrace(r sandbox.Root) {
	f.Helper()
	if got := f.upper(r); len(got) > 0 {
		f.Errorf("the upper directory has %q, want nothing", got)
	}
}

// equal fails the test unless got is want.
func equal[T any](f *fixture, what string, got, want T) {
	f.Helper()
	g, _ := json.Marshal(got)  // plain data
	w, _ := json.Marshal(want) // plain data
	if !bytes.Equal(g, w) {
		f.Errorf("%s: got %s, want %s", what, g, w)
	}
}
