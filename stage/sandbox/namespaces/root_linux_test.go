package namespaces_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

// TestMaxLowers stacks as many layers as the kernel takes.
func TestMaxLowers(t *testing.T) {
	probe(t)
	dir := t.TempDir()
	s := &sandbox.Spec{Args: []string{sandboxtest.Prober, "read"}}
	for i := range sandbox.MaxLowers - 1 {
		l := filepath.Join(dir, fmt.Sprintf("a layer, with: odd %d", i))
		if err := os.Mkdir(l, 0o755); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			name := fmt.Sprintf("f%d", i)
			if err := os.WriteFile(filepath.Join(l, name), []byte(name), 0o644); err != nil {
				t.Fatal(err)
			}
			s.Args = append(s.Args, "/"+name)
		}
		s.Root.Lowers = append(s.Root.Lowers, l)
	}
	s.Root.Lowers = append(s.Root.Lowers, sandboxtest.Lower(t))
	var out, errOut bytes.Buffer
	s.Stdout, s.Stderr = &out, &errOut
	st, err := namespaces.New(namespaces.Options{}).Run(t.Context(), s)
	if err != nil || !st.Success() || out.String() != "f0f100f200f300f400" {
		t.Errorf("%+v, %v: %q %s", st, err, out.String(), errOut.String())
	}
}

// TestInheritedDescriptors: what the builder was started with is not the step's.
func TestInheritedDescriptors(t *testing.T) {
	probe(t)
	lower := sandboxtest.Lower(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Open("/etc")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	for _, args := range [][]string{{sandboxtest.Prober, "facts"}, {sandboxtest.Prober, "read", "/proc/self/fd/9/passwd"}} {
		for _, dir := range []string{"/", "/proc/self/fd/9"} {
			encoded, err := json.Marshal(sandbox.Spec{Root: sandbox.Root{Lowers: []string{lower}}, Args: args, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), builderEnv+"="+string(encoded))
			cmd.ExtraFiles = []*os.File{host, host, host, host, host, host, host} // 3 to 9
			out, err := cmd.CombinedOutput()
			if dir == "/" && args[1] == "facts" && err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if strings.Contains(string(out), `"/etc"`) || strings.Contains(string(out), "root:x:") {
				t.Errorf("a descriptor of the builder reached %q in %s:\n%s", args, dir, out)
			}
		}
	}
}

// TestIgnoredSignals: a builder that was started by nohup, or in the background.
func TestIgnoredSignals(t *testing.T) {
	probe(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(sandbox.Spec{
		Root: sandbox.Root{Lowers: []string{sandboxtest.Lower(t)}}, Args: []string{sandboxtest.Prober, "read", "/proc/self/status"},
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), builderEnv+"="+string(encoded), ignoreEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "SigIgn:\t0000000000000000\n") {
		t.Errorf("the step inherited ignored signals: %v\n%s", err, out)
	}
}

// TestMountedBetween: what was mounted after one step is there in the next, also where
// mounts do not propagate to namespaces that exist already.
func TestMountedBetween(t *testing.T) {
	probe(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	encoded, err := json.Marshal(sandbox.Spec{
		Root: sandbox.Root{Lowers: []string{dir, sandboxtest.Lower(t)}},
		Args: []string{sandboxtest.Prober, "read", "/file"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("below"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), builderEnv+"="+string(encoded), mountEnv+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // which Go makes private
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: uid, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: gid, Size: 1}},
		}
	}
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "mounted" {
		t.Errorf("%v: %q", err, out)
	}
}

// TestRefusedUpper: an upper directory that overlayfs refuses.
func TestRefusedUpper(t *testing.T) {
	probe(t)
	// proc is a filesystem on every machine that no overlay can be written to.
	s := &sandbox.Spec{
		Root: sandbox.Root{Lowers: []string{sandboxtest.Lower(t)}, Upper: "/proc/self", Work: "/proc/self/task"},
		Args: []string{sandboxtest.Prober},
	}
	_, err := namespaces.New(namespaces.Options{}).Run(t.Context(), s)
	if err == nil {
		t.Fatal("an upper directory in /proc was accepted")
	}
	if u, ok := errors.AsType[*sandbox.UnavailableError](err); ok && (u.Cause == "" || u.Fix == "") {
		t.Errorf("%v names no cause or no fix", err)
	}
}

func TestMissingLayer(t *testing.T) {
	probe(t)
	_, err := namespaces.New(namespaces.Options{}).Run(t.Context(), &sandbox.Spec{
		Root: sandbox.Root{Lowers: []string{"/nonexistent/layer"}}, Args: []string{"/x"},
	})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/nonexistent/layer") {
		t.Errorf("got %v, want an error that names the directory", err)
	}
}

func TestProbeIsRemembered(t *testing.T) {
	probe(t)
	dir := filepath.Join(t.TempDir(), "cache")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r := namespaces.New(namespaces.Options{Dir: dir})
	if err := r.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the probe left %v, %v", left, err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := r.Probe(t.Context()); err != nil { // it would fail if it tried
		t.Error(err)
	}
}

// TestFullDiskUnderOverlay: where the kernel has no room for what an overlay needs it mounts it read-only, and no step runs on that.
func TestFullDiskUnderOverlay(t *testing.T) {
	probe(t)
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,nr_inodes=40"); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	for _, name := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s := &sandbox.Spec{
		Root: sandbox.Root{Lowers: []string{sandboxtest.Lower(t)}, Upper: filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work")},
		Args: []string{sandboxtest.Prober, "facts"},
	}
	if st, err := namespaces.New(namespaces.Options{}).Run(t.Context(), s); err != nil || !st.Success() {
		t.Fatalf("with room: %+v, %v", st, err)
	}
	if err := os.RemoveAll(filepath.Join(s.Root.Work, "work")); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(n)), nil, 0o644); errors.Is(err, syscall.ENOSPC) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if st, err := namespaces.New(namespaces.Options{}).Run(t.Context(), s); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("without room: %+v, %v", st, err)
	}
}
