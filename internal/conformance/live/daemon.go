package live

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// daemon is a running buildkitd.
type daemon struct {
	dir      string // everything of it: binaries, sockets, root
	registry string // the address on which it expects the bases
	cmd      *exec.Cmd
}

// startDaemon starts buildkitd with its state below dir, or finds the one that an earlier run left there.
func startDaemon(ctx context.Context, dir string, keep bool) (*daemon, error) {
	d := &daemon{dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if address, err := os.ReadFile(d.path("registry")); err == nil && d.answers(ctx) {
		d.registry = string(address)
		return d, nil
	}
	if err := d.compile(ctx); err != nil {
		return nil, err
	}
	if err := d.configure(); err != nil {
		return nil, err
	}
	log, err := os.Create(d.path("log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = exec.Command(d.path("bin", "buildkitd"), "--config", d.path("buildkitd.toml"))
	d.cmd.Dir = d.dir // it outlives the directory of whoever started it
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: keep}
	if !keep {
		d.cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.path("pid"), fmt.Appendln(nil, d.cmd.Process.Pid), 0o644); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(30 * time.Second)
	for !d.answers(ctx) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			d.stop()
			text, _ := os.ReadFile(d.path("log"))
			return nil, fmt.Errorf("buildkitd does not answer: %s", text)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return d, nil
}

func (d *daemon) path(names ...string) string {
	return filepath.Join(append([]string{d.dir}, names...)...)
}

func (d *daemon) address() string { return "unix://" + d.path("buildkitd.sock") }

func (d *daemon) answers(ctx context.Context) bool {
	return exec.CommandContext(ctx, d.path("bin", "buildctl"), "--addr", d.address(), "debug", "workers").Run() == nil
}

// compile builds daemon and client of the version in go.mod; the go command has them cached.
func (d *daemon) compile(ctx context.Context) error {
	if err := os.MkdirAll(d.path("bin"), 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", d.path("bin"),
		"github.com/moby/buildkit/cmd/buildkitd", "github.com/moby/buildkit/cmd/buildctl")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// configure chooses a port for the registry and writes the daemon's configuration.
func (d *daemon) configure() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.registry = l.Addr().String()
	if err := l.Close(); err != nil {
		return err
	}
	config := fmt.Sprintf(`root = %q
[grpc]
  address = [%q]
[worker.containerd]
  enabled = false
[worker.oci]
  enabled = true
  gc = false
  networkMode = "host"
[registry."bases.test"]
  mirrors = [%q]
[registry.%q]
  http = true
`, d.path("root"), d.address(), d.registry, d.registry)
	if err := os.WriteFile(d.path("buildkitd.toml"), []byte(config), 0o644); err != nil {
		return err
	}
	return os.WriteFile(d.path("registry"), []byte(d.registry), 0o644)
}

// stop ends a daemon that this process has started.
func (d *daemon) stop() {
	if d.cmd == nil {
		return
	}
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		_ = d.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		_ = d.cmd.Process.Kill()
		<-done
	}
}
