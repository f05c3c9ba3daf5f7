package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// flavour is what tells Docker and Podman apart.
type flavour struct {
	name     string // "docker"
	title    string // "Docker"
	variable string // of the environment, that has the address
	start    string // what to do when it does not run
}

var (
	docker = flavour{"docker", "Docker", "DOCKER_HOST", "start it (`systemctl start docker`, or Docker Desktop), or name its socket in Options.Host"}
	podman = flavour{"podman", "Podman", "CONTAINER_HOST",
		"start its service (`systemctl --user start podman.socket`, or `podman system service --time=0`), or name its socket in Options.Host"}
)

// NotRunningError says that no daemon answers where one was looked for.
type NotRunningError struct {
	Engine string   // "Docker", "Podman"
	Tried  []Place  // in this order
	Unread []string // variables of the environment that were not looked at, because Options.Env is nil
	start  string
}

// Place is where a daemon was looked for, and what was there instead.
type Place struct {
	Host string // "unix:///var/run/docker.sock"
	Err  error
}

// Error lists the places, and says how to start the daemon.
func (e *NotRunningError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "no %s daemon answers:", e.Engine)
	for i, p := range e.Tried {
		if i > 0 {
			b.WriteString(";")
		}
		fmt.Fprintf(&b, " %s: %v", p.Host, short(p.Err))
	}
	fmt.Fprintf(&b, "; %s", e.start)
	if len(e.Unread) > 0 {
		fmt.Fprintf(&b, " (%s not read: give Options.Env)", strings.Join(e.Unread, ", "))
	}
	return b.String()
}

// Unwrap gives the errors of all places.
func (e *NotRunningError) Unwrap() []error {
	var errs []error
	for _, p := range e.Tried {
		errs = append(errs, p.Err)
	}
	return errs
}

// short leaves out what the place says already.
func short(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("no such socket")
	case errors.Is(err, fs.ErrPermission):
		return errors.New("permission denied; become a member of the group that owns the socket, or root")
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// hosts lists where to look, the first that answers wins.
func (o Options) hosts(f flavour) []string {
	env := func(name string) string {
		if o.Env == nil {
			return ""
		}
		value, _ := o.Env(name)
		return value
	}
	if o.Host != "" {
		return []string{o.Host}
	}
	if h := env(f.variable); h != "" {
		return []string{h}
	}
	if runtime.GOOS == "windows" { // where Docker Desktop listens when it is told to; named pipes cannot be used
		return []string{"tcp://127.0.0.1:2375"}
	}
	own := env("XDG_RUNTIME_DIR")
	if uid := os.Getuid(); own == "" && uid > 0 {
		own = "/run/user/" + strconv.Itoa(uid) // where systemd has it
	}
	var paths []string
	add := func(dir string, more ...string) {
		if dir != "" {
			paths = append(paths, filepath.Join(append([]string{dir}, more...)...))
		}
	}
	if f == podman {
		if os.Getuid() != 0 { // images of root are not those of the user
			add(own, "podman", "podman.sock")
		}
		add("/run/podman/podman.sock")
		add(env("HOME"), ".local", "share", "containers", "podman", "machine", "podman.sock")
	} else {
		add("/var/run/docker.sock")
		add(own, "docker.sock")
		add(env("HOME"), ".docker", "run", "docker.sock")
	}
	return paths
}

// address is a parsed host.
type address struct {
	network, addr string
}

// parseHost reads an address as DOCKER_HOST has it.
func parseHost(host string) (address, error) {
	scheme, rest, ok := strings.Cut(host, "://")
	switch {
	case !ok && filepath.IsAbs(host):
		return address{"unix", host}, nil
	case scheme == "unix" && rest != "":
		return address{"unix", rest}, nil
	case scheme == "tcp" || scheme == "http":
		if h, _, err := net.SplitHostPort(rest); err != nil || h == "" {
			return address{}, fmt.Errorf("%q needs a host and a port, like tcp://127.0.0.1:2375", host)
		}
		return address{"tcp", rest}, nil
	case scheme == "npipe":
		return address{}, fmt.Errorf("%q is a named pipe, which cannot be used; let Docker Desktop listen on tcp://127.0.0.1:2375 and give that", host)
	case scheme == "ssh" || scheme == "https":
		return address{}, fmt.Errorf("%s addresses cannot be used; forward the socket (`ssh -L /tmp/docker.sock:/var/run/docker.sock HOST`) and give unix:///tmp/docker.sock", scheme)
	}
	return address{}, fmt.Errorf("%q is no address of a daemon; write unix:///var/run/docker.sock or tcp://127.0.0.1:2375", host)
}

// String is the address as a host.
func (a address) String() string { return a.network + "://" + a.addr }

const dialTimeout = 10 * time.Second

func (a address) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	return d.DialContext(ctx, a.network, a.addr)
}

// find returns the first address at which something listens.
func (o Options) find(ctx context.Context, f flavour) (address, error) {
	failed := &NotRunningError{Engine: f.title, start: f.start}
	if o.Env == nil && o.Host == "" {
		failed.Unread = []string{f.variable, "XDG_RUNTIME_DIR", "HOME"}
	}
	for _, h := range o.hosts(f) {
		a, err := parseHost(h)
		if err != nil {
			return a, err
		}
		conn, err := a.dial(ctx)
		if err == nil {
			return a, conn.Close()
		}
		if cause := context.Cause(ctx); cause != nil {
			return a, cause
		}
		failed.Tried = append(failed.Tried, Place{a.String(), err})
	}
	return address{}, failed
}
