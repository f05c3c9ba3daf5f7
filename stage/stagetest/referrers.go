package stagetest

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// serveReferrers answers a request for the manifests that refer to another one. Those that inner lists have the media type of their
// config for an artifact type; a registry says artifactType where a manifest has it (OCI distribution specification, "Listing
// Referrers").
func serveReferrers(w http.ResponseWriter, r *http.Request, t target, inner http.Handler) {
	answer := httptest.NewRecorder()
	inner.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	var index v1.IndexManifest
	if answer.Code == http.StatusOK && json.Unmarshal(body, &index) == nil {
		for i, d := range index.Manifests {
			get := r.Clone(r.Context())
			get.URL.Path = "/v2/" + t.repo + "/manifests/" + d.Digest.String()
			manifest := httptest.NewRecorder()
			inner.ServeHTTP(manifest, get)
			var m struct {
				ArtifactType string `json:"artifactType"`
			}
			if json.Unmarshal(manifest.Body.Bytes(), &m) == nil && m.ArtifactType != "" {
				index.Manifests[i].ArtifactType = m.ArtifactType
			}
		}
		if listed, err := json.Marshal(index); err == nil {
			body = listed
			answer.Header().Del("Content-Length")
		}
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body) // the client may be gone
}
