package local_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	godigest "github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// foreign is an architecture that is not this machine's, and a static program that emulates it.
func foreign(t *testing.T) (p platform.Platform, emulator string) {
	t.Helper()
	arch, name := "arm64", "qemu-aarch64-static"
	if runtime.GOARCH == "arm64" {
		arch, name = "amd64", "qemu-x86_64-static"
	}
	emulator, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no emulator here; apt-get install qemu-user-static: %v", err)
	}
	p = platform.Platform{OS: "linux", Architecture: arch}
	err = sandbox.CheckPlatform(t.Context(), namespaces.New(namespaces.Options{}), p, map[string]string{arch: emulator})
	if err != nil {
		t.Skip(err)
	}
	return p, emulator
}

// foreignShell is shell for another architecture.
func foreignShell(t *testing.T, p platform.Platform) stage.Stage {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	bin, err := toolbox.BuildFor(t.Context(), filepath.Join(dir, "stagewright-test"), p.Architecture)
	if err != nil {
		t.Fatal(err)
	}
	return stage.Scratch(stage.As("shell")).CopyFrom(stage.FS(bin.Files()), ".", "/")
}

func compileFor(t *testing.T, target stage.Stage, o stage.Options) *stage.Graph {
	t.Helper()
	g, err := stage.Compile(t.Context(), []stage.Stage{target}, o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// TestForeignRun builds a stage for another machine with an emulator that nobody has registered, and again without one:
// its results are in the cache then. No program here forks: the shell has threads, and the child of such a program
// now and then waits for ever for a lock of QEMU 7.2 that a thread had which it has not.
func TestForeignRun(t *testing.T) {
	p, emulator := foreign(t)
	target := foreignShell(t, p).
		RunExec([]string{"mkdir", "/made"}).
		Run("echo $((6*7)) > /made/f; exec chmod 4755 /made/f").
		RunExec([]string{"rm", "-r", "/usr/bin"}).
		RunExec([]string{"mkdir", "/var/tmp/x"}).
		Run("read x < /made/f; echo 5${x#4} > /made/g; exec rm -r /var/tmp").
		RunExec([]string{"mkdir", "/var/tmp"}).
		Run("exec env > /made/env").
		Run("exec sh -c 'echo $0 > /made/name'").
		Run("exec ls /proc/sys/fs/binfmt_misc > /made/registrations")
	o := stage.Options{Platforms: platform.Set{p}}
	dir := t.TempDir()
	e := executor(t, dir, local.Options{Emulators: map[string]string{p.Architecture: emulator}})
	first, err := e.Execute(t.Context(), compileFor(t, target, o), stage.Request{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	for name, want := range map[string]string{"f": "42\n", "g": "52\n", "name": "sh\n", "registrations": ""} {
		if got := read(t, first, "made/"+name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	all := names(t, first, "")
	for _, n := range all {
		if strings.Contains(n, "qemu") || strings.Contains(n, "emulator") || strings.HasPrefix(n, "var/tmp/") || strings.HasPrefix(n, "usr/bin") {
			t.Errorf("%s is in the image", n)
		}
	}
	var out bytes.Buffer
	process := stage.Process{Argv: []string{"sh", "-c", "read x < /made/f; echo $x; echo x > /made/f"}, Stdout: &out, Env: []string{"PATH=/bin"}}
	step := first.Outputs()[0].Target.Step
	if err := first.(stage.ProcessRunner).RunProcess(t.Context(), step, process); err != nil || out.String() != "42\n" {
		t.Errorf("a process of the image: %v, %q", err, out.String())
	}

	refused := &picky{refuse: p.Architecture}
	without := executor(t, dir, local.Options{Runner: refused})
	second, err := without.Execute(t.Context(), compileFor(t, target, o), stage.Request{})
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if a, b := digest(t, first), digest(t, second); a != b {
		t.Errorf("%s with an emulator, %s without", a, b)
	}
	if err := second.(stage.ProcessRunner).RunProcess(t.Context(), step, process); !isPlatformError(err) {
		t.Errorf("a process of the image without an emulator: %v", err)
	}
}

func isPlatformError(err error) bool {
	_, ok := errors.AsType[*sandbox.PlatformError](err)
	return ok
}

// picky is a Runner without privilege: its processes change nothing, and those of an architecture it does not
// run without an emulator.
type picky struct {
	refuse string
	ran    atomic.Int32
	asked  atomic.Int32 // for a platform
}

func (r *picky) Run(context.Context, *sandbox.Spec) (sandbox.Status, error) {
	r.ran.Add(1)
	return sandbox.Status{}, nil
}

func (r *picky) CheckPlatform(_ context.Context, p platform.Platform, emulators map[string]string) error {
	r.asked.Add(1)
	if p.Architecture != r.refuse || emulators[p.Architecture] != "" {
		return nil
	}
	return &sandbox.PlatformError{Platform: p, Cause: "no interpreter", Fix: "install one"}
}

// countedBase resolves every reference to an image with one layer, and counts how often that is read.
type countedBase struct{ reads atomic.Int32 }

type countedLayer struct {
	v1.Layer
	reads *atomic.Int32
}

func (l *countedLayer) Compressed() (io.ReadCloser, error) {
	l.reads.Add(1)
	return l.Layer.Compressed()
}

func (b *countedBase) image() (v1.Image, error) {
	tar := make([]byte, 1024) // an archive without entries
	return mutate.AppendLayers(empty.Image, &countedLayer{static.NewLayer(tar, types.OCIUncompressedLayer), &b.reads})
}

func (b *countedBase) Resolve(_ context.Context, ref string, _ platform.Platform) (stage.BaseImage, error) {
	img, err := b.image()
	if err != nil {
		return stage.BaseImage{}, err
	}
	d, err := img.Digest()
	return stage.BaseImage{Name: ref + "@" + d.String(), Digest: godigest.Digest(d.String())}, err
}

func (b *countedBase) Image(context.Context, string, platform.Platform) (v1.Image, error) {
	return b.image()
}

// other is an architecture that no machine of these tests has.
var other = platform.MustParse("linux/s390x")

// TestNoEmulator: what cannot run is found before anything runs, all at once, and before a layer of a base is read.
func TestNoEmulator(t *testing.T) {
	base := &countedBase{}
	native := stage.From("base:1", stage.As("native"), stage.OnBuildPlatform()).Run("make")
	target := stage.From("base:1", stage.As("foreign")).
		Run("first").
		CopyFrom(native, "/", "/native").
		Run("second", stage.CacheMount("/c"))
	set := platform.Set{{OS: "linux", Architecture: runtime.GOARCH}, other}
	g := compileFor(t, target, stage.Options{Platforms: set, Resolver: base})
	r := &picky{refuse: other.Architecture}
	dir := t.TempDir()
	e := executor(t, dir, local.Options{Runner: r, Images: base})
	var started []string
	request := stage.Request{Progress: func(ev stage.Event) {
		if s, ok := ev.(stage.StepStarted); ok {
			started = append(started, s.Step.Text)
		}
	}}
	_, err := e.Execute(t.Context(), g, request)
	var errs stage.Errors
	if !errors.As(err, &errs) || len(errs) != 2 || !errors.Is(err, stage.ErrUnsupported) || !isPlatformError(err) {
		t.Fatalf("got %v, want a mistake for each of two steps", err)
	}
	for i, want := range []string{"first", "second"} {
		for _, part := range []string{want, "emulate_test.go:", "no interpreter"} {
			if !strings.Contains(errs[i].Error(), part) {
				t.Errorf("%v\ndoes not say %q", errs[i], part)
			}
		}
	}
	if first, last := errs[0].Fix, errs[1].Fix; first != "" || !strings.HasPrefix(last, "install one; or pin the stage with stage.OnBuildPlatform") {
		t.Errorf("advice %q and %q, want it once", first, last)
	}
	if n := base.reads.Load(); n != 0 || r.ran.Load() != 0 || len(started) != 0 {
		t.Errorf("%d layers read, %d processes run, started %q; want nothing", n, r.ran.Load(), started)
	}

	// With one of them everything runs; then its results are in the cache, and the emulator can go: nobody asks for it.
	emulators := map[string]string{other.Architecture: "/emulator"}
	for _, c := range []struct {
		emulators map[string]string
		noCache   bool
		runs      int32
		ok        bool
	}{{emulators, false, 5, true}, {nil, false, 0, true}, {nil, true, 0, false}, {emulators, true, 5, true}} {
		r.ran.Store(0)
		r.asked.Store(0)
		e := executor(t, dir, local.Options{Runner: r, Images: base, Emulators: c.emulators})
		res, err := e.Execute(t.Context(), g, stage.Request{NoCache: c.noCache})
		if res != nil {
			res.Close()
		}
		if (err == nil) != c.ok || r.ran.Load() != c.runs {
			t.Errorf("%+v: %v, %d processes", c, err, r.ran.Load())
		}
		if unchanged := c.ok && c.runs == 0; (r.asked.Load() == 0) != unchanged {
			t.Errorf("%+v: the runner was asked %d times what it runs", c, r.asked.Load())
		}
	}
}

// TestNoEmulatorForOne: only the steps that would run are named; those below that are in the cache, those of finished
// targets and those that no target needs are not.
func TestNoEmulatorForOne(t *testing.T) {
	files := stage.FS(fstest.MapFS{"f": {Data: []byte("x")}})
	first := stage.Scratch().CopyFrom(files, ".", "/").Run("first")
	second := first.Run("second")
	r := &picky{refuse: other.Architecture}
	dir := t.TempDir()
	o := stage.Options{Platforms: platform.Set{other}}
	e := executor(t, dir, local.Options{Runner: r, Emulators: map[string]string{other.Architecture: "/emulator"}})
	res, err := e.Execute(t.Context(), compileFor(t, first, o), stage.Request{})
	if err != nil {
		t.Fatal(err)
	}
	res.Close()
	without := executor(t, dir, local.Options{Runner: r})
	_, err = without.Execute(t.Context(), compileFor(t, second, o), stage.Request{})
	var errs stage.Errors
	if !errors.As(err, &errs) || len(errs) != 1 || !strings.Contains(errs[0].Error(), "second") {
		t.Errorf("got %v, want the second step alone", err)
	}
	g, err := stage.Compile(t.Context(), []stage.Stage{first, stage.Scratch().CopyFrom(files, ".", "/").Env("A", "1")}, o)
	if err != nil {
		t.Fatal(err)
	}
	if res, err = without.Execute(t.Context(), g, stage.Request{}); err != nil {
		t.Error(err)
	} else {
		res.Close()
	}
	plan, err := without.Plan(t.Context(), compileFor(t, second, o), stage.Request{})
	if err != nil || plan[len(plan)-1].Status != stage.Ran {
		t.Errorf("a plan needs no emulator: %v, %v", plan, err)
	}
}

// TestPartialWithoutEmulator: what needs no emulator is built, where that is wanted.
func TestPartialWithoutEmulator(t *testing.T) {
	native := platform.Platform{OS: "linux", Architecture: runtime.GOARCH}
	g := compileFor(t, stage.Scratch().Run("make"), stage.Options{Platforms: platform.Set{other, native}})
	r := &picky{refuse: other.Architecture}
	e := executor(t, t.TempDir(), local.Options{Runner: r})
	res, err := e.Execute(t.Context(), g, stage.Request{Partial: true})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	built, failed := res.Outputs(), stage.FailedOf(res)
	if len(built) != 1 || built[0].Platform != native || len(failed) != 1 || failed[0].Platform != other || !isPlatformError(failed[0]) {
		t.Errorf("built %v, failed %v", built, failed)
	}
	if n := r.ran.Load(); n != 1 {
		t.Errorf("%d processes", n)
	}
}

func TestEmulatorsOption(t *testing.T) {
	for _, c := range []struct{ arch, path, want string }{
		{"aarch64", "/qemu", `write "arm64"`},
		{"arm64", "qemu-aarch64-static", "absolute path"},
		{"z80", "/qemu", "unknown architecture"},
		{"arm64", "/qemu", ""},
	} {
		_, err := local.New(local.Options{Emulators: map[string]string{c.arch: c.path}})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s=%s: %v, want %q", c.arch, c.path, err, c.want)
		}
	}
}

// TestOnlyLinuxRuns: programs for another system cannot be emulated.
func TestOnlyLinuxRuns(t *testing.T) {
	e := executor(t, t.TempDir(), local.Options{Runner: &picky{}})
	g := compileFor(t, stage.Scratch().RunExec([]string{"x.exe"}), stage.Options{Platforms: platform.MustParseSet("windows/amd64")})
	if _, err := e.Execute(t.Context(), g, stage.Request{}); !errors.Is(err, stage.ErrUnsupported) || !strings.Contains(err.Error(), "windows/amd64") {
		t.Error(err)
	}
}
