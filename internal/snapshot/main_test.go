//go:build linux

package snapshot

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
)

// The test binary runs itself again with this variable to act inside an overlay mount: as root in a mount namespace, as an ordinary user in a user
// namespace too, which is what a runner does.
const childEnv = "STAGEWRIGHT_SNAPSHOT_CHILD"

type childSpec struct {
	Action string
	Lowers []string
	Upper  string
	Work   string
	Mount  string // where; made by the parent
	Args   []string
}

func TestMain(m *testing.M) {
	v := os.Getenv(childEnv)
	if v == "" {
		os.Exit(m.Run())
	}
	unix.Umask(0)
	if err := childMain(v); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func childMain(v string) error {
	var spec childSpec
	if err := json.Unmarshal([]byte(v), &spec); err != nil {
		return err
	}
	action, ok := actions[spec.Action]
	if !ok {
		return fmt.Errorf("no action %q", spec.Action)
	}
	if len(spec.Lowers) > 0 {
		if err := mountOverlay(spec); err != nil {
			return err
		}
		if err := os.Chdir(spec.Mount); err != nil {
			return err
		}
	}
	return action(spec.Args)
}

func mountOverlay(spec childSpec) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private: %w", err)
	}
	opts := "lowerdir=" + strings.Join(spec.Lowers, ":") + ",redirect_dir=off,metacopy=off,index=off"
	if spec.Upper != "" {
		opts += ",upperdir=" + spec.Upper + ",workdir=" + spec.Work
	}
	if len(spec.Args) > 0 && spec.Args[0] == "userxattr" {
		opts = strings.ReplaceAll(opts, ",redirect_dir=off,metacopy=off", "") + ",userxattr"
	}
	if err := unix.Mount("overlay", spec.Mount, "overlay", 0, opts); err != nil {
		return fmt.Errorf("overlay %s: %w", opts, err)
	}
	return nil
}

// inChild runs an action, with an overlay mounted as the working directory when the spec has lowers, and returns its output.
func inChild(t testing.TB, spec childSpec) string {
	t.Helper()
	if spec.Mount == "" {
		spec.Mount = t.TempDir()
	}
	rootless := os.Geteuid() != 0
	if rootless {
		spec.Args = append([]string{"userxattr"}, spec.Args...)
	} else {
		spec.Args = append([]string{""}, spec.Args...)
	}
	v, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+string(v))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if rootless {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s in the child: %v\n%s", spec.Action, err, &stderr)
	}
	return stdout.String()
}

// needOverlay skips a test where no overlay can be mounted, with the reason.
func needOverlay(t testing.TB) {
	t.Helper()
	if errOverlay == nil {
		return
	}
	if err := errOverlay(); err != nil {
		t.Skipf("this machine mounts no overlay for uid %d here: %v", os.Geteuid(), err)
	}
}

var errOverlay = func() error {
	dir, err := os.MkdirTemp("", "snapshot-probe")
	if err != nil {
		return err
	}
	defer removeAll(dir)
	spec := childSpec{Action: "nothing", Args: []string{""}}
	for name, p := range map[string]*string{"l": nil, "u": &spec.Upper, "w": &spec.Work, "m": &spec.Mount} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			return err
		}
		if p != nil {
			*p = path
		}
	}
	spec.Lowers = []string{filepath.Join(dir, "l")}
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		spec.Args[0] = "userxattr"
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	v, _ := json.Marshal(spec)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+string(v))
	cmd.SysProcAttr = attr
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(err, errors.New(strings.TrimSpace(string(out))))
	}
	return nil
}

// removeAll is os.RemoveAll for what an overlay's work directory leaves.
func removeAll(dir string) {
	parent, err := openRoot(filepath.Dir(dir))
	if err == nil {
		defer parent.close()
		_ = removeTree(parent.fd, filepath.Base(dir), nil)
	}
}

// tempDir is t.TempDir for directories that os.RemoveAll cannot remove.
func tempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "snapshot-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(dir) })
	return dir
}

func openStore(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}
