package interop

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

var register = flag.Bool("binfmt", false, "register qemu as interpreter of arm64 programs on this machine while the tests run")

const (
	binfmtDir  = "/proc/sys/fs/binfmt_misc"
	binfmtName = "stagewright-interop-arm64"
	// The head of an ELF file for arm64, and which bits of it count (binfmt_misc.rst; Debian's /usr/lib/binfmt.d/qemu-aarch64.conf). F has the
	// interpreter opened now, so that it works in every root directory; C and O keep what setuid programs get.
	binfmtRule = `:` + binfmtName + `:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00` +
		`:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:%s:FCO`
)

var armOnce struct {
	sync.Once
	runs bool
}

// canRun tells whether this machine's engines run programs of an architecture: for arm64, whether the kernel has an interpreter. With -binfmt one
// is registered, where the kernel lets us.
func canRun(t *testing.T, arch string) bool {
	t.Helper()
	if arch == "amd64" {
		return true
	}
	armOnce.Do(func() {
		armOnce.runs = arm64Runs(t) == nil
		if armOnce.runs || !*register {
			return
		}
		if err := registerInterpreter(emulator(t)); err != nil {
			t.Logf("arm64 images are not run: %v", err)
			return
		}
		armOnce.runs = true
		if err := arm64Runs(t); err != nil {
			t.Errorf("with a registered interpreter: %v", err)
		}
	})
	return armOnce.runs
}

func arm64Runs(t *testing.T) error {
	out, err := exec.CommandContext(t.Context(), probePath("arm64"), "identity").CombinedOutput()
	if err != nil {
		return fmt.Errorf("an arm64 program: %w: %s", err, out)
	}
	return nil
}

// registerInterpreter changes this machine, and has it changed back at the end.
func registerInterpreter(program string) error {
	control := filepath.Join(binfmtDir, "register")
	if _, err := os.Stat(control); errors.Is(err, os.ErrNotExist) {
		if err := syscall.Mount("binfmt_misc", binfmtDir, "binfmt_misc", 0, ""); err != nil {
			return fmt.Errorf("mount binfmt_misc: %w", err)
		}
		shared.atEnd(func() error { return syscall.Unmount(binfmtDir, 0) })
	}
	if err := os.WriteFile(control, fmt.Appendf(nil, binfmtRule, program), 0o200); err != nil {
		return fmt.Errorf("register an interpreter: %w", err)
	}
	shared.atEnd(func() error { return os.WriteFile(filepath.Join(binfmtDir, binfmtName), []byte("-1"), 0o200) })
	return nil
}
