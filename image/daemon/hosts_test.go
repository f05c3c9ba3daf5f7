package daemon

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestHosts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("sockets have other places")
	}
	own := "/run/user/" + strconv.Itoa(os.Getuid())
	root := os.Getuid() == 0
	env := func(pairs ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			for _, p := range pairs {
				if k, v, _ := strings.Cut(p, "="); k == name {
					return v, true
				}
			}
			return "", false
		}
	}
	user := func(s ...string) []string { // what root does not look at
		if root {
			return nil
		}
		return s
	}
	for _, test := range []struct {
		of      flavour
		options Options
		want    []string
	}{
		{docker, Options{}, slices.Concat([]string{"/var/run/docker.sock"}, user(own+"/docker.sock"))},
		{docker, Options{Host: "tcp://localhost:1", Env: env("DOCKER_HOST=unix:///x")}, []string{"tcp://localhost:1"}},
		{docker, Options{Env: env("DOCKER_HOST=unix:///x", "CONTAINER_HOST=unix:///y")}, []string{"unix:///x"}},
		{docker, Options{Env: env("XDG_RUNTIME_DIR=/r", "HOME=/h")}, []string{"/var/run/docker.sock", "/r/docker.sock", "/h/.docker/run/docker.sock"}},
		{podman, Options{}, slices.Concat(user(own+"/podman/podman.sock"), []string{"/run/podman/podman.sock"})},
		{podman, Options{Env: env("DOCKER_HOST=unix:///x", "CONTAINER_HOST=unix:///y")}, []string{"unix:///y"}},
		{podman, Options{Env: env("XDG_RUNTIME_DIR=/r", "HOME=/h")}, slices.Concat(user("/r/podman/podman.sock"),
			[]string{"/run/podman/podman.sock", "/h/.local/share/containers/podman/machine/podman.sock"})},
	} {
		if got := test.options.hosts(test.of); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.of.name, got, test.want)
		}
	}
}

func TestParseHost(t *testing.T) {
	for host, want := range map[string]string{
		"unix:///run/docker.sock": "unix:///run/docker.sock",
		"/run/docker.sock":        "unix:///run/docker.sock",
		"tcp://127.0.0.1:2375":    "tcp://127.0.0.1:2375",
		"http://[::1]:2375":       "tcp://[::1]:2375",
		"tcp://127.0.0.1":         "needs a host and a port",
		"tcp://:2375":             "needs a host and a port",
		"unix://":                 "is no address",
		"docker.sock":             "is no address",
		"":                        "is no address",
		"ssh://user@host":         "forward the socket",
		"npipe:////./pipe/docker": "cannot be used",
		"https://127.0.0.1:2376":  "cannot be used",
	} {
		a, err := parseHost(host)
		if got := a.String(); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v; want %s", host, got, err, want)
		}
	}
}
