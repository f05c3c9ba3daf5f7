package registry_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
)

// distribution starts the registry that Docker made (Debian: docker-registry) and returns its host.
func distribution(t *testing.T) string {
	t.Helper()
	program := imagetest.Tool(t, "docker-registry")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), host)
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	cmd := exec.Command(program, "serve", path)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Skipf("docker-registry does not start: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
			resp.Body.Close()
			return host
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("docker-registry: %v\n%s", err, &output)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("docker-registry does not answer:\n%s", &output)
		}
	}
}

// TestDistribution pushes to a registry that is not a fake, mounts between its repositories, and has skopeo read the result.
func TestDistribution(t *testing.T) {
	host := distribution(t)
	var opens imagetest.Opens
	x := imagetest.Index(t, &opens, "text")
	imagetest.Write(t, registry.PushWith(host+"/base:1", anonymous()), image.Artifact{Index: x})
	base, err := client().Resolve(t.Context(), host+"/base:1", amd64)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(base.Image); err != nil {
		t.Error(err)
	}
	opens.Store(0)
	for _, family := range []image.MediaTypes{image.OCI, image.Docker} {
		img := imagetest.Make(t, image.Spec{
			Base: base.Image, MediaTypes: family, File: imagetest.File("linux", "amd64"),
			Layers: []v1.Layer{imagetest.Layer(t, &opens, map[string]string{"new": "1"})},
		})
		ref := fmt.Sprintf("%s/team/app:%d", host, family)
		imagetest.Write(t, registry.PushWith(ref, anonymous()), image.Artifact{Image: img})
		got, err := client().Resolve(t.Context(), ref, amd64)
		if err != nil {
			t.Fatal(err)
		}
		if err := validate.Image(got.Image); err != nil {
			t.Error(err)
		}
		var seen struct {
			Digest string
			Layers []string
		}
		out := imagetest.Output(t, "skopeo", "inspect", "--tls-verify=false", "docker://"+ref)
		if err := json.Unmarshal([]byte(out), &seen); err != nil {
			t.Fatal(err)
		}
		if digest, _ := img.Digest(); seen.Digest != digest.String() || len(seen.Layers) != 2 {
			t.Errorf("skopeo sees %+v, want %s", seen, digest)
		}
	}
	if opens.Load() != 1 {
		t.Errorf("layers were opened %d times, want 1: the base is mounted, and the new layer is there the second time", opens.Load())
	}
}
