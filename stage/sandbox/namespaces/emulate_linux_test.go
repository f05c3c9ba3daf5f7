package namespaces_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stagewright/stagewright/internal/arch"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

// registeredHere says whether this machine has an interpreter for an architecture, which tests cannot take away.
func registeredHere(t *testing.T, architecture string) bool {
	t.Helper()
	list, err := arch.Handlers(arch.BinfmtDir)
	if err != nil {
		t.Fatal(err)
	}
	return len(arch.For(architecture, list)) > 0
}

func TestCheckPlatform(t *testing.T) {
	r := newRunner(t)
	if err := sandbox.Probe(t.Context(), r); err != nil {
		t.Skip(err)
	}
	foreign, emulator := emulator(t)
	static := filepath.Join(sandboxtest.Lower(t), sandboxtest.Prober)
	p := platform.Platform{OS: "linux", Architecture: foreign}
	with := func(path string) map[string]string { return map[string]string{foreign: path} }
	for _, c := range []struct {
		name      string
		platform  platform.Platform
		emulators map[string]string
		want      string
	}{
		{"Native", platform.Host(), nil, ""},
		{"Given", p, with(emulator), ""},
		{"None", p, nil, "no interpreter for them is registered"},
		{"OfAnother", p, map[string]string{"s390x": emulator}, "no interpreter for them is registered"},
		{"Missing", p, with("/does/not/exist"), "/does/not/exist cannot be used (no such file or directory)"},
		{"NoProgram", p, with("/etc/passwd"), "/etc/passwd cannot be used (permission denied)"},
		{"Dynamic", p, with("/bin/sh"), "/bin/sh is linked to libraries of this machine"},
		{"NoEmulator", p, with(static), "does not run them: it ended with"},
		{"Unknown", platform.MustParse("linux/sparc64"), nil, "nothing here knows how to run them"},
		{"OtherSystem", platform.MustParse("freebsd/arm64"), nil, "only programs for linux"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if registeredHere(t, foreign) && strings.HasPrefix(c.want, "no interpreter") {
				t.Skip("this machine has one")
			}
			err := sandbox.CheckPlatform(t.Context(), r, c.platform, c.emulators)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want something about %q", err, c.want)
			}
			if _, ok := errors.AsType[*sandbox.InvalidSpecError](err); ok {
				return
			}
			if e, ok := errors.AsType[*sandbox.PlatformError](err); !ok || e.Fix == "" || e.Platform != c.platform {
				t.Errorf("%#v says neither for what nor what to do", err)
			}
		})
	}
}

// TestRegistered lets the machine, as it looks from inside a user namespace with a binfmt_misc of its own, have an
// interpreter: one that was opened when it was registered, one that is looked for in the root of the process, and
// ones that are of no use.
func TestRegistered(t *testing.T) {
	foreign, emulator := emulator(t)
	for _, c := range []struct{ name, flags, interpreter, want string }{
		{"FixBinary", "POCF", emulator, ""},
		{"InTheRoot", "POC", emulator, ""},
		{"Dynamic", "POC", "/bin/sh", "not there in the root of a step: /bin/sh is linked to libraries"},
		{"Disabled", "", emulator, "is disabled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestInNamespace$/^(Platform|WritesLandInUpper|ReadOnlyRoot)$", "-test.v")
			cmd.Env = append(os.Environ(), "IN_NAMESPACE="+strings.Join([]string{foreign, c.interpreter, c.flags}, " "))
			id := []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			gid := []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: id, GidMappings: gid}
			out, err := cmd.CombinedOutput()
			if bytes.Contains(out, []byte("no binfmt_misc of one's own")) {
				t.Skipf("%s", out)
			}
			if c.want == "" {
				c.want = "--- PASS: TestInNamespace/Platform"
			}
			if err != nil || !bytes.Contains(out, []byte(c.want)) {
				t.Errorf("%v, want something about %q:\n%s", err, c.want, out)
			}
		})
	}
}

// TestInNamespace is the inner half of TestRegistered.
func TestInNamespace(t *testing.T) {
	args := strings.Split(os.Getenv("IN_NAMESPACE"), " ")
	if len(args) != 3 {
		t.Skip("for TestRegistered")
	}
	architecture, interpreter, flags := args[0], args[1], args[2]
	if err := syscall.Mount("binfmt_misc", arch.BinfmtDir, "binfmt_misc", 0, ""); err != nil {
		t.Skipf("no binfmt_misc of one's own, for which Linux 6.7 is needed: %v", err)
	}
	line, err := arch.Registration("test", architecture, interpreter)
	if err != nil {
		t.Fatal(err)
	}
	line = strings.TrimSuffix(line, "POCF") + flags
	if err := os.WriteFile(arch.BinfmtDir+"/register", []byte(line), 0); err != nil {
		t.Fatal(err)
	}
	if flags == "" {
		if err := os.WriteFile(arch.BinfmtDir+"/test", []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
	}
	sandboxtest.Test(t, newRunner, sandboxtest.Options{Platform: platform.Platform{OS: "linux", Architecture: architecture}})
}

// TestSibling: whether the kernel runs the 32-bit programs of this machine's kind is its own to say.
func TestSibling(t *testing.T) {
	sibling := map[string]string{"amd64": "386", "arm64": "arm"}[runtime.GOARCH]
	if sibling == "" {
		t.Skip("this architecture has none")
	}
	r := newRunner(t)
	if err := sandbox.Probe(t.Context(), r); err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, arch.Program(sibling), 0o755); err != nil {
		t.Fatal(err)
	}
	here := exec.Command(path)
	_ = here.Run() // ends with the program's own status, if it can be started
	runs := here.ProcessState != nil && here.ProcessState.ExitCode() == arch.ProgramStatus
	err := sandbox.CheckPlatform(t.Context(), r, platform.Platform{OS: "linux", Architecture: sibling}, nil)
	if (err == nil) != runs {
		t.Errorf("a program for %s runs here: %v; in a sandbox: %v", sibling, runs, err)
	}
}

// TestEveryArchitecture runs the smallest program of each that an emulator here is for.
func TestEveryArchitecture(t *testing.T) {
	r := newRunner(t)
	if err := sandbox.Probe(t.Context(), r); err != nil {
		t.Skip(err)
	}
	names := map[string]string{
		"386": "i386", "amd64": "x86_64", "arm64": "aarch64", "loong64": "loongarch64", "mips64le": "mips64el",
		"arm": "arm", "ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x",
	}
	for _, a := range arch.Architectures() {
		t.Run(a, func(t *testing.T) {
			path, err := exec.LookPath("qemu-" + names[a] + "-static")
			if err != nil {
				t.Skipf("no emulator here; apt-get install qemu-user-static: %v", err)
			}
			p := platform.Platform{OS: "linux", Architecture: a}
			if err := sandbox.CheckPlatform(t.Context(), r, p, map[string]string{a: path}); err != nil {
				t.Error(err)
			}
		})
	}
}
