package interop

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/interop/listing"
)

// podman has a store of its own; it is no daemon.
type podman struct {
	driver  string   // of its storage: overlay takes 128 layers, vfs any number, and copies all files for each
	program []string // with its global options
}

// newPodman uses a store below dir.
func newPodman(t *testing.T, driver, dir string) *podman {
	t.Helper()
	tool(t, "podman", "podman")
	tool(t, "runc", "runc")
	return &podman{driver, []string{
		"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"), "--tmpdir", filepath.Join(dir, "tmp"),
		"--storage-driver", driver, "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc",
	}}
}

func (p *podman) String() string { return "podman, " + p.driver }

func (p *podman) do(t *testing.T, args ...string) string {
	t.Helper()
	// What it mounts is in a namespace that ends with it.
	return run(t, command{args: slices.Concat([]string{"unshare", "--mount"}, p.program, args)})
}

func (p *podman) load(t *testing.T, path, name string) {
	t.Helper()
	p.do(t, "load", "-q", "-i", path)
}

func (p *podman) pull(t *testing.T, ref, arch string) {
	t.Helper()
	p.do(t, "pull", "-q", "--tls-verify=false", "--arch", arch, ref)
}

func (p *podman) same(t *testing.T, ref, pulled string, want builtImage) {
	t.Helper()
	var got []struct {
		ID           string `json:"Id"`
		RepoDigests  []string
		Os           string
		Architecture string
		Author       string
		Config       map[string]any
		Healthcheck  any
		RootFS       struct{ Layers []string }
	}
	text := p.do(t, "image", "inspect", ref)
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != 1 {
		t.Fatalf("podman inspect: %v in %s", err, text)
	}
	g := got[0]
	equal(t, "podman: image ID", want.id, "sha256:"+g.ID)
	equal(t, "podman: platform", want.platform.String(), g.Os+"/"+g.Architecture)
	equal(t, "podman: author", want.file.Author, g.Author)
	equal(t, "podman: layers", len(want.file.RootFS.DiffIDs), len(g.RootFS.Layers))
	config, _ := fields(t, string(want.config))["config"].(map[string]any)
	if pulled != "" {
		for _, digest := range []string{pulled, want.digest} { // and those of other images with the same layers and configuration
			if !slices.Contains(g.RepoDigests, repository(ref)+"@"+digest) {
				t.Errorf("podman: no digest %s in %q", digest, g.RepoDigests)
			}
		}
	}
	// Podman reads what Docker added to the configuration out of images with Docker's media types alone.
	if strings.Contains(string(want.mediaType), "docker") {
		if health, ok := config["Healthcheck"].(map[string]any); ok {
			delete(health, "StartInterval") // newer than Debian's Podman
		}
		equal(t, "podman: health check", config["Healthcheck"], g.Healthcheck)
	}
	sameFields(t, "podman: config", config, g.Config, "Healthcheck", "OnBuild", "Shell")
}

// run runs a container. Podman would raise limits that this process may not be allowed to raise, and hand health checks to systemd.
func (p *podman) run(t *testing.T, arch string, args ...string) string {
	t.Helper()
	return p.do(t, append([]string{
		"run", "--rm", "--cgroup-parent", shared.cgroup, "--no-healthcheck", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none", "--pull", "never", "--arch", arch,
	}, args...)...)
}

func (p *podman) list(t *testing.T, ref, arch string) listing.Tree {
	t.Helper()
	return parseListing(t, p.run(t, arch, "--user", "0:0", "--volume", probePath("amd64")+":"+listing.ProbePath+":ro", "--entrypoint", listing.ProbePath, ref, "list", "/"))
}

func (p *podman) start(t *testing.T, ref, arch string) string {
	t.Helper()
	return p.run(t, arch, ref)
}

func (p *podman) remove(t *testing.T, ref string) {
	t.Helper()
	p.do(t, "image", "rm", "-f", ref)
}
