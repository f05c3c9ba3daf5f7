package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// server is a docker-registry (the distribution project's). Its data are in memory where the machine has tmpfs at /dev/shm: the registry
// of a user is not on the disk of the builder.
type server struct {
	address, dir string
	cmd          *exec.Cmd
}

// serve starts a registry with nothing in it.
func serve(ctx context.Context, address string) (*server, error) {
	parent := "/dev/shm"
	if _, err := os.Stat(parent); err != nil {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "stagewright-bench-registry")
	if err != nil {
		return nil, err
	}
	s := &server{address: address, dir: dir}
	config := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\n",
		filepath.Join(dir, "data"), address)
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command("docker-registry", "serve", path)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%w: apt-get install -y docker-registry", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		response, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			return s, response.Body.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			said, _ := os.ReadFile(log.Name())
			s.stop()
			return nil, fmt.Errorf("docker-registry does not answer: %w: %s", err, tail(said, 2000))
		}
	}
}

// stop ends the registry and removes what it has.
func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}

// counter is a proxy in front of a registry that counts what is asked of it.
type counter struct {
	address string
	http    *http.Server

	mu       sync.Mutex
	requests map[string]int

	up, down, blobs atomic.Int64
}

// seen is what a counter has seen. Bytes are those of bodies.
type seen struct {
	requests map[string]int
	moved
	blobs int64 // bytes of blobs that were read
}

// countedBody adds to counts what is read of it.
type countedBody struct {
	io.ReadCloser
	counts []*atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for _, c := range b.counts {
		c.Add(int64(n))
	}
	return n, err
}

var blobPath = regexp.MustCompile(`/blobs/sha256:`)

// count starts a counter at an address, in front of a registry at another one.
func count(address, registry string) (*counter, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	target := &url.URL{Scheme: "http", Host: registry}
	c := &counter{address: l.Addr().String(), requests: map[string]int{}}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ModifyResponse: func(r *http.Response) error {
			if r.Body == nil {
				return nil
			}
			counts := []*atomic.Int64{&c.down}
			if r.Request.Method == http.MethodGet && blobPath.MatchString(r.Request.URL.Path) && r.StatusCode < 300 {
				counts = append(counts, &c.blobs)
			}
			r.Body = &countedBody{r.Body, counts}
			return nil
		},
	}
	c.http = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.requests[r.Method+" "+kind(r)]++
		c.mu.Unlock()
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = &countedBody{r.Body, []*atomic.Int64{&c.up}}
		}
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = c.http.Serve(l) }()
	return c, nil
}

// kind is what a request is about.
func kind(r *http.Request) string {
	switch path := r.URL.Path; {
	case path == "/v2/":
		return "/v2/"
	case regexp.MustCompile(`/manifests/`).MatchString(path):
		return "manifest"
	case r.URL.Query().Has("mount"):
		return "mount"
	case regexp.MustCompile(`/blobs/uploads/`).MatchString(path):
		return "upload"
	case blobPath.MatchString(path):
		return "blob"
	}
	return r.URL.Path
}

// take returns what was seen since the last call.
func (c *counter) take() seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := seen{c.requests, moved{c.up.Swap(0), c.down.Swap(0)}, c.blobs.Swap(0)}
	c.requests = map[string]int{}
	return s
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
