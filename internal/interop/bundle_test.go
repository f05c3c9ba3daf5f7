package interop

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// bundleConfig compares the configuration of a runtime bundle, as umoci makes it, with that of the image.
func bundleConfig(t *testing.T, path string, i builtImage) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Process struct {
			User struct {
				UID, GID       uint32
				AdditionalGids []int
			}
			Args []string
			Env  []string
			Cwd  string
		}
		Annotations map[string]string
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	c := i.file.Config
	p := got.Process
	equal(t, "umoci: arguments", slices.Concat(c.Entrypoint, c.Cmd), p.Args)
	equal(t, "umoci: directory", c.WorkingDir, p.Cwd)
	equal(t, "umoci: user", []uint32{1000, 1001}, []uint32{p.User.UID, p.User.GID})
	for _, v := range c.Env {
		if !slices.Contains(p.Env, v) {
			t.Errorf("umoci: the environment has no %q: %q", v, p.Env)
		}
	}
	for k, v := range map[string]string{
		"org.opencontainers.image.author": i.file.Author, "org.opencontainers.image.stopSignal": c.StopSignal,
		"org.opencontainers.image.exposedPorts": "53/udp,8080/tcp,9999/sctp", "org.example.text": c.Labels["org.example.text"],
	} {
		equal(t, "umoci: annotation "+k, v, got.Annotations[k])
	}
}
