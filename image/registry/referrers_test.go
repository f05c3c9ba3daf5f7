package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
)

const spdx = "application/spdx+json"

func sbom(text string) image.Attachment {
	return image.Attachment{
		ArtifactType: spdx, Annotations: map[string]string{"text": text},
		Files: []image.AttachedFile{{Name: "sbom.json", MediaType: spdx, Data: []byte(text)}},
	}
}

// withReferrers has the fake do what the specification says: it tells that it has seen a subject, and lists artifactType and annotations.
func withReferrers(s *server, subject v1.Hash) {
	get := func(r *http.Request, path string, into any) {
		rec := httptest.NewRecorder()
		s.inner.ServeHTTP(rec, httptest.NewRequestWithContext(r.Context(), http.MethodGet, path, nil))
		json.Unmarshal(rec.Body.Bytes(), into)
	}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		repo, _, ok := strings.Cut(r.URL.Path, "/referrers/")
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			w.Header().Set("OCI-Subject", subject.String())
		}
		if !ok {
			return false
		}
		var list v1.IndexManifest
		get(r, r.URL.Path, &list)
		for n, d := range list.Manifests {
			var m v1.Manifest
			get(r, repo+"/manifests/"+d.Digest.String(), &m)
			list.Manifests[n].ArtifactType, list.Manifests[n].Annotations = m.ArtifactType, m.Annotations
		}
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		json.NewEncoder(w).Encode(list)
		return true
	})
}

// TestAttach attaches and lists, where the registry has the API and where it does not, and another client lists the same.
func TestAttach(t *testing.T) {
	for _, api := range []bool{true, false} {
		t.Run(fmt.Sprint(api), func(t *testing.T) {
			s := serveReferrers(t, api)
			var opens imagetest.Opens
			img := imagetest.Image(t, &opens, "text")
			digest, _ := img.Digest()
			if api {
				withReferrers(s, digest)
			}
			c := client()
			imagetest.Write(t, c.Push(s.host+"/team/app:1.0"), image.Artifact{Image: img})
			ref := s.host + "/team/app:1.0"
			if list, err := c.Referrers(t.Context(), ref, ""); err != nil || len(list) != 0 {
				t.Errorf("before: %+v, %v", list, err)
			}
			s.take()
			own, err := c.Attach(t.Context(), ref, sbom("one"))
			if err != nil {
				t.Fatal(err)
			}
			fallback := fmt.Sprintf("PUT /v2/team/app/manifests/sha256-%s", digest.Hex[:6])
			if requests := s.take(); count(requests, fallback) == 0 != api {
				t.Errorf("%q", requests)
			}
			other, err := c.Attach(t.Context(), s.host+"/team/app@"+digest.String(), image.Attachment{ArtifactType: "application/vnd.example.approval"})
			if err != nil {
				t.Fatal(err)
			}
			for kind, want := range map[string][]string{"": {own, other}, spdx: {own}, "application/x": nil} {
				list, err := c.Referrers(t.Context(), ref, kind)
				if err != nil {
					t.Fatal(err)
				}
				var names []string
				for _, d := range list {
					names = append(names, s.host+"/team/app@"+d.Digest.String())
					if d.ArtifactType == spdx && d.Annotations["text"] != "one" {
						t.Errorf("annotations %v", d.Annotations)
					}
				}
				slices.Sort(names)
				slices.Sort(want)
				if !slices.Equal(names, want) {
					t.Errorf("%q: %q, want %q", kind, names, want)
				}
			}
			parsed, _ := name.NewDigest(s.host + "/team/app@" + digest.String())
			idx, err := remote.Referrers(parsed)
			if err != nil {
				t.Fatal(err)
			}
			if m, err := idx.IndexManifest(); err != nil || len(m.Manifests) != 2 {
				t.Errorf("go-containerregistry lists %+v, %v", m, err)
			}
			s.take()
			if again, err := c.Attach(t.Context(), ref, sbom("one")); err != nil || again != own || count(s.take(), "PUT") != 0 {
				t.Errorf("the same again: %s, %v", again, err)
			}
			if _, err := c.Referrers(t.Context(), s.host+"/team/app:none", ""); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("of nothing: %v", err)
			}
			if _, err := c.Attach(t.Context(), s.host+"/team/app:none", sbom("one")); !errors.Is(err, registry.ErrNotFound) {
				t.Errorf("to nothing: %v", err)
			}
			if _, err := c.Attach(t.Context(), ref, image.Attachment{}); err == nil || !strings.Contains(err.Error(), "ArtifactType") {
				t.Errorf("without a type: %v", err)
			}
		})
	}
}

// TestReadAttached: what is attached is read, and copied with its image to another repository, where it is listed again.
func TestReadAttached(t *testing.T) {
	s := serve(t)
	c := client()
	var opens imagetest.Opens
	imagetest.Write(t, c.Push(s.host+"/app:1"), image.Artifact{Image: imagetest.Image(t, &opens, "text")})
	own, err := c.Attach(t.Context(), s.host+"/app:1", sbom("one"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Artifact(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := a.Image.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d files, %v", len(layers), err)
	}
	rc, err := image.OpenLayer(t.Context(), layers[0])
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if text, err := io.ReadAll(rc); err != nil || string(text) != "one" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := c.Resolve(t.Context(), own, amd64); err == nil || !strings.Contains(err.Error(), spdx) {
		t.Errorf("as a base image: %v", err)
	}
	for _, ref := range []string{s.host + "/app:1", own} {
		a, err := c.Artifact(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		digest, _ := a.Digest()
		imagetest.Write(t, c.Push(s.host+"/copy@"+digest.String(), "latest"), a)
	}
	m, _ := a.Image.Manifest()
	list, err := c.Referrers(t.Context(), s.host+"/copy@"+m.Subject.Digest.String(), spdx)
	if err != nil || len(list) != 1 || !strings.HasSuffix(own, list[0].Digest.String()) {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestAttachRepairs: the list got lost after the artifact was put.
func TestAttachRepairs(t *testing.T) {
	s := serve(t)
	var opens imagetest.Opens
	c := client()
	imagetest.Write(t, c.Push(s.host+"/app:1"), image.Artifact{Image: imagetest.Image(t, &opens, "text")})
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/sha256-") {
			return false
		}
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	var re *registry.Error
	if _, err := c.Attach(t.Context(), s.host+"/app:1", sbom("one")); !errors.Is(err, registry.ErrUnauthorized) || !errors.As(err, &re) || re.Op != "attach" ||
		!strings.Contains(err.Error(), "list of referrers under the tag sha256-") {
		t.Errorf("error %v", err)
	}
	s.intercept(nil)
	if _, err := c.Attach(t.Context(), s.host+"/app:1", sbom("one")); err != nil {
		t.Error(err)
	}
	if list, err := c.Referrers(t.Context(), s.host+"/app:1", spdx); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestAttachAtOnce: many attach at the same time, by one client and by several, to a registry without the API; of those of several
// clients, the first two read the list before either writes it.
func TestAttachAtOnce(t *testing.T) {
	for name, clients := range map[string]int{"one client": 1, "two clients": 2} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			var opens imagetest.Opens
			imagetest.Write(t, client().Push(s.host+"/app:1"), image.Artifact{Image: imagetest.Image(t, &opens, "text")})
			var mu sync.Mutex
			readers := 0
			both := make(chan bool)
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if clients < 2 || r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/manifests/sha256-") {
					return false
				}
				s.inner.ServeHTTP(w, r)
				mu.Lock()
				readers++
				n := readers
				mu.Unlock()
				if n == 2 {
					close(both)
				}
				if n <= 2 {
					w.(http.Flusher).Flush()
					<-both
				}
				return true
			})
			const each = 6
			var all sync.WaitGroup
			for i := range clients {
				c := client()
				for n := range each / clients {
					all.Go(func() {
						if _, err := c.Attach(t.Context(), s.host+"/app:1", sbom(fmt.Sprint(i, n))); err != nil {
							t.Error(err)
						}
					})
				}
			}
			all.Wait()
			s.intercept(nil)
			if list, err := client().Referrers(t.Context(), s.host+"/app:1", spdx); err != nil || clients == 1 && len(list) != each || len(list) < 2 {
				t.Errorf("%d of %d are listed, %v", len(list), each, err)
			}
		})
	}
}

// TestReferrersDistrusts has the registry answer something else than a list.
func TestReferrersDistrusts(t *testing.T) {
	s, img := pushed(t)
	digest, _ := img.Digest()
	oci := "application/vnd.oci.image.index.v1+json"
	empty := `{"schemaVersion":2,"manifests":[]}`
	for name, c := range map[string]struct{ suffix, link, body, want string }{
		"no list":              {"/referrers/" + digest.String(), "", "<html>", "list of referrers"},
		"endless":              {"/referrers/" + digest.String(), `</v2/app/referrers/` + digest.String() + `>; rel="next"`, empty, "more than 100 pages"},
		"next page elsewhere":  {"/referrers/" + digest.String(), `<http://127.0.0.9:1/next>; rel="next"`, empty, ""},
		"a tag of another use": {"/manifests/sha256-" + digest.Hex, "", `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}`, "it is no index"},
	} {
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, c.suffix) {
				return false
			}
			w.Header().Set("Content-Type", oci)
			if c.link != "" {
				w.Header().Set("Link", c.link)
			}
			fmt.Fprint(w, c.body)
			return true
		})
		_, err := client().Referrers(t.Context(), s.host+"/app:1.0", "")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}
