package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/stagewright/stagewright/stage/stagetest"
)

// command runs the program in a directory with files, and with a cache of its own.
type command struct {
	dir, cache string
	stdin      io.Reader
}

// project writes the files of a txtar text into a directory.
func project(t *testing.T, text string) *command {
	t.Helper()
	dir := t.TempDir()
	for _, f := range txtar.Parse([]byte(text)).Files {
		path := filepath.Join(dir, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &command{dir: dir, cache: t.TempDir()}
}

// run returns the standard output and the standard error. DIR in arguments is the directory.
func (c *command) run(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, log bytes.Buffer
	args = append([]string{"--cache-dir", c.cache, "--progress", "plain"}, args...)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "DIR", c.dir)
	}
	in := c.stdin
	if in == nil {
		in = strings.NewReader("")
	}
	err = run(context.WithoutCancel(t.Context()), args, streams{in, &out, &log})
	return out.String(), log.String(), err
}

// must is run that succeeds.
func (c *command) must(t *testing.T, args ...string) (stdout, stderr string) {
	t.Helper()
	out, log, err := c.run(t, args...)
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, log)
	}
	return out, log
}

func (c *command) file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const site = `
-- Dockerfile --
ARG GREETING=hello
FROM scratch AS pages
ARG GREETING
COPY index.html /srv/
LABEL greeting=$GREETING

FROM scratch AS app
COPY --from=pages /srv /srv
CMD ["/server"]
-- index.html --
<p>hi
-- alone.txt --
alone
-- other/Other.dockerfile --
FROM scratch
COPY . /all
-- other/Other.dockerfile.dockerignore --
index.html
-- .dockerignore --
alone.txt
`

var digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}\n$`)

func TestOutputs(t *testing.T) {
	c := project(t, site)
	registry := stagetest.Registry(t).Host()
	out, _ := c.must(t, "-t", registry+"/app:1", "-t", registry+"/app:latest", "--push",
		"-o", "type=oci,dest=DIR/oci", "-o", "type=docker,dest=DIR/app.tar", "-o", "DIR/local", "-o", "type=tar,dest=DIR/root.tar",
		"--iidfile", "DIR/iid", "--metadata-file", "DIR/meta.json", "DIR")
	if !digest.MatchString(out) {
		t.Fatalf("the standard output is no digest alone: %q", out)
	}
	if got := c.file(t, "local/srv/index.html"); got != "<p>hi\n" {
		t.Errorf("local output has %q", got)
	}
	for _, name := range []string{"oci/index.json", "app.tar", "root.tar"} {
		c.file(t, name)
	}
	var meta map[string]any
	if err := json.Unmarshal([]byte(c.file(t, "meta.json")), &meta); err != nil {
		t.Fatal(err)
	}
	if meta["containerimage.digest"] != strings.TrimSpace(out) || meta["image.name"] != registry+"/app:1,"+registry+"/app:latest" {
		t.Errorf("metadata %v", meta)
	}
	if iid := c.file(t, "iid"); iid != meta["containerimage.config.digest"] {
		t.Errorf("image ID %q, metadata %v", iid, meta)
	}
	// What was pushed is a base for the next build, by a name without any flag for plain HTTP.
	c.stdin = strings.NewReader("FROM " + registry + "/app:latest\nCOPY --from=" + registry + "/app:1 /srv /again\n")
	c.must(t, "-f", "-", "-o", "DIR/next", "DIR")
	if got := c.file(t, "next/again/index.html"); got != "<p>hi\n" {
		t.Errorf("the build on the pushed image has %q", got)
	}
}

// TestForms: how layers are stored is said of outputs and true of the whole image.
func TestForms(t *testing.T) {
	c := project(t, site)
	for want, fields := range map[string]string{
		"application/vnd.oci.image.layer.v1.tar+gzip":       "compression=gzip,compression-level=9",
		"application/vnd.oci.image.layer.v1.tar+zstd":       "compression=zstd,force-compression=true",
		"application/vnd.oci.image.layer.v1.tar\"":          "compression=uncompressed",
		"application/vnd.docker.image.rootfs.diff.tar.gzip": "oci-mediatypes=false",
	} {
		c.must(t, "-t", "app:1", "-o", "type=oci,dest=DIR/form.tar,"+fields, "-o", "DIR/files", "DIR")
		if !strings.Contains(c.file(t, "form.tar"), want) {
			t.Errorf("%s: the archive has no %s", fields, want)
		}
	}
}

// TestLoad gives the image to a daemon that is not there: the error says where it was looked for.
func TestLoad(t *testing.T) {
	c := project(t, site)
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(c.dir, "docker.sock"))
	t.Setenv("CONTAINER_HOST", "unix://"+filepath.Join(c.dir, "podman.sock"))
	for _, args := range [][]string{{"--load"}, {"-o", "type=docker"}, {"-o", "type=podman"}} {
		_, _, err := c.run(t, append(args, "-t", "app:1", "DIR")...)
		if err == nil || !strings.Contains(err.Error(), c.dir) || !strings.Contains(err.Error(), ".sock") {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestTarOnStandardOutput(t *testing.T) {
	c := project(t, site)
	out, _ := c.must(t, "-o", "-", "DIR")
	h, err := tar.NewReader(strings.NewReader(out)).Next()
	if err != nil || h.Name != "srv/" {
		t.Errorf("first entry %v, %v", h, err)
	}
}

// TestFlags: flags after the context, another Dockerfile with ignore rules of its own, a target, arguments, labels, platforms.
func TestFlags(t *testing.T) {
	c := project(t, site)
	c.must(t, "DIR", "-f", "DIR/other/Other.dockerfile", "-o", "DIR/all")
	if _, err := os.Stat(filepath.Join(c.dir, "all/all/index.html")); err == nil {
		t.Error("the ignore file of the Dockerfile did not count")
	}
	c.file(t, "all/all/alone.txt")
	t.Setenv("GREETING", "from the environment")
	c.must(t, "--target", "PAGES", "--build-arg", "GREETING", "--label", "by=test", "--annotation", "a=of the image", "--annotation", "index:b=of the index", "--platform", "linux/amd64,linux/arm64", "-o", "type=oci,dest=DIR/oci", "DIR")
	index := c.file(t, "oci/index.json")
	blobs, err := filepath.Glob(filepath.Join(c.dir, "oci/blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	all := index
	for _, blob := range blobs {
		b, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		all += string(b)
	}
	for _, want := range []string{`"greeting":"from the environment"`, `"by":"test"`, `"annotations":{"a":"of the image"}`, `"annotations":{"b":"of the index"}`, `"arm64"`, `"amd64"`} {
		if !strings.Contains(all, want) {
			t.Errorf("the layout has no %s", want)
		}
	}
	if strings.Contains(all, "LABEL by=test") {
		t.Error("the label of the build is in the history")
	}
}

func TestContexts(t *testing.T) {
	c := project(t, `
-- Dockerfile --
FROM scratch
COPY --from=assets . /assets
COPY --from=layout /srv/index.html /layout/
COPY main.txt /
-- main.txt --
main
-- assets/a.txt --
asset
`)
	first := project(t, site)
	first.must(t, "-o", "type=oci,dest=DIR/oci", "-t", "app:1", "DIR")
	c.must(t, "--build-context", "assets=DIR/assets", "--build-context", "layout=oci-layout://"+first.dir+"/oci:1", "-o", "DIR/out", "DIR")
	if got := c.file(t, "out/assets/a.txt") + c.file(t, "out/layout/index.html"); got != "asset\n<p>hi\n" {
		t.Errorf("files of named contexts: %q", got)
	}
	archive, err := exec.CommandContext(t.Context(), "tar", "-C", first.dir, "-c", "Dockerfile", "index.html").Output()
	if err != nil {
		t.Skipf("tar: %v", err)
	}
	c.stdin = bytes.NewReader(archive)
	c.must(t, "-o", "DIR/fromtar", "-")
	if got := c.file(t, "fromtar/srv/index.html"); got != "<p>hi\n" {
		t.Errorf("build of an archive: %q", got)
	}
}

func TestRepository(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git on this machine")
	}
	c := project(t, site)
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "x"}} {
		git := exec.CommandContext(t.Context(), "git", append([]string{"-C", c.dir}, args...)...)
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(&cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + filepath.Dir(c.dir), "GIT_HTTP_EXPORT_ALL=1"},
	})
	t.Cleanup(server.Close)
	into := project(t, "")
	into.must(t, "-o", "DIR/out", server.URL+"/"+filepath.Base(c.dir)+"/.git#main")
	if got := into.file(t, "out/srv/index.html"); got != "<p>hi\n" {
		t.Errorf("build of a repository: %q", got)
	}
}

// TestRun: what only a step that runs can see.
func TestRun(t *testing.T) {
	registry := stagetest.Registry(t)
	registry.Push("shell", stagetest.Shell(t))
	c := project(t, `
-- Dockerfile --
FROM `+registry.Ref("shell")+`
RUN --mount=type=secret,id=token,required=true --mount=type=secret,id=word,env=WORD cat /run/secrets/token > /seen && echo $WORD >> /seen
RUN grep mirror.test /etc/hosts >> /seen
RUN cat /proc/net/dev | grep -c : >> /seen
-- token --
token of a file
`)
	t.Setenv("WORD_OF_ENV", "word of the environment")
	args := []string{"--secret", "id=token,src=DIR/token", "--secret", "id=word,env=WORD_OF_ENV", "--add-host", "mirror.test:10.0.0.7", "--network", "none", "-o", "DIR/out", "DIR"}
	c.must(t, args...)
	want := "token of a file\nword of the environment\n10.0.0.7\tmirror.test\n1\n"
	if got := c.file(t, "out/seen"); got != want {
		t.Errorf("the steps saw\n%s\nwant\n%s", got, want)
	}
	for _, round := range []struct {
		flag, want string
	}{{"--push=false", "0 run"}, {"--no-cache", "3 run"}} {
		if _, log := c.must(t, append([]string{round.flag}, args...)...); !strings.Contains(log, round.want) {
			t.Errorf("%s: the totals do not say %q:\n%s", round.flag, round.want, log)
		}
	}
}

// TestBypass: what the flags about the cache and the registries say reaches the build.
func TestBypass(t *testing.T) {
	registry := stagetest.Registry(t)
	registry.Push("shell", stagetest.Shell(t))
	c := project(t, `
-- Dockerfile --
FROM `+registry.Ref("shell")+` AS tools
RUN echo tool > /tool
FROM `+registry.Ref("shell")+` AS unused
RUN echo unused
FROM `+registry.Ref("shell")+` AS app
COPY --from=tools /tool /tool
RUN cat /tool
`)
	c.must(t, "DIR")
	for _, test := range []struct {
		flags []string
		want  string // in the log, or in the error
	}{
		{nil, "0 run"},
		{[]string{"--no-cache-filter", "tools"}, "1 run"},
		{[]string{"--no-cache-filter=Tools,unused"}, "1 run"},
		{[]string{"--no-cache-filter", "tools", "--no-cache-filter", "app"}, "3 run"},
		{[]string{"--no-cache-filter", "tool"}, "did you mean tools?"},
		{[]string{"--no-cache-filter", ""}, "names of stages"},
		{[]string{"--pull"}, "0 run"},
		{[]string{"--pull=missing"}, "0 run"},
		{[]string{"--pull=never"}, "0 run"},
		{[]string{"--pull=sometimes"}, "always, missing or never"},
		{[]string{"--offline"}, "0 run"},
		{[]string{"--offline", "--pull"}, "choose one"},
		{[]string{"--offline", "--push", "-t", registry.Ref("app")}, "the build is offline"},
	} {
		_, log, err := c.run(t, append(slices.Clone(test.flags), "DIR")...)
		if err != nil {
			log = err.Error()
		}
		if !strings.Contains(log, test.want) {
			t.Errorf("%v: want %q in\n%s", test.flags, test.want, log)
		}
	}
}

func TestPrint(t *testing.T) {
	c := project(t, site)
	for form, want := range map[string]string{
		"go":         `stage.Scratch(`,
		"dockerfile": "COPY --from=pages /srv /srv",
		"json":       `"kind":"copy"`,
		"dot":        "digraph",
		"mermaid":    "flowchart",
	} {
		if out, _ := c.must(t, "--print", form, "DIR"); !strings.Contains(out, want) {
			t.Errorf("--print %s has no %s:\n%s", form, want, out)
		}
	}
}

func TestCheck(t *testing.T) {
	c := project(t, site)
	if out, _ := c.must(t, "--check", "DIR"); out != "Check complete, no warnings found.\n" {
		t.Errorf("check: %q", out)
	}
	c = project(t, "-- Dockerfile --\nFROM scratch as app\nMAINTAINER me\n")
	out, _, err := c.run(t, "--check", "DIR")
	if err == nil || !strings.Contains(out, "Dockerfile:2") || !strings.Contains(out, "MaintainerDeprecated") {
		t.Errorf("check: %v\n%s", err, out)
	}
}

func TestMistakes(t *testing.T) {
	c := project(t, site+`
-- secret.dockerfile --
FROM scratch
RUN --mount=type=secret,id=token,required=true ["/x"]
`)
	for _, m := range []struct {
		args []string
		want []string
	}{
		{[]string{}, []string{"no build context"}},
		{[]string{"DIR", "DIR/other"}, []string{"2 arguments"}},
		{[]string{"DIR/nowhere"}, []string{"nowhere"}},
		{[]string{"DIR/index.html"}, []string{"not a directory"}},
		{[]string{"DIR/other"}, []string{"Dockerfile", "-f"}},
		{[]string{"--target", "page", "DIR"}, []string{"page", "did you mean pages? The stages are pages, app"}},
		{[]string{"--build-arg", "GREETNG=1", "DIR"}, []string{"GREETNG", "GREETING"}},
		{[]string{"--build-arg", "=1", "DIR"}, []string{"build-arg"}},
		{[]string{"--platform", "linux/amd46", "DIR"}, []string{"platform", "amd46"}},
		{[]string{"--network", "bridge", "DIR"}, []string{"bridge", "default, none or host"}},
		{[]string{"--add-host", "x", "DIR"}, []string{"HOST:IP"}},
		{[]string{"--secret", "src=x", "DIR"}, []string{"no id"}},
		{[]string{"--secret", "id=x,file=y", "DIR"}, []string{`"file"`}},
		{[]string{"--secret", "id=x,src=DIR/none", "DIR"}, []string{"none"}},
		{[]string{"--output", "type=zip,dest=x", "DIR"}, []string{"zip", "oci, docker"}},
		{[]string{"--output", "type=oci", "DIR"}, []string{"dest"}},
		{[]string{"--output", "type=oci,dest=DIR/x,compression=lzma", "DIR"}, []string{"lzma", "zstd"}},
		{[]string{"--output", "type=oci,dest=DIR/x,compression-level=best", "DIR"}, []string{"best"}},
		{[]string{"--output", "type=oci,dest=DIR/x,compression-level=99", "DIR"}, []string{"99"}},
		{[]string{"--output", "type=oci,dest=DIR/x,compression=zstd", "--output", "type=docker,dest=DIR/y,compression=gzip", "DIR"}, []string{"one form"}},
		{[]string{"--emulator", "arm64", "DIR"}, []string{"ARCH=PROGRAM"}},
		{[]string{"-f", "DIR/secret.dockerfile", "DIR"}, []string{"secret.dockerfile:2:1", "token", "--secret id=token,src=FILE"}},
		{[]string{"--push", "DIR"}, []string{"-t"}},
		{[]string{"--outptu", "x", "DIR"}, []string{"unknown flag", "--output?"}},
		{[]string{"--zzzzzz", "DIR"}, []string{"--zzzzzz", "--help"}},
		{[]string{"--annotation", "x", "DIR"}, []string{"KEY=VALUE"}},
		{[]string{"--annotation", "index:x=y", "DIR"}, []string{"no index"}},
		{[]string{"-t", "App:1:2", "DIR"}, []string{"App:1:2"}},
		{[]string{"--add-host", "x:here", "DIR"}, []string{"HOST:IP"}},
		{[]string{"--print", "yaml", "DIR"}, []string{"yaml", "mermaid"}},
		{[]string{"--progress", "loud", "DIR"}, []string{"loud"}},
		{[]string{"--build-context", "x", "DIR"}, []string{"NAME=PATH"}},
		{[]string{"-f", "-", "-"}, []string{"standard input"}},
		{[]string{"--label", "=x", "DIR"}, []string{"KEY=VALUE"}},
	} {
		_, _, err := c.run(t, m.args...)
		if err == nil {
			t.Errorf("%v: no error", m.args)
			continue
		}
		for _, want := range m.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%v: the error does not say %q: %v", m.args, want, err)
			}
		}
	}
}

// --explain names what changed, and builds nothing.
func TestExplain(t *testing.T) {
	c := project(t, "-- Dockerfile --\nFROM scratch AS assets\nCOPY web /w/\nFROM scratch\nENV A=b\nCOPY --from=assets /w /srv/\n-- web/app.js --\n1\n")
	out, _ := c.must(t, "--explain", "DIR")
	if !strings.Contains(out, "Dockerfile:2:1: stage assets: COPY web /w/\n    never built before\n    needed by COPY --from=assets /w /srv/ (stage 0), stage 0\n") ||
		!strings.HasSuffix(out, "2 to build, 0 in the cache\n") {
		t.Errorf("before a build:\n%s", out)
	}
	c.must(t, "-q", "DIR")
	if out, _ = c.must(t, "--explain", "DIR"); out != "0 to build, 2 in the cache\n" {
		t.Errorf("after it:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(c.dir, "web", "app.js"), []byte("2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first one makes nothing that the second could find
		out, _ = c.must(t, "--explain", "DIR")
		if !strings.Contains(out, "\n    web/app.js: content\n") || !strings.Contains(out, "\n    reads COPY web /w/, which changed\n") {
			t.Errorf("after a change:\n%s", out)
		}
	}
	out, _ = c.must(t, "--explain=json", "DIR")
	var list []struct {
		Status, Cause string
		Differences   []struct{ Text string }
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 2 || list[0].Cause != "changed" || list[0].Differences[0].Text != "web/app.js: content" {
		t.Errorf("as JSON: %v\n%s", err, out)
	}
	if _, _, err := c.run(t, "--explain=xml", "DIR"); err == nil || !strings.Contains(err.Error(), "want text or json") {
		t.Errorf("an unknown form: %v", err)
	}
}
