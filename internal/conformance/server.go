package conformance

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Server offers the http/ and git/ directories of cases on a loopback port. In cases it is called http.test; cases and results are
// translated by Local and Portable.
type Server struct {
	listener net.Listener
	http     *http.Server
	dir      string
}

// NewServer starts a server for what is below dir: a directory for each case, as Case.WriteDirs writes it, with the name that Prepare
// is given.
func NewServer(dir string) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, dir: dir}
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

// Dir is the directory that cases are written to.
func (s *Server) Dir() string { return s.dir }

// Close stops the server.
func (s *Server) Close() error { return s.http.Close() }

// serve answers /CASE/PATH. The case is in the user part of no URL, since that would be seen; it is the first element of the path.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	dir := filepath.Join(s.dir, filepath.Base(name))
	if repo, _, ok := strings.Cut(rest, ".git/"); ok && !strings.Contains(repo, "/") {
		backend := &cgi.Handler{
			Path: gitBackend(),
			Root: "/" + name,
			Dir:  dir,
			Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Join(dir, "repositories"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "HOME=" + dir},
		}
		backend.ServeHTTP(w, r)
		return
	}
	path := filepath.Join(dir, "http", filepath.FromSlash(rest))
	data, err := os.ReadFile(path)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Last-Modified", bornAt().Format(http.TimeFormat))
	_, _ = w.Write(data)
}

func gitBackend() string {
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return "git-http-backend"
	}
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
}

// Local translates a text of the case that was written to the directory name.
func (s *Server) Local(name string, text []byte) []byte {
	return bytes.ReplaceAll(text, []byte("http://http.test/"), []byte(s.prefix(name)))
}

// Portable translates a text of a result back.
func (s *Server) Portable(name string, text string) string {
	return strings.ReplaceAll(text, s.prefix(name), "http://http.test/")
}

func (s *Server) prefix(name string) string {
	return fmt.Sprintf("http://%s/%s/", s.listener.Addr(), name)
}

// Uses tells whether a case needs a server.
func (c *Case) Uses() bool { return bytes.Contains(c.Dockerfile, []byte("http://http.test/")) }

// Prepare writes a case below the server's directory, its repositories made and its Dockerfile translated, and returns the directory.
func (s *Server) Prepare(ctx context.Context, c *Case, name string) (string, error) {
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	if err := c.WriteDirs(dir); err != nil {
		return "", err
	}
	for set := range c.dirs {
		if repo, ok := strings.CutPrefix(set, "git/"); ok {
			if err := makeRepository(ctx, filepath.Join(dir, set), filepath.Join(dir, "repositories", repo+".git")); err != nil {
				return "", fmt.Errorf("%s: %w", set, err)
			}
		}
	}
	if !c.Uses() {
		return dir, nil
	}
	return dir, os.WriteFile(c.dockerfilePath(dir), s.Local(name, c.Dockerfile), 0o644)
}

// makeRepository makes a bare repository with one commit of the files in tree: its digest depends on them alone.
func makeRepository(ctx context.Context, tree, repo string) error {
	git, err := exec.LookPath("git")
	if err != nil {
		return &MissingProgramError{"git", err}
	}
	date := fmt.Sprintf("%d +0000", bornAt().Unix())
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", "--bare", repo},
		{"--git-dir", repo, "--work-tree", tree, "add", "-A"},
		{"--git-dir", repo, "--work-tree", tree, "commit", "-q", "-m", "files"},
		{"--git-dir", repo, "tag", "v1"},
		{"--git-dir", repo, "config", "uploadpack.allowAnySHA1InWant", "true"},
	} {
		cmd := exec.CommandContext(ctx, git, args...)
		cmd.Env = append(cmd.Environ(),
			"HOME="+filepath.Dir(repo), "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@http.test", "GIT_AUTHOR_DATE="+date,
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@http.test", "GIT_COMMITTER_DATE="+date)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// Translate makes the lines of a result portable.
func (s *Server) Translate(name string, d *Dump) {
	for i := range d.Lines {
		d.Lines[i].Value = s.Portable(name, d.Lines[i].Value)
	}
	d.Failure = s.Portable(name, d.Failure)
}
