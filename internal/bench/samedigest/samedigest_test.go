package samedigest

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/toolbox"
)

var (
	update   = flag.Bool("update", false, "write the golden digests")
	ordinary = flag.String("user", "nobody", "the ordinary user")
)

const (
	golden     = "testdata/golden.txt"
	toolchains = "testdata/toolchains.txt"
)

// place is where the cache of a run lies.
type place struct{ name, dir string }

func TestSameDigest(t *testing.T) {
	work := workDir(t, "")
	shell := filepath.Join(work, "shell")
	writeShell(t, shell)
	places := []place{{"disk", work}}
	if memory := tmpfs(); memory != "" {
		places = append(places, place{"tmpfs", workDir(t, memory)})
	} else {
		t.Log("no tmpfs at /dev/shm: the disk only")
	}
	for _, toolchain := range readToolchains(t) {
		t.Run(toolchain, func(t *testing.T) {
			program := compile(t, toolchain, work)
			for _, p := range places {
				for _, who := range users(t) {
					t.Run(p.name+"/"+who.name, func(t *testing.T) {
						compare(t, who.fixture(t, program, p.dir, shell))
					})
				}
			}
		})
	}
}

// compare holds what the fixture printed to the golden file.
func compare(t *testing.T, got string) {
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		*update = false // what the first run wrote, the others must give
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("other digests than in %s (-want +got):\n%s", golden, diff)
	}
}

// workDir makes a directory that every user can reach.
func workDir(t *testing.T, parent string) string {
	dir, err := os.MkdirTemp(parent, "stagewright-samedigest")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tmpfs is a directory on tmpfs, "" without one.
func tmpfs() string {
	const dir = "/dev/shm"
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil || s.Type != unix.TMPFS_MAGIC {
		return ""
	}
	return dir
}

func writeShell(t *testing.T, dir string) {
	binary, err := toolbox.Build(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, binary.Files()); err != nil {
		t.Fatal(err)
	}
}

func readToolchains(t *testing.T) []string {
	text, err := os.ReadFile(toolchains)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			names = append(names, line)
		}
	}
	return names
}

// compile compiles the fixture with a toolchain, and skips where that one cannot be had.
func compile(t *testing.T, toolchain, work string) string {
	env := append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN="+toolchain)
	version := exec.CommandContext(t.Context(), "go", "version")
	version.Env = env
	out, err := version.CombinedOutput()
	if err != nil {
		t.Skipf("no toolchain %s here: %v: %s", toolchain, err, out)
	}
	t.Logf("%s", bytes.TrimSpace(out))
	program := filepath.Join(work, "fixture-"+toolchain)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./fixture")
	build.Env = env
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program
}

// person is whom the fixture runs as; credential is nil for who runs the test.
type person struct {
	name       string
	credential *syscall.Credential
}

// users are root and the ordinary user; a test that is not root's has itself alone.
func users(t *testing.T) []person {
	if os.Geteuid() != 0 {
		return []person{{name: "user"}}
	}
	u, err := user.Lookup(*ordinary)
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil || uid == 0 {
		t.Fatalf("%s is no ordinary user: uid %s, %v", *ordinary, u.Uid, err)
	}
	return []person{{name: "root"}, {"user", &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}}
}

// fixture runs the program in a new directory below dir and returns what it printed.
func (p person) fixture(t *testing.T, program, dir, shell string) string {
	own := workDir(t, dir)
	cmd := exec.CommandContext(t.Context(), program, "-dir", own, "-shell", shell)
	cmd.Env = []string{"HOME=" + own, "TMPDIR=" + own, "PATH=" + os.Getenv("PATH")}
	if p.credential != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.credential}
		if err := os.Chown(own, int(p.credential.Uid), int(p.credential.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(fmt.Errorf("%w: %s", err, stderr.Bytes()))
	}
	return string(out)
}
