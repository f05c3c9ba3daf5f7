package interop

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stagewright/stagewright/internal/interop/listing"
)

// docker is a dockerd of its own.
type docker struct{ socket string }

var dockerOnce struct {
	sync.Once
	engine *docker
}

func startDocker(t *testing.T) *docker {
	t.Helper()
	tool(t, "dockerd", "docker.io")
	tool(t, "docker", "docker.io")
	dockerOnce.Do(func() {
		dir := filepath.Join(shared.dir, "docker")
		d := &docker{socket: filepath.Join(dir, "docker.sock")}
		config := filepath.Join(shared.dir, "docker.json")
		if err := os.WriteFile(config, []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
		start(t, dir, []string{
			"dockerd", "--config-file", config, "--host", "unix://" + d.socket, "--pidfile", filepath.Join(dir, "pid"),
			"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
			"--bridge", "none", "--iptables=false", "--ip6tables=false", "--cgroup-parent", shared.cgroup,
		}, answers("docker", "--host", "unix://"+d.socket, "version"))
		shared.atEnd(func() error { return os.RemoveAll(filepath.Join(dir, "data")) })
		dockerOnce.engine = d
	})
	if dockerOnce.engine == nil {
		t.Fatal("dockerd was not started; see the first test that needs it")
	}
	return dockerOnce.engine
}

func (d *docker) String() string { return "docker, overlay2" }

func (d *docker) do(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, command{args: append([]string{"docker", "--host", "unix://" + d.socket}, args...)})
}

func (d *docker) load(t *testing.T, path, name string) {
	t.Helper()
	d.do(t, "load", "-q", "-i", path)
}

func (d *docker) pull(t *testing.T, ref, arch string) {
	t.Helper()
	d.do(t, "pull", "-q", "--platform", "linux/"+arch, ref)
}

func (d *docker) same(t *testing.T, ref, pulled string, want builtImage) {
	t.Helper()
	var got []struct {
		ID           string `json:"Id"`
		RepoDigests  []string
		Os           string
		Architecture string
		Author       string
		Config       map[string]any
		RootFS       struct{ Layers []string }
	}
	text := d.do(t, "image", "inspect", ref)
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != 1 {
		t.Fatalf("docker inspect: %v in %s", err, text)
	}
	equal(t, "docker: image ID", want.id, got[0].ID)
	equal(t, "docker: platform", want.platform.String(), got[0].Os+"/"+got[0].Architecture)
	equal(t, "docker: author", want.file.Author, got[0].Author)
	equal(t, "docker: layers", len(want.file.RootFS.DiffIDs), len(got[0].RootFS.Layers))
	if pulled != "" {
		equal(t, "docker: digest", []string{repository(ref) + "@" + pulled}, got[0].RepoDigests)
	}
	config, _ := fields(t, string(want.config))["config"].(map[string]any)
	if health, ok := config["Healthcheck"].(map[string]any); ok {
		delete(health, "StartInterval") // Docker 25 was the first to know it
	}
	sameFields(t, "docker: config", config, got[0].Config)
}

func (d *docker) list(t *testing.T, ref, arch string) listing.Tree {
	t.Helper()
	return parseListing(t, d.do(t, "run", "--rm", "--network", "none", "--platform", "linux/"+arch, "--pull", "never", "--user", "0:0",
		"--volume", probePath("amd64")+":"+listing.ProbePath+":ro", "--entrypoint", listing.ProbePath, ref, "list", "/"))
}

func (d *docker) start(t *testing.T, ref, arch string) string {
	t.Helper()
	return d.do(t, "run", "--rm", "--network", "none", "--platform", "linux/"+arch, "--pull", "never", ref)
}

func (d *docker) remove(t *testing.T, ref string) {
	t.Helper()
	d.do(t, "image", "rm", "-f", ref)
}
