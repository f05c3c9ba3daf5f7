//go:build unix

package source

import (
	"os/exec"
	"syscall"
)

// endTogether makes the end of a command's context the end of its helpers, too: git has
// others do the transfer, and they outlive it.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
