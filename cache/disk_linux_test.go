package cache_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/cache"
)

// inMountNamespace runs the test that calls it again, in a process with mounts
// of its own, and reports true there: nothing is ever mounted outside. An
// ordinary user gets a user namespace as well.
func inMountNamespace(t *testing.T) bool {
	t.Helper()
	const marker = "CACHE_TEST_MOUNTS"
	if os.Getenv(marker) != "" {
		return true
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), marker+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &exit):
		t.Errorf("in a mount namespace: %v\n%s", err, out)
	default:
		t.Skipf("this machine gives the process no mount namespace: %v", err)
	}
	return false
}

// mountTmpfs gives a file system of the size asked for to this test alone.
func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestDiskNoSpace(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	dir := mountTmpfs(t, "4m")
	s := openDisk(t, dir)
	if err := s.Put(t.Context(), testKey(1), []byte("record")); err != nil {
		t.Fatal(err)
	}
	d, err := cache.PutBlob(t.Context(), s, []byte("small"))
	if err != nil {
		t.Fatal(err)
	}
	full := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "free some space") || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: error %v, want ENOSPC, the directory and what to do", what, err)
		}
	}
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(make([]byte, 8<<20))
	full("Write", err)
	_, err = w.Write([]byte("x"))
	full("Write after a failed one", err)
	_, err = w.Commit(t.Context(), cache.Digest{})
	full("Commit after a failed Write", err)
	full("Put", s.Put(t.Context(), testKey(1), make([]byte, 8<<20)))

	if got, err := s.Get(t.Context(), testKey(1)); err != nil || string(got) != "record" {
		t.Errorf("the old record: %q, %v", got, err)
	}
	if got, err := cache.ReadBlob(t.Context(), s, d, 10); err != nil || string(got) != "small" {
		t.Errorf("the old blob: %q, %v", got, err)
	}
	// What failed has given its space back.
	if _, err := cache.PutBlob(t.Context(), s, make([]byte, 3<<20)); err != nil {
		t.Errorf("3 MiB of 4 after the failures: %v", err)
	}
	s.Close()
	wantEmpty(t, dir+"/tmp")
}

func TestDiskReadOnlyMount(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	dir := mountTmpfs(t, "4m")
	s := openDisk(t, dir)
	if err := s.Put(t.Context(), testKey(1), []byte("record")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	checkReadOnly(t, dir)
	_, err := cache.OpenDisk(dir+"/new", cache.DiskOptions{})
	if !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "may write") {
		t.Errorf("a new store there: error %v, want EROFS and what to do", err)
	}
}

func TestOpenDiskAccess(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	openDisk(t, dir) // empty and ours: narrowed
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v after it became a store, want 0755", info.Mode().Perm())
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := cache.OpenDisk(dir, cache.DiskOptions{})
	var disk *cache.DiskError
	if !errors.As(err, &disk) || !strings.Contains(err.Error(), "chmod o-w") {
		t.Errorf("a store that everybody may write to: error %v, want a *DiskError that says what to do", err)
	}
}

// What others put in place of a file is not followed, waited for, or believed.
func TestStrangeFilesAreMisses(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	d, _ := cache.PutBlob(t.Context(), s, []byte("blob"))
	if err := s.Put(t.Context(), testKey(1), []byte("record")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{blobFile(dir, d), recordFile(dir, testKey(1))} {
		aside := filepath.Join(t.TempDir(), "aside")
		if err := os.Rename(name, aside); err != nil {
			t.Fatal(err)
		}
		for what, make := range map[string]func() error{
			"symbolic link": func() error { return os.Symlink(aside, name) },
			"FIFO":          func() error { return unix.Mkfifo(name, 0o600) },
			"directory":     func() error { return os.Mkdir(name, 0o700) },
		} {
			if err := make(); err != nil {
				t.Fatal(err)
			}
			var err error
			if name == recordFile(dir, testKey(1)) {
				_, err = s.Get(t.Context(), testKey(1))
			} else {
				_, err = s.Open(t.Context(), d)
			}
			if !errors.Is(err, cache.ErrNotFound) {
				t.Errorf("%s in place of %s: error %v, want ErrNotFound", what, name, err)
			}
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}
