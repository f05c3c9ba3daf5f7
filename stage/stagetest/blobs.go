package stagetest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
)

// blobs are the blobs of each repository, by digest.
type blobs struct {
	mu    sync.RWMutex
	repos map[string]map[string][]byte
}

type repoKey struct{}

// withRepo tells the storage which repository a request is for: what go-containerregistry says of it is not the same for all
// requests.
func withRepo(ctx context.Context, repo string) context.Context {
	return context.WithValue(ctx, repoKey{}, repo)
}

func repoOf(ctx context.Context) string {
	repo, _ := ctx.Value(repoKey{}).(string)
	return repo
}

func (b *blobs) find(repo, digest string) ([]byte, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	data, ok := b.repos[repo][digest]
	return data, ok
}

func (b *blobs) keep(repo, digest string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.repos[repo] == nil {
		b.repos[repo] = map[string][]byte{}
	}
	b.repos[repo][digest] = data
}

// Get implements registry.BlobHandler.
func (b *blobs) Get(ctx context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	data, ok := b.find(repoOf(ctx), h.String())
	if !ok {
		return nil, ggcr.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Stat implements registry.BlobStatHandler.
func (b *blobs) Stat(ctx context.Context, _ string, h v1.Hash) (int64, error) {
	data, ok := b.find(repoOf(ctx), h.String())
	if !ok {
		return 0, ggcr.ErrNotFound
	}
	return int64(len(data)), nil
}

// Put implements registry.BlobPutHandler. What it reads is verified on the way.
func (b *blobs) Put(ctx context.Context, _ string, h v1.Hash, rc io.ReadCloser) error {
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil {
		return err
	}
	b.keep(repoOf(ctx), h.String(), data)
	return nil
}

// Delete implements registry.BlobDeleteHandler.
func (b *blobs) Delete(ctx context.Context, _ string, h v1.Hash) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	repo := b.repos[repoOf(ctx)]
	if _, ok := repo[h.String()]; !ok {
		return ggcr.ErrNotFound
	}
	delete(repo, h.String())
	return nil
}

// mount answers a request to mount a blob of another repository. It reports false when there is nothing to mount: then the
// request begins an upload (OCI distribution specification, "Mounting a blob from another repository").
func (b *blobs) mount(w http.ResponseWriter, r *http.Request, t target) bool {
	q := r.URL.Query()
	digest, from := q.Get("mount"), q.Get("from")
	data, ok := b.find(from, digest)
	if digest == "" || !ok {
		return false
	}
	b.keep(t.repo, digest, data)
	w.Header().Set("Location", "/v2/"+t.repo+"/blobs/"+digest)
	w.Header().Set("Docker-Content-Digest", digest)
	w.WriteHeader(http.StatusCreated)
	return true
}

// serve answers a request for a blob, or a range of it. It reports false when there is none.
func (b *blobs) serve(w http.ResponseWriter, r *http.Request, t target) bool {
	data, ok := b.find(t.repo, t.last)
	if !ok {
		return false
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Docker-Content-Digest", t.last)
	w.Header().Set("Etag", `"`+t.last+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	return true
}

// acknowledgeSubject says that a manifest's subject was understood, so that the client keeps no index of referrers itself (OCI
// distribution specification, "Pushing Manifests with Subject"). It answers the request, and reports false, when the manifest is
// too large.
func acknowledgeSubject(w http.ResponseWriter, r *http.Request) bool {
	body, err := io.ReadAll(io.LimitReader(r.Body, image.MaxManifestSize+1))
	if err != nil || len(body) > image.MaxManifestSize {
		refuse(w, http.StatusRequestEntityTooLarge, "SIZE_INVALID", "a manifest of more than 4 MiB, or one that ended early")
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m struct {
		Subject *v1.Descriptor `json:"subject"`
	}
	if json.Unmarshal(body, &m) == nil && m.Subject != nil {
		w.Header().Set("OCI-Subject", m.Subject.Digest.String())
	}
	return true
}

// refuse answers with an error in the form of the specification.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": code, "message": message}}})
}
