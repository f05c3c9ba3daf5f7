// Package registrytest gives tests a registry that is not a fake: the distribution project's, Debian's package docker-registry.
package registrytest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Options says how a registry is.
type Options struct {
	Delete bool // it deletes what it is asked to
}

// listening is what the registry logs when its port, which the system chose, takes connections.
var listening = regexp.MustCompile(`msg="listening on ([^"]+)"`)

// Start starts an empty registry that speaks plain HTTP, and returns its host with its port. It ends with the test, which is skipped where the
// program is not installed.
func Start(tb testing.TB, o Options) (host string) {
	tb.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		tb.Skip("there is no docker-registry; apt-get install docker-registry")
	}
	dir := tb.TempDir()
	path := filepath.Join(dir, "config.yml")
	config := fmt.Sprintf("version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}, delete: {enabled: %v}}\nhttp: {addr: '127.0.0.1:0'}\n",
		filepath.Join(dir, "data"), o.Delete)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		tb.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(program, "serve", path)
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close() // the registry has its own
	if err != nil {
		r.Close()
		tb.Skipf("docker-registry does not start: %v", err)
	}
	found, ended := make(chan string, 1), make(chan struct{})
	var said strings.Builder
	go func() { // until the registry has ended, which would stop at a full pipe
		defer close(ended)
		defer r.Close()
		for lines := bufio.NewScanner(r); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
				break
			}
			fmt.Fprintln(&said, lines.Text())
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		<-ended
	})
	select {
	case host = <-found:
	case <-ended:
		tb.Fatalf("docker-registry ended:\n%s", &said)
	}
	return host
}
