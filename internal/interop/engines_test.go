package interop

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/image/archive"
)

// engines are all of them, with the variants that each takes: Docker and Podman overlay at most 128 layers. Each is started when a test asks
// for it.
var engines = map[string]struct {
	start    func(t *testing.T) engine
	variants []string
}{
	"docker":     {func(t *testing.T) engine { return startDocker(t) }, []string{"grouped", "docker", "tar"}},
	"podman":     {func(t *testing.T) engine { return newPodman(t, "overlay", filepath.Join(shared.dir, "podman")) }, []string{"grouped", "docker", "zstd", "tar"}},
	"podman-vfs": {func(t *testing.T) engine { return newPodman(t, "vfs", filepath.Join(shared.dir, "podman-vfs")) }, []string{"deep"}},
	"containerd": {func(t *testing.T) engine { return startContainerd(t) }, []string{"grouped", "docker", "deep", "zstd", "tar"}},
}

// eachEngine runs a test for the engines and those of the named variants that they take: of one on both platforms, of the others on amd64. Engines work side
// by side, each on one image at a time.
func eachEngine(t *testing.T, names []string, test func(t *testing.T, e engine, b *variant, i builtImage)) {
	for name, use := range engines {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			variants := only(fixtures(t), names...)
			e := use.start(t)
			for _, b := range variants {
				for _, i := range b.images {
					if slices.Contains(use.variants, b.name) && (b.name == "grouped" || i.platform.Architecture == "amd64") {
						t.Run(b.name+"-"+i.platform.Architecture, func(t *testing.T) { test(t, e, b, i) })
					}
				}
			}
		})
	}
}

// TestLoad has the engines load a Docker archive.
func TestLoad(t *testing.T) {
	eachEngine(t, []string{"grouped", "docker", "deep", "zstd", "tar"}, func(t *testing.T, e engine, b *variant, i builtImage) {
		path, name := filepath.Join(t.TempDir(), "app.tar"), "example.org/interop/"+b.name+":1.0"
		write(t, archive.DockerWith(path, archive.Options{Platform: i.platform}, name), b.artifact)
		e.load(t, path, name)
		check(t, e, "Docker archive", name, "", b, i)
	})
}

// TestPull has the engines pull what was pushed to Debian's registry.
func TestPull(t *testing.T) {
	eachEngine(t, []string{"grouped", "docker", "deep", "zstd", "tar"}, func(t *testing.T, e engine, b *variant, i builtImage) {
		ref := pushed(t, b)
		e.pull(t, ref, i.platform.Architecture)
		check(t, e, "registry", ref, b.digest, b, i)
	})
}

// repository is a reference without its tag.
func repository(ref string) string { return ref[:strings.LastIndexByte(ref, ':')] }
