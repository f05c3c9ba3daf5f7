package local_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/source"
)

// tarball makes an archive: "path = content" with mode 4750 and owner 7:8.
func tarball(tb testing.TB, lines ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range lines {
		name, content, _ := strings.Cut(line, " = ")
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o4750, Uid: 7, Gid: 8, Size: int64(len(content))}); err != nil {
			tb.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// describe lists the regular files of a result: path, mode, owner and content.
func describe(tb testing.TB, res stage.Result) string {
	tb.Helper()
	files, err := res.Files(res.Outputs()[0].Target.Step)
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	err = fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		data, err := fs.ReadFile(files, p)
		out = append(out, fmt.Sprintf("%s %v %s", p, fi.Mode(), data))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return strings.Join(out, ", ")
}

func TestArchivesAsSources(t *testing.T) {
	data := tarball(t, "bin/tool = TOOL", "README = R")
	opened := 0
	open := func() (io.ReadCloser, error) { opened++; return io.NopCloser(bytes.NewReader(data)), nil }
	e := memory(t, local.Options{})
	from := stage.Scratch().CopyFrom(stage.Tar(open, "x.tar"), stage.Files("."), "/")
	if got, want := describe(t, build(t, e, from, stage.Request{})), "README urwxr-x--- R, bin/tool urwxr-x--- TOOL"; got != want {
		t.Errorf("as a source: %s; want %s", got, want)
	}
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
	copies := stage.Scratch().Copy(stage.Files("bin"), "/a/").Copy(stage.Files("README"), "/")
	opened = 0
	if got, want := describe(t, build(t, e, copies, stage.Request{Context: stage.Tar(open, "x.tar")})), "README -rwxr-xr-x R, a/tool -rwxr-xr-x TOOL"; got != want {
		t.Errorf("as the context: %s; want %s", got, want)
	}
	if opened != 1 {
		t.Errorf("the context was opened %d times", opened)
	}
	_, err := e.Execute(t.Context(), compile(t, stage.Scratch().Copy(stage.Files("bin/toll"), "/")), stage.Request{Context: stage.Tar(open, "x.tar")})
	if err == nil || !strings.Contains(err.Error(), "did you mean bin/tool") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestURLsAsSources(t *testing.T) {
	archive := tarball(t, "Dockerfile = FROM scratch", "src/a = A")
	var requests atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		switch r.URL.Path {
		case "/ctx":
			w.Write(archive)
		case "/named":
			w.Header().Set("Content-Disposition", `attachment; filename="real"`)
			io.WriteString(w, "tool")
		default:
			io.WriteString(w, "tool")
		}
	}))
	defer server.Close()
	dir := t.TempDir()
	options := local.Options{Transport: server.Client().Transport}
	sum := cacheDigest("tool")
	checked := stage.Scratch().AddFrom(stage.HTTP(server.URL+"/v1/tool.tgz?x", sum), "/bin/")
	for range 2 {
		if got, want := describe(t, build(t, executor(t, dir, options), checked, stage.Request{})), "bin/tool.tgz -rw------- tool"; got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("two builds made %d requests; want 1", n)
	}
	wrong := stage.Scratch().AddFrom(stage.HTTP(server.URL+"/v1/tool", cacheDigest("other")), "/bin/")
	_, err := executor(t, dir, options).Execute(t.Context(), compile(t, wrong), stage.Request{})
	var mismatch *source.ChecksumError
	if at, ok := errors.AsType[*stage.Error](err); !errors.As(err, &mismatch) || !ok || at.Pos.Line == 0 {
		t.Errorf("error %v; want a ChecksumError, and the line of the step", err)
	}
	named := stage.Scratch().AddFrom(stage.HTTPUnchecked(server.URL+"/named"), "/")
	if got := describe(t, build(t, memory(t, options), named, stage.Request{})); got != "real -rw------- tool" {
		t.Errorf("Content-Disposition: %s", got)
	}
	rules := stage.Scratch(stage.Compatible(stage.DockerRules{})).AddFrom(stage.HTTPUnchecked(server.URL+"/named"), "/")
	if got := describe(t, build(t, memory(t, options), rules, stage.Request{})); got != "named -rw------- tool" {
		t.Errorf("by the rules of Dockerfiles: %s", got)
	}
	// Without a name the file needs a destination that is one.
	nameless := stage.HTTPUnchecked(server.URL)
	_, err = memory(t, options).Execute(t.Context(), compile(t, stage.Scratch().Mkdir("/d").AddFrom(nameless, "/d")), stage.Request{})
	if err == nil || !strings.Contains(err.Error(), "end the destination with a file name") {
		t.Errorf("a file without a name in a directory: %v", err)
	}
	called := nameless
	called.Name = "t"
	for s, want := range map[stage.Stage]string{
		stage.Scratch().AddFrom(nameless, "/f"):                                     "f -rw------- tool",
		stage.Scratch().AddFrom(called, "/"):                                        "t -rw------- tool",
		stage.Scratch(stage.Compatible(stage.DockerRules{})).AddFrom(nameless, "/"): "__unnamed__ -rw------- tool",
	} {
		if got := describe(t, build(t, memory(t, options), s, stage.Request{})); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
	// The URL of an archive is a context.
	res := build(t, memory(t, options), stage.Scratch().Copy(stage.Files("src"), "/"), stage.Request{Context: stage.HTTPUnchecked(server.URL + "/ctx")})
	if got := describe(t, res); got != "a -rwxr-xr-x A" {
		t.Errorf("as the context: %s", got)
	}
}

// The secrets of a host go to that host, encrypted if it began so, and nowhere else.
func TestSecretsOfURLs(t *testing.T) {
	var elsewhere, plain atomic.Value
	other := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		elsewhere.Store(r.Header.Get("Authorization"))
		io.WriteString(w, "tool")
	}))
	defer other.Close()
	insecure := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		plain.Store(r.Header.Get("Authorization"))
		io.WriteString(w, "tool")
	}))
	defer insecure.Close()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch auth := r.Header.Get("Authorization"); {
		case auth != "Bearer t0ken" && auth != "Basic eDp5":
			http.Error(w, "who are you?", http.StatusUnauthorized)
		case r.URL.Path == "/elsewhere":
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		case r.URL.Path == "/plain":
			http.Redirect(w, r, insecure.URL, http.StatusFound)
		default:
			io.WriteString(w, "tool")
		}
	}))
	defer server.Close()
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.InsecureSkipVerify = true // for the name localhost
	options := local.Options{Transport: transport}
	sum := cacheDigest("tool")
	token := map[string]stage.Secret{"HTTP_AUTH_TOKEN_127.0.0.1": stage.SecretValue("t0ken\n")}
	for path, secrets := range map[string]map[string]stage.Secret{
		"/a": token, "/elsewhere": token, "/plain": token, "/b": {"HTTP_AUTH_HEADER_127.0.0.1": stage.SecretValue("Basic eDp5")},
	} {
		s := stage.Scratch().AddFrom(stage.HTTP(server.URL+path, sum), "/tool")
		if got := describe(t, build(t, memory(t, options), s, stage.Request{Secrets: secrets})); got != "tool -rw------- tool" {
			t.Errorf("%s: %s", path, got)
		}
	}
	if elsewhere.Load() != "" || plain.Load() != "" {
		t.Errorf("another host got %q, the same one without encryption %q", elsewhere.Load(), plain.Load())
	}
	_, err := memory(t, options).Execute(t.Context(), compile(t, stage.Scratch().AddFrom(stage.HTTP(server.URL+"/a", sum), "/tool")), stage.Request{})
	if err == nil || !strings.Contains(err.Error(), "HTTP_AUTH_TOKEN_") {
		t.Errorf("without a secret: %v", err)
	}
}

func cacheDigest(content string) string {
	d, err := cache.PutBlob(context.Background(), cache.NewMemory(), []byte(content))
	if err != nil {
		return err.Error()
	}
	return d.String()
}

func TestGitAsSource(t *testing.T) {
	exe, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Skip("the program git is not installed")
	}
	root := t.TempDir()
	repo := filepath.Join(root, "r")
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", root, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/dev/null", "GIT_CONFIG_NOSYSTEM=1"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main", "--template=", repo)
	for name, content := range map[string]string{"docs/a.txt": "A", "run.sh": "#!/bin/sh", ".dockerignore": "docs"} {
		p := filepath.Join(repo, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(p), 0o755), os.WriteFile(p, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	git("-C", "r", "add", "-A")
	git("-C", "r", "commit", "-q", "-m", "x")
	commit := git("-C", "r", "rev-parse", "HEAD")
	backend := &cgi.Handler{Path: strings.TrimSpace(string(exe)) + "/git-http-backend", Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { requests.Add(1); backend.ServeHTTP(w, r) }))
	defer server.Close()

	dir := t.TempDir()
	options := local.Options{GitEnv: []string{"PATH=" + os.Getenv("PATH")}}
	remote := server.URL + "/r/.git"
	for i, c := range []struct {
		target  stage.Stage
		context stage.Source
		want    string
	}{
		{stage.Scratch().AddFrom(stage.Git(remote), "/x/"), nil, "x/.dockerignore -rw-r--r-- docs, x/docs/a.txt -rw-r--r-- A, x/run.sh -rw-r--r-- #!/bin/sh"},
		{stage.Scratch().AddFrom(stage.Git(remote+"#main:docs"), "/"), nil, "a.txt -rw-r--r-- A"},
		{stage.Scratch().AddFrom(stage.Git(remote+"?ref=main&subdir=docs&checksum="+commit[:8]), "/"), nil, "a.txt -rw-r--r-- A"},
		{stage.Scratch().Copy(stage.Files("docs"), "/"), stage.Git(remote), "a.txt -rw-r--r-- A"}, // no ignore file counts
	} {
		if got := describe(t, build(t, executor(t, dir, options), c.target, stage.Request{Context: c.context})); got != c.want {
			t.Errorf("%d: %s; want %s", i, got, c.want)
		}
	}
	requests.Store(0)
	whole := stage.Scratch().AddFrom(stage.Git(remote+"#"+commit), "/")
	build(t, executor(t, dir, options), whole, stage.Request{})
	if n := requests.Load(); n != 0 {
		t.Errorf("a known commit made %d requests", n)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "private", "git", "checkouts", "*")); len(left) > 6 {
		t.Errorf("%v is left", left)
	}
	bad := stage.Scratch().AddFrom(stage.Git(remote+"?ref=main&tag=v1"), "/")
	if _, err := executor(t, dir, options).Execute(t.Context(), compile(t, bad), stage.Request{}); err == nil || !strings.Contains(err.Error(), "name one") {
		t.Errorf("error %v", err)
	}
}

func TestGitIgnoredFilesAreNoPartOfADirectory(t *testing.T) {
	dir := layout(t, ".gitignore = *.o\n/out/", "a.c", "a.o", "out/x", "sub/.gitignore = !b.o", "sub/b.o", ".git/HEAD")
	got := describe(t, build(t, memory(t, local.Options{}), stage.Scratch().Copy(stage.Files("."), "/"), stage.Request{Context: stage.DirSource{Path: dir, GitIgnore: true}}))
	if want := ".gitignore -rw-r--r-- *.o\n/out/, a.c -rw-r--r-- a.c, sub/.gitignore -rw-r--r-- !b.o, sub/b.o -rw-r--r-- b.o"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}
