package daemon_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/daemon"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/platform"
)

// ctr stands for the program: it keeps names and digests in a file, says which images have a digest, and writes down how it is called.
const ctr = `#!/bin/sh
cd "${0%/*}"
echo "$*" >> calls
case "$*" in
*"images list target.digest=="*)
	echo "REF TYPE DIGEST SIZE PLATFORMS LABELS"
	grep "${*##*==}" have;;
*"images import"*)
	cat > stdin
	test -e refuse && { echo "ctr: no space left on device" >&2; exit 1; }
	echo "docker.io/library/app:1 application/vnd.oci.image.manifest.v1+json $(cat digest) 2.3 KiB linux/amd64 -" >> have;;
*"images tag"*)
	echo "${*##* } application/vnd.oci.image.manifest.v1+json $(cat digest) 2.3 KiB linux/amd64 -" >> have;;
esac
exit 0
`

// kind stands for the program; its cluster has the nodes that a file lists.
const kind = `#!/bin/sh
cd "${0%/*}"
echo "$*" >> calls
case "$1" in
get) cat nodes;;
load)
	for file; do true; done
	cat "$file" > "stdin-$6"
	test -e refuse && { echo "ERROR: failed to load image" >&2; exit 1; };;
esac
exit 0
`

// install writes a script and returns its path and a function that reads and empties the list of its calls.
func install(t *testing.T, name, script string) (path string, calls func() string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the program is a shell script")
	}
	dir := t.TempDir()
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path, func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "calls"))
		os.Remove(filepath.Join(dir, "calls"))
		return string(b)
	}
}

func put(t *testing.T, program, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(filepath.Dir(program), name), []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, program, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(filepath.Dir(program), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestContainerd(t *testing.T) {
	path, calls := install(t, "ctr", ctr)
	var opens imagetest.Opens
	a := app(t, &opens, "1")
	digest, _ := a.Digest()
	put(t, path, "digest", digest.String())
	put(t, path, "have", "")
	o := daemon.Options{Program: path, Namespace: "k8s.io", Platform: platform.MustParse("linux/amd64")}
	step := func(what string, refs []string, how, want string, opened int64) {
		t.Helper()
		opens.Store(0)
		d := deliver(t, daemon.ContainerdWith(o, refs...), a)
		if !strings.HasPrefix(d.How, how) || opens.Load() != opened || d.Sink != "containerd namespace k8s.io" || d.Blobs+d.Skipped != 4 {
			t.Errorf("%s: %+v, %d layers opened", what, d, opens.Load())
		}
		if got := calls(); got != want {
			t.Errorf("%s: ctr was called\n%swant\n%s", what, got, want)
		}
	}
	list := "--namespace k8s.io images list target.digest==" + digest.String() + "\n"
	step("first", []string{"app:1"}, "streamed as an archive", list+"--namespace k8s.io images import --platform linux/amd64 -\n", 2)
	archive := read(t, path, "stdin")
	if !strings.HasPrefix(archive, "oci-layout") || !strings.Contains(archive, `"io.containerd.image.name":"docker.io/library/app:1"`) || len(archive)%512 != 0 {
		t.Errorf("the input has %d bytes and begins with %.20q", len(archive), archive)
	}
	step("again", []string{"app:1"}, "there already", list, 0)
	step("another name", []string{"app:1", "b"}, "there already, named", list+"--namespace k8s.io images tag --force docker.io/library/app:1 docker.io/library/b:latest\n", 0)
	step("both", []string{"app:1", "b"}, "there already", list, 0)
}

func TestKind(t *testing.T) {
	path, calls := install(t, "kind", kind)
	var opens imagetest.Opens
	a := app(t, &opens, "1")
	put(t, path, "nodes", "dev-control-plane\ndev-worker\n")
	d := deliver(t, daemon.KindWith("dev", daemon.Options{Program: path}, "app:1"), a)
	want := `get nodes --name dev
load image-archive --name dev --nodes dev-control-plane /dev/stdin
load image-archive --name dev --nodes dev-worker /dev/stdin
`
	if got := calls(); got != want {
		t.Errorf("kind was called\n%swant\n%s", got, want)
	}
	one, two := read(t, path, "stdin-dev-control-plane"), read(t, path, "stdin-dev-worker")
	if one != two || d.Bytes != int64(len(one)+len(two)) || d.Blobs != 8 || d.Sink != "kind cluster dev" || !strings.Contains(d.How, "to 2 nodes") {
		t.Errorf("the nodes got %d and %d bytes: %+v", len(one), len(two), d)
	}
	put(t, path, "nodes", "")
	err := daemon.KindWith("", daemon.Options{Program: path}, "app:1").Write(t.Context(), a)
	if err == nil || !strings.Contains(err.Error(), `kind cluster kind: there is no cluster "kind"; make it with`) {
		t.Errorf("no cluster: %v", err)
	}
}

// TestContainerdDoesNotRun where ctr chooses the socket, and says which.
func TestContainerdDoesNotRun(t *testing.T) {
	path, _ := install(t, "ctr", "#!/bin/sh\necho 'ctr: failed to dial \"/run/containerd/containerd.sock\": context deadline exceeded' >&2\nexit 1\n")
	var opens imagetest.Opens
	err := daemon.ContainerdWith(daemon.Options{Program: path}, "app").Write(t.Context(), app(t, &opens, "1"))
	for _, want := range []string{"no containerd answers", "/run/containerd/containerd.sock", "systemctl start containerd", "Options.Host"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// TestProgramFailures of both programs: theirs, ours, and that there is none.
func TestProgramFailures(t *testing.T) {
	var opens imagetest.Opens
	good := app(t, &opens, "1")
	broken := image.Artifact{Image: imagetest.Make(t, image.Spec{Layers: []v1.Layer{imagetest.Broken(1<<20, nil)}, File: imagetest.File("linux", "amd64")})}
	for name, script := range map[string]string{"ctr": ctr, "kind": kind} {
		sink := func(path string, refs ...string) image.Sink {
			if name == "ctr" {
				return daemon.ContainerdWith(daemon.Options{Program: path}, refs...)
			}
			return daemon.KindWith("", daemon.Options{Program: path}, refs...)
		}
		path, _ := install(t, name, script)
		put(t, path, "nodes", "node\n")
		put(t, path, "have", "")
		put(t, path, "digest", "none")
		if err := sink(path, "app").Write(t.Context(), broken); !errors.Is(err, imagetest.ErrBroken) {
			t.Errorf("%s, a layer that cannot be read: %v", name, err)
		}
		if have := read(t, path, "have"); have != "" {
			t.Errorf("%s took half an image: %s", name, have)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped by the user")
		interrupted := image.Artifact{Image: imagetest.Make(t, image.Spec{
			Layers: []v1.Layer{imagetest.Broken(1<<20, func() { cancel(stopped) })}, File: imagetest.File("linux", "amd64"),
		})}
		if err := sink(path, "app").Write(ctx, interrupted); !errors.Is(err, stopped) {
			t.Errorf("%s, cancelled: %v", name, err)
		}
		if err := sink(path, "app").Write(ctx, good); !errors.Is(err, stopped) {
			t.Errorf("%s, under an ended context: %v", name, err)
		}
		if err := sink(path).Write(t.Context(), good); err == nil || !strings.Contains(err.Error(), "give one, like app:1.0") {
			t.Errorf("%s, no name: %v", name, err)
		}
		put(t, path, "refuse", "")
		if err := sink(path, "app").Write(t.Context(), good); err == nil || !strings.Contains(err.Error(), "exit status 1: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s, which fails: %v", name, err)
		}
		err := sink("no-such-program-"+name, "app").Write(t.Context(), good)
		if err == nil || !strings.Contains(err.Error(), "in Options.Program") {
			t.Errorf("%s is not installed: %v", name, err)
		}
	}
	var e *daemon.NotRunningError
	err := daemon.ContainerdWith(daemon.Options{Host: t.TempDir() + "/none"}, "app").Write(t.Context(), good)
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "start it (`systemctl start containerd`)") {
		t.Errorf("containerd does not run: %v", err)
	}
}
