package registry_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/internal/registrytest"
)

// TestDistribution pushes to a registry that is not a fake, mounts between its repositories, and has skopeo read the result.
func TestDistribution(t *testing.T) {
	host := registrytest.Start(t, registrytest.Options{})
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

// TestDistributionBreaks has the connection to a registry that is not a fake break in the middle of a blob. Distribution 2.8 gives up an upload
// that has more than its last answer said, so that the blob is sent anew.
func TestDistributionBreaks(t *testing.T) {
	host := registrytest.Start(t, registrytest.Options{})
	const size = 6 << 20
	var opens imagetest.Opens
	img := imagetest.Big(t, &opens, size)
	var mu sync.Mutex
	var patches []string
	sent := int64(0)
	o := anonymous()
	o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodPatch {
			return http.DefaultTransport.RoundTrip(r)
		}
		mu.Lock()
		patches = append(patches, r.Header.Get("Content-Range"))
		first := len(patches) == 1
		mu.Unlock()
		sending := r.Clone(r.Context())
		sending.GetBody = nil
		sending.Body = &counting{ReadCloser: r.Body, n: &sent}
		if first {
			sending.Body = &counting{ReadCloser: r.Body, n: &sent, limit: 4 << 20}
		}
		return http.DefaultTransport.RoundTrip(sending)
	})
	d, err := image.Deliver(t.Context(), registry.PushWith(host+"/app:1", o), image.Artifact{Image: img}, nil)
	if err != nil || d.Blobs != 3 {
		t.Fatalf("%+v, %v", d, err)
	}
	if !slices.Equal(patches, []string{"", ""}) || sent != size+4<<20 {
		t.Errorf("sent %q, %d bytes for a blob of %d", patches, sent, size)
	}
	got, err := client().Resolve(t.Context(), host+"/app:1", amd64)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := got.Image.Layers()
	rc, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if n, err := io.Copy(io.Discard, rc); err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// counting is a body of which limit bytes are sent before the connection breaks.
type counting struct {
	io.ReadCloser
	n     *int64
	limit int64
	done  int64
}

func (c *counting) Read(p []byte) (int, error) {
	if c.limit > 0 && c.done >= c.limit {
		return 0, syscall.ECONNRESET
	}
	n, err := c.ReadCloser.Read(p)
	c.done += int64(n)
	*c.n += int64(n)
	return n, err
}

// TestDistributionAttach: Debian's registry has no referrers API, and the list is kept under a tag.
func TestDistributionAttach(t *testing.T) {
	host := registrytest.Start(t, registrytest.Options{})
	var opens imagetest.Opens
	c := client()
	imagetest.Write(t, c.Push(host+"/app:1"), image.Artifact{Index: imagetest.Index(t, &opens, "text")})
	for _, files := range [][]image.AttachedFile{nil, {{Name: "empty", Data: nil}}, {{Name: "sbom.json", MediaType: spdx, Data: []byte("{}")}}} {
		if _, err := c.Attach(t.Context(), host+"/app:1", image.Attachment{ArtifactType: spdx, Files: files}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := c.Referrers(t.Context(), host+"/app:1", spdx)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	var seen struct{ ArtifactType string }
	out := imagetest.Output(t, "skopeo", "inspect", "--raw", "--tls-verify=false", "docker://"+host+"/app@"+list[2].Digest.String())
	if err := json.Unmarshal([]byte(out), &seen); err != nil || seen.ArtifactType != spdx {
		t.Errorf("skopeo reads %s", out)
	}
	// A copy of what is attached, and of the index, to another repository.
	a, err := c.Artifact(t.Context(), host+"/app:1")
	if err != nil {
		t.Fatal(err)
	}
	opens.Store(0)
	imagetest.Write(t, c.Push(host+"/copy:1"), a)
	if opens.Load() != 0 {
		t.Error("a copy opened a layer of what it was made from")
	}
}
