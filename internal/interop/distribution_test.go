package interop

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagewright/stagewright/image/registry"
)

var distributionOnce = struct {
	sync.Once
	host string
}{}

// distribution starts Debian's registry, the program distribution, and returns its host.
func distribution(t *testing.T) string {
	t.Helper()
	tool(t, "docker-registry", "docker-registry")
	distributionOnce.Do(func() {
		dir, host := filepath.Join(shared.dir, "registry"), freeAddress(t)
		config := fmt.Sprintf("version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %q}\n",
			filepath.Join(dir, "data"), host)
		path := filepath.Join(shared.dir, "registry.yml")
		if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		start(t, dir, []string{"docker-registry", "serve", path}, func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v2/", nil)
			if err != nil {
				return err
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		})
		distributionOnce.host = host
	})
	if distributionOnce.host == "" {
		t.Fatal("docker-registry was not started; see the first test that needs it")
	}
	return distributionOnce.host
}

// pushed pushes a variant, once, and returns its name.
func pushed(t *testing.T, b *variant) string {
	t.Helper()
	ref := distribution(t) + "/interop/" + b.name + ":1.0"
	write(t, registry.Push(ref), b.artifact)
	return ref
}

// TestRegistry pushes to Debian's registry and has others, and ourselves, read it there.
func TestRegistry(t *testing.T) {
	for _, b := range fixtures(t) {
		t.Run(b.name, func(t *testing.T) {
			ref := pushed(t, b)
			skopeoReads(t, "registry", "docker://"+ref, b, "--tls-verify=false")
			parsed, err := name.ParseReference(ref)
			if err != nil {
				t.Fatal(err)
			}
			index, err := remote.Index(parsed)
			if err != nil {
				t.Fatal(err)
			}
			validates(t, "registry", b, index)
			digest, err := index.Digest()
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "go-containerregistry: digest", b.digest, digest.String())
			client := registry.NewClient(registry.Options{})
			for _, want := range b.images {
				got, err := client.Resolve(t.Context(), ref, want.platform)
				if err != nil {
					t.Fatal(err)
				}
				read, err := describeImage(got.Image)
				if err != nil {
					t.Fatal(err)
				}
				equal(t, "Client.Resolve: digest", want.digest, read.digest)
				equal(t, "Client.Resolve: config", string(want.config), string(read.config))
			}
			compared(t, "registry", "registry.Client", b.name, "digest", "config")
		})
	}
}
