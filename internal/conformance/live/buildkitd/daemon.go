// Package buildkitd builds and runs the BuildKit that this module's go.mod names: what stagewright is compared with, in results and in time.
//
//	d, err := buildkitd.Start(ctx, dir, false)
//	defer d.Stop()
//	exec.CommandContext(ctx, d.Client(), "--addr", d.Address(), "build", ...)
//
// It needs Linux, root, the go command and runc. The package imports nothing of BuildKit, so that other modules can use it.
package buildkitd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// module is the module whose go.mod has BuildKit's version, and all modules that it is made of.
const module = "github.com/stagewright/stagewright/internal/conformance/live"

// Daemon is a running buildkitd.
type Daemon struct {
	dir      string // everything of it: binaries, sockets, root
	registry string // the address on which it expects the bases
	cmd      *exec.Cmd
}

// Start compiles BuildKit and starts the daemon with its state below dir, or finds the one that an earlier run left there. With keep it
// goes on when this process ends; otherwise it ends with it, and Stop ends it earlier. Processes and networks of steps are those of
// this machine (network mode "host"). The log is the file "log" in dir. Two processes must not use one dir.
func Start(ctx context.Context, dir string, keep bool) (*Daemon, error) {
	d := &Daemon{dir: dir}
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
			d.Stop()
			text, _ := os.ReadFile(d.path("log"))
			return nil, fmt.Errorf("buildkitd does not answer: %s", text)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return d, nil
}

func (d *Daemon) path(names ...string) string {
	return filepath.Join(append([]string{d.dir}, names...)...)
}

// Address is where the daemon listens, as buildctl and BuildKit's client package want it.
func (d *Daemon) Address() string { return "unix://" + d.path("buildkitd.sock") }

// Client is the path of buildctl.
func (d *Daemon) Client() string { return d.path("bin", "buildctl") }

// Registry is the loopback address, with a port, of a registry that the daemon speaks plain HTTP with, and that it asks for what is
// under bases.test. Nobody listens there until the caller does.
func (d *Daemon) Registry() string { return d.registry }

// PID is the process of the daemon.
func (d *Daemon) PID() (int, error) {
	text, err := os.ReadFile(d.path("pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func (d *Daemon) answers(ctx context.Context) bool {
	return exec.CommandContext(ctx, d.Client(), "--addr", d.Address(), "debug", "workers").Run() == nil
}

// compile builds daemon and client of the version in the go.mod of this module; the go command has them cached.
func (d *Daemon) compile(ctx context.Context) error {
	where, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return fmt.Errorf("where is the module %s: %w", module, err)
	}
	bin, err := filepath.Abs(d.path("bin"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-C", strings.TrimSpace(string(where)), "-o", bin,
		"github.com/moby/buildkit/cmd/buildkitd", "github.com/moby/buildkit/cmd/buildctl")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// configure chooses a port for the registry and writes the daemon's configuration.
func (d *Daemon) configure() error {
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
`, d.path("root"), d.Address(), d.registry, d.registry)
	if err := os.WriteFile(d.path("buildkitd.toml"), []byte(config), 0o644); err != nil {
		return err
	}
	return os.WriteFile(d.path("registry"), []byte(d.registry), 0o644)
}

// Stop ends a daemon that this process has started; one that it has found goes on.
func (d *Daemon) Stop() {
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
