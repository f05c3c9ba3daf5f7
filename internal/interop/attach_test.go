package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/image/serve"
)

const (
	bom    = "application/spdx+json"
	report = "application/vnd.example.report.v1"
)

// TestAttach attaches two artifacts to the index in Debian's registry, which has no referrers API, and to the one that our handler serves, which
// has, and lists them with plain requests, in the order in which ORAS makes them: the API, then the fallback tag.
func TestAttach(t *testing.T) {
	b := only(fixtures(t), "grouped")[0]
	attachments := []image.Attachment{
		{ArtifactType: bom, Files: []image.AttachedFile{{Name: "bom.json", MediaType: bom, Data: []byte(`{"spdxVersion":"SPDX-2.3"}`)}}},
		{ArtifactType: report, Files: []image.AttachedFile{{Name: "report.txt", Data: []byte("all good\n")}}, Annotations: map[string]string{"org.example.result": "pass"}},
	}
	t.Run("distribution", func(t *testing.T) {
		how := attachAndList(t, distribution(t)+"/interop/attach:1.0", b, attachments)
		equal(t, "found by", "fallback tag", how)
		compared(t, "attached artifacts", "plain HTTP, docker-registry", b.name, "list by "+how, "artifacts")
	})
	t.Run("serve", func(t *testing.T) {
		_, subject, err := b.artifact.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		images := map[string]image.Artifact{"interop/attach:1.0": b.artifact}
		for n, a := range attachments {
			a.Subject = subject
			img, err := image.NewAttachment(a)
			if err != nil {
				t.Fatal(err)
			}
			images[fmt.Sprintf("interop/attach:artifact-%d", n)] = image.Artifact{Image: img}
		}
		handler, err := serve.Images(images)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		how := listAttached(t, server.Listener.Addr().String()+"/interop/attach:1.0", b, attachments)
		equal(t, "found by", "referrers API", how)
		compared(t, "attached artifacts", "plain HTTP, image/serve", b.name, "list by "+how, "artifacts")
	})
}

func attachAndList(t *testing.T, ref string, b *variant, attachments []image.Attachment) (how string) {
	t.Helper()
	client := registry.NewClient(registry.Options{})
	write(t, client.Push(ref), b.artifact)
	for range 2 { // the second time changes nothing
		for _, a := range attachments {
			if _, err := client.Attach(t.Context(), ref, a); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, a := range attachments {
		ours, err := client.Referrers(t.Context(), ref, a.ArtifactType)
		if err != nil || len(ours) != 1 || ours[0].ArtifactType != a.ArtifactType {
			t.Errorf("Client.Referrers of %s: %+v, %v", a.ArtifactType, ours, err)
		}
	}
	return listAttached(t, ref, b, attachments)
}

// listAttached lists what is attached as ORAS does, reads each artifact, and says what listed it.
func listAttached(t *testing.T, ref string, b *variant, want []image.Attachment) (how string) {
	t.Helper()
	host, repo, _ := strings.Cut(repository(ref), "/")
	base := "http://" + host + "/v2/" + repo
	how = "referrers API"
	status, contentType, body := get(t, base+"/referrers/"+b.digest, "application/vnd.oci.image.index.v1+json")
	if status == http.StatusNotFound {
		how = "fallback tag"
		status, contentType, body = get(t, base+"/manifests/"+strings.Replace(b.digest, ":", "-", 1), "application/vnd.oci.image.index.v1+json")
	}
	if status != http.StatusOK || contentType != "application/vnd.oci.image.index.v1+json" {
		t.Fatalf("%s: %d, %s: %s", how, status, contentType, body)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(body, &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != len(want) {
		t.Errorf("%s lists %d artifacts, want %d: %s", how, len(index.Manifests), len(want), body)
	}
	for _, a := range want {
		n := slices.IndexFunc(index.Manifests, func(d v1.Descriptor) bool { return d.ArtifactType == a.ArtifactType })
		if n < 0 {
			t.Errorf("%s has no %s: %s", how, a.ArtifactType, body)
			continue
		}
		equal(t, how+": annotations", a.Annotations, index.Manifests[n].Annotations)
		sameArtifact(t, base, index.Manifests[n], b, a)
	}
	return how
}

// sameArtifact reads the manifest of an artifact and its only file.
func sameArtifact(t *testing.T, base string, d v1.Descriptor, b *variant, want image.Attachment) {
	t.Helper()
	_, _, body := get(t, base+"/manifests/"+d.Digest.String(), "application/vnd.oci.image.manifest.v1+json")
	equal(t, "digest of the artifact", d.Digest.String(), hash(body).String())
	var manifest struct {
		ArtifactType string
		Subject      v1.Descriptor
		Layers       []v1.Descriptor
	}
	if err := json.Unmarshal(body, &manifest); err != nil {
		t.Fatal(err)
	}
	equal(t, "type", want.ArtifactType, manifest.ArtifactType)
	equal(t, "subject", b.digest, manifest.Subject.Digest.String())
	if len(manifest.Layers) != 1 {
		t.Fatalf("%d files: %s", len(manifest.Layers), body)
	}
	_, _, blob := get(t, base+"/blobs/"+manifest.Layers[0].Digest.String(), "")
	equal(t, "file", string(want.Files[0].Data), string(blob))
	equal(t, "name of the file", want.Files[0].Name, manifest.Layers[0].Annotations["org.opencontainers.image.title"])
}

func get(t *testing.T, url, accept string) (status int, contentType string, body []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), body
}
