package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is a running program in namespaces of its own for mounts and processes: when it is gone, so is everything that it has started and
// mounted, whatever it died of.
type server struct {
	name  string
	cmd   *exec.Cmd
	log   string
	ended chan error
}

// start starts a server with its own directory and waits until ready says so. It is stopped at the end of all tests.
func start(t *testing.T, dir string, args []string, ready func(context.Context) error) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	d := &server{name: args[0], log: filepath.Join(dir, "log"), ended: make(chan error, 1)}
	log, err := os.Create(d.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	// The shell is process 1 of the namespace, and then the server is.
	script := `mount --make-rprivate / && mount -t proc proc /proc && exec "$@"`
	d.cmd = exec.Command("sh", append([]string{"-c", script, "sh"}, args...)...)
	d.cmd.Dir, d.cmd.Stdout, d.cmd.Stderr = dir, log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Setsid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the signal is for the death of the thread
		err := d.cmd.Start()
		started <- err
		if err == nil {
			d.ended <- d.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	shared.atEnd(d.stop)
	if err := d.wait(t.Context(), ready); err != nil {
		text, _ := os.ReadFile(d.log)
		t.Fatalf("%s: %v\n%s", d.name, err, text)
	}
}

func (d *server) wait(ctx context.Context, ready func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case ended := <-d.ended:
			d.ended <- ended
			return fmt.Errorf("it ended: %w", ended)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop asks the server to end, and ends it with all its processes when it does not.
func (d *server) stop() error {
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return nil // it has ended
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(20 * time.Second):
	}
	if err := d.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("%s: %w", d.name, err)
	}
	<-d.ended
	return nil
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// answers is a ready function: a program succeeds.
func answers(args ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, stderr, err := try(ctx, command{args: args})
		if err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, stderr)
		}
		return nil
	}
}
