package stagetest_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
	"github.com/stagewright/stagewright/stage/stagetest"
)

// A Recorder in front of a Runner is that Runner.
func TestRecorderIsARunner(t *testing.T) {
	sandboxtest.Test(t, func(*testing.T) sandbox.Runner {
		return stagetest.NewRecorder(namespaces.New(namespaces.Options{}))
	}, sandboxtest.Options{})
}

// What a Recorder keeps is a copy.
func TestRecorderKeepsCopies(t *testing.T) {
	r := stagetest.NewRecorder(nil)
	spec := &sandbox.Spec{Root: readOnly(t), Args: []string{"/bin/make", "all"}, Env: []string{"A=1"}, Mounts: []sandbox.Mount{{Type: sandbox.MountFile, Target: "/f", Data: []byte("x")}}}
	if status, err := r.Run(t.Context(), spec); err != nil || !status.Success() {
		t.Fatal(status, err)
	}
	spec.Args[1], spec.Mounts[0].Data[0] = "clean", 'y'
	r.Specs()[0].Env[0] = "A=2"
	got := r.Specs()[0]
	if r.Commands()[0] != "/bin/make all" || got.Env[0] != "A=1" || string(got.Mounts[0].Data) != "x" {
		t.Errorf("kept %q %+v", r.Commands(), got)
	}
}

// Neither runs what no Runner would, and both end with their context.
func TestRunnersCheck(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for name, r := range map[string]sandbox.Runner{"Recorder": stagetest.NewRecorder(nil), "Script": stagetest.Script{"": {}}} {
		var invalid *sandbox.InvalidSpecError
		if _, err := r.Run(t.Context(), &sandbox.Spec{}); !errors.As(err, &invalid) {
			t.Errorf("%s: no command: %v", name, err)
		}
		if _, err := r.Run(over, &sandbox.Spec{Root: readOnly(t), Args: []string{"/x"}}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: context over: %v", name, err)
		}
		if err := sandbox.Probe(t.Context(), r); err != nil {
			t.Errorf("%s: probe: %v", name, err)
		}
	}
}

// readOnly is a root that nothing is written to.
func readOnly(t testing.TB) sandbox.Root { return sandbox.Root{Lowers: []string{t.TempDir()}} }

func needsLinux(t testing.TB) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skipf("Run steps need Linux")
	}
}

// What a Script puts into a stage is all that changes, wherever it is.
func TestScriptFiles(t *testing.T) {
	needsLinux(t)
	base := stage.Scratch().
		Mkdir("/private", stage.Mode(0o700)).
		Mkdir("/tmp", stage.Mode(0o1777)).
		Mkdir("/home/app", stage.Mode(0o750), stage.Owner("7:8")).
		File("/usr/bin/old", "old", stage.Mode(0o755)).
		Symlink("usr/bin", "/bin").
		File("/gone/old", "").Remove("/gone")
	script := stagetest.Script{"install": {Stdout: "done\n", Files: fstest.MapFS{
		"gone/file":        {Data: []byte("5")},
		"home/app/file":    {Data: []byte("4")},
		"private/file":     {Data: []byte("1")},
		"tmp/file":         {Data: []byte("2"), Mode: 0o600},
		"usr/bin/old":      {Data: []byte("new"), Mode: 0o700},
		"usr/bin/link":     {Data: []byte("old"), Mode: fs.ModeSymlink},
		"opt/app/lib/file": {Data: []byte("3")},
	}}}
	img := stagetest.ImageWith(t, base.Run("install").Run("install"), stagewright.Options{Runner: script})
	img.WantTree("testdata/script.txt")
	img.WantLayer(-1, "/gone/file", "/home/app/file", "/opt/app/lib/file", "/private/file", "/tmp/file", "/usr/bin/link", "/usr/bin/old")
	img.File("/usr/bin/link").WantContent("new")
}

func TestScriptFails(t *testing.T) {
	needsLinux(t)
	base := stage.Scratch().Symlink("usr/bin", "/bin").File("/etc", "a file")
	none := &sandbox.UnavailableError{Cause: "a test"}
	script := stagetest.Script{
		"fail":    {Stderr: "it broke\n", Code: 3},
		"none":    {Err: none},
		"link":    {Files: fstest.MapFS{"bin/sh": {}}},
		"file":    {Files: fstest.MapFS{"etc/passwd": {}}},
		"special": {Files: fstest.MapFS{"fifo": {Mode: fs.ModeNamedPipe}}},
	}
	for command, want := range map[string]string{
		"fail":    "exit code 3",
		"none":    "cannot run processes here: a test",
		"link":    "/bin is a symbolic link in the stage",
		"file":    "/etc is a file in the stage",
		"special": "fifo is p---------",
		"other":   `no answer for the command "other"; it has ["fail" "file" "link" "none" "special"]`,
	} {
		_, err := stagewright.Build(t.Context(), base.Run(command), stagewright.Options{Runner: script, CacheDir: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", command, err, want)
		}
		if command == "none" && !errors.Is(err, none) {
			t.Errorf("%s: the error is not the given one: %v", command, err)
		}
	}
	if _, err := script.Run(t.Context(), &sandbox.Spec{Root: readOnly(t), Args: []string{"link"}}); err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a read-only root: %v", err)
	}
}

// A Script writes nothing outside of the root, whatever links the layers below have.
func TestScriptStaysInside(t *testing.T) {
	outside, lower, upper := t.TempDir(), t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.Symlink(outside, filepath.Join(upper, "dir")),
		os.Symlink(outside, filepath.Join(lower, "other")),
	} {
		if err != nil {
			t.Skip(err)
		}
	}
	for _, name := range []string{"dir/file", "other/file"} {
		script := stagetest.Script{"": {Files: fstest.MapFS{name: {Data: []byte("x")}}}}
		_, err := script.Run(t.Context(), &sandbox.Spec{Args: []string{"/x"}, Root: sandbox.Root{Lowers: []string{lower}, Upper: upper, Work: t.TempDir()}})
		if err == nil || !strings.Contains(err.Error(), "symbolic link") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left := names(t, outside); len(left) != 0 {
		t.Errorf("outside there is %q", left)
	}
}

// The streams of a step get what a Script says, and their errors are the step's.
func TestScriptStreams(t *testing.T) {
	var out, errs strings.Builder
	script := stagetest.Script{"a b": {Stdout: "out", Stderr: "err"}}
	status, err := script.Run(t.Context(), &sandbox.Spec{Root: readOnly(t), Args: []string{"a", "b"}, Stdout: &out, Stderr: &errs})
	if err != nil || !status.Success() || out.String() != "out" || errs.String() != "err" {
		t.Errorf("%v, %v, %q, %q", status, err, &out, &errs)
	}
	if _, err := script.Run(t.Context(), &sandbox.Spec{Root: readOnly(t), Args: []string{"a", "b"}, Stdout: broken{}}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("a stream that fails: %v", err)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, fs.ErrClosed }

// The command of an image can be scripted, too.
func TestScriptRunsTheImage(t *testing.T) {
	needsLinux(t)
	recorder := stagetest.NewRecorder(stagetest.Script{"/app -v": {Stdout: "1.0\n"}})
	img := stagetest.ImageWith(t, stage.Scratch().File("/app", "x").Env("A", "1").Entrypoint("/app").Cmd("-v"), stagewright.Options{Runner: recorder})
	var out strings.Builder
	if err := img.Run(t.Context(), stage.Process{Stdout: &out}); err != nil || out.String() != "1.0\n" {
		t.Errorf("%q, %v", &out, err)
	}
	if specs := recorder.Specs(); len(specs) != 1 || !slices.Contains(specs[0].Env, "A=1") {
		t.Errorf("%+v", specs)
	}
}
