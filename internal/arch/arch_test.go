package arch

import (
	"bytes"
	"debug/elf"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// qemuNames are the architectures as qemu calls them, where the names differ from Go's.
var qemuNames = map[string]string{"386": "i386", "amd64": "x86_64", "arm64": "aarch64", "loong64": "loongarch64", "mips64le": "mips64el"}

func qemu(t *testing.T, arch string) string {
	t.Helper()
	name := qemuNames[arch]
	if name == "" {
		name = arch
	}
	path, err := exec.LookPath("qemu-" + name + "-static")
	if err != nil {
		t.Skipf("no qemu here (apt-get install qemu-user-static): %v", err)
	}
	return path
}

func status(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0
}

func program(t *testing.T, arch string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, Program(arch), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestProgramsRun(t *testing.T) {
	for _, arch := range Architectures() {
		t.Run(arch, func(t *testing.T) {
			path := program(t, arch)
			if got := status(t, exec.Command(qemu(t, arch), path)); got != ProgramStatus {
				t.Errorf("ended with %d, want %d", got, ProgramStatus)
			}
		})
	}
}

func TestProgramRunsHere(t *testing.T) {
	if runtime.GOOS != "linux" || !Known(runtime.GOARCH) {
		t.Skip("not Linux, or of an architecture that is not known")
	}
	if got := status(t, exec.Command(program(t, runtime.GOARCH))); got != ProgramStatus {
		t.Errorf("ended with %d, want %d", got, ProgramStatus)
	}
}

func TestProgramsAreELF(t *testing.T) {
	for _, arch := range Architectures() {
		f, err := elf.NewFile(bytes.NewReader(Program(arch)))
		if err != nil {
			t.Errorf("%s: %v", arch, err)
			continue
		}
		if len(f.Progs) != 1 || f.Type != elf.ET_EXEC || uint16(f.Machine) != abis[arch].machine {
			t.Errorf("%s: %+v", arch, f.FileHeader)
		}
	}
	if Program("z80") != nil {
		t.Error("there is a program for z80")
	}
}

// TestRegistrationsTellApart: of each registration, the programs of its own architecture are taken and no others.
func TestRegistrationsTellApart(t *testing.T) {
	for _, arch := range Architectures() {
		magic, mask := abis[arch].magic()
		h := Handler{Magic: magic, Mask: mask}
		for _, other := range Architectures() {
			if got := h.Takes(Program(other)); got != (arch == other) {
				t.Errorf("the registration for %s takes programs of %s: %v", arch, other, got)
			}
		}
		line, err := Registration("stagewright-"+arch, arch, "emulator-"+arch)
		if err != nil || len(line) > 1920 || strings.Count(line, ":") != 7 {
			t.Errorf("%s: %q, %v", arch, line, err)
		}
	}
	if _, err := Registration("x", "z80", "emulator"); err == nil {
		t.Error("programs of z80 can be registered")
	}
}

func TestHandlers(t *testing.T) {
	list, err := Handlers("testdata/binfmt")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, arch := range Architectures() {
		for _, h := range For(arch, list) {
			note := ""
			if h.FixBinary {
				note += " fixed"
			}
			if !h.Enabled {
				note += " disabled"
			}
			found = append(found, arch+" "+h.Name+" "+h.Interpreter+note)
		}
	}
	got, want := strings.Join(found, "\n"), strings.TrimSpace(`
arm qemu-arm /usr/bin/qemu-arm-static
arm64 qemu-aarch64 /usr/bin/qemu-aarch64 fixed
riscv64 qemu-riscv64 /usr/bin/qemu-riscv64 fixed disabled`)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(list) != 4 {
		t.Errorf("%d registrations, want those and the one for Java: %+v", len(list), list)
	}
}

func TestHandlersOff(t *testing.T) {
	dir := t.TempDir()
	if list, err := Handlers(filepath.Join(dir, "missing")); err != nil || list != nil {
		t.Errorf("not mounted: %v, %v", list, err)
	}
	if err := os.CopyFS(dir, os.DirFS("testdata/binfmt")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "status"), []byte("disabled\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := Handlers(dir)
	if err != nil || len(list) != 4 {
		t.Fatalf("%v, %v", list, err)
	}
	for _, h := range list {
		if h.Enabled {
			t.Errorf("%s is enabled although all are not", h.Name)
		}
	}
}

func FuzzTakes(f *testing.F) {
	content, err := fs.ReadFile(os.DirFS("testdata/binfmt"), "qemu-arm")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content, Program("arm"))
	f.Add([]byte("enabled\noffset -3\nmagic 00\n"), []byte("x"))
	f.Add([]byte("enabled\noffset 9223372036854775807\nmagic 7f45\nmask ff\n"), []byte("\x7fE"))
	f.Fuzz(func(t *testing.T, content, head []byte) {
		parseHandler(content).Takes(head) // must not panic
	})
}

func TestCheckStatic(t *testing.T) {
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		program(t, "arm64"): "", script: "a script", script + ".missing": "no such file",
	} {
		err := CheckStatic(path)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if dynamic := "/bin/sh"; runtime.GOOS == "linux" {
		if err := CheckStatic(dynamic); err != nil && !strings.Contains(err.Error(), "libraries") {
			t.Errorf("%s: %v", dynamic, err)
		}
	}
}

func TestAMD64Level(t *testing.T) {
	const v2 = "processor : 0\nflags\t\t: fpu pni ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"
	const v3 = v2 + " abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
	for cpuinfo, want := range map[string]int{
		"": 1, "flags : fpu": 1, v2: 2, v3: 3, v3 + " avx512f": 3,
		v3 + " avx512f avx512bw avx512cd avx512dq avx512vl\n": 4,
		"vmx flags : cx16\n" + v2:                             2,
	} {
		if got := AMD64Level(cpuinfo); got != want {
			t.Errorf("%q: level %d, want %d", cpuinfo, got, want)
		}
	}
}
