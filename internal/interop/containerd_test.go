package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stagewright/stagewright/internal/interop/listing"
)

// containerd is a containerd of its own, used with ctr.
type containerd struct {
	socket string
	runs   int // containers need names
}

var containerdOnce struct {
	sync.Once
	engine *containerd
}

func startContainerd(t *testing.T) *containerd {
	t.Helper()
	tool(t, "containerd", "containerd")
	tool(t, "ctr", "containerd")
	tool(t, "runc", "runc")
	containerdOnce.Do(func() {
		dir := filepath.Join(shared.dir, "containerd")
		c := &containerd{socket: filepath.Join(dir, "containerd.sock")}
		config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n",
			filepath.Join(dir, "root"), filepath.Join(dir, "state"), c.socket)
		path := filepath.Join(shared.dir, "containerd.toml")
		if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		start(t, dir, []string{"containerd", "--config", path}, answers("ctr", "--address", c.socket, "version"))
		containerdOnce.engine = c
	})
	if containerdOnce.engine == nil {
		t.Fatal("containerd was not started; see the first test that needs it")
	}
	return containerdOnce.engine
}

func (c *containerd) String() string { return "containerd" }

// do runs ctr. What it mounts is in a namespace that ends with it.
func (c *containerd) do(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, command{args: append([]string{"unshare", "--mount", "ctr", "--address", c.socket, "--namespace", "interop"}, args...)})
}

func (c *containerd) load(t *testing.T, path, name string) {
	t.Helper()
	c.do(t, "images", "import", "--all-platforms", path)
}

func (c *containerd) pull(t *testing.T, ref, arch string) {
	t.Helper()
	c.do(t, "images", "pull", "--plain-http", "--platform", "linux/"+arch, ref)
}

// same reads the manifest and the configuration out of the content store, as ctr finds them from the name.
func (c *containerd) same(t *testing.T, ref, pulled string, want builtImage) {
	t.Helper()
	digest := ""
	for line := range strings.Lines(c.do(t, "images", "ls")) {
		if f := strings.Fields(line); f[0] == ref {
			digest = f[2]
		}
	}
	if pulled != "" {
		equal(t, "containerd: digest", pulled, digest)
	}
	top := c.do(t, "content", "get", digest)
	if pulled != "" { // an index
		digest = want.digest
		top = c.do(t, "content", "get", digest)
	}
	var manifest struct {
		Config struct{ Digest string }
		Layers []struct{ Digest string }
	}
	if err := json.Unmarshal([]byte(top), &manifest); err != nil {
		t.Fatal(err)
	}
	equal(t, "containerd: image ID", want.id, manifest.Config.Digest)
	equal(t, "containerd: layers", len(want.file.RootFS.DiffIDs), len(manifest.Layers))
	equal(t, "containerd: config", string(want.config), c.do(t, "content", "get", manifest.Config.Digest))
}

// list lists the image as containerd mounts it.
func (c *containerd) list(t *testing.T, ref, arch string) listing.Tree {
	t.Helper()
	at := t.TempDir()
	script := `ctr --address "$1" --namespace interop images mount --platform "$2" "$3" "$4" >/dev/null && "$5" list "$4"`
	return parseListing(t, run(t, command{args: []string{
		"unshare", "--mount", "sh", "-e", "-c", script, "sh", c.socket, "linux/" + arch, ref, at, probePath("amd64"),
	}}))
}

func (c *containerd) start(t *testing.T, ref, arch string) string {
	t.Helper()
	c.runs++
	return c.do(t, "run", "--rm", "--allow-new-privs", "--platform", "linux/"+arch, "--cgroup", fmt.Sprintf("%s/%d", shared.cgroup, c.runs), ref, fmt.Sprintf("interop-%d", c.runs))
}

func (c *containerd) remove(t *testing.T, ref string) {
	t.Helper()
	c.do(t, "images", "rm", "--sync", ref)
}
