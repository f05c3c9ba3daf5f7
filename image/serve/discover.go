package serve

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// tags answers with the tags of a repository, in the order that the specification asks for.
func (h *Handler) tags(w http.ResponseWriter, r *http.Request, t target) *Error {
	list, err := h.listTags(r, t.repo)
	switch {
	case errors.Is(err, ErrNotFound):
		return &Error{http.StatusNotFound, "NAME_UNKNOWN", clientError(err).Message}
	case err != nil:
		return clientError(err)
	}
	slices.SortFunc(list, byName)
	list = slices.Compact(list)
	query := r.URL.Query()
	if last := query.Get("last"); last != "" {
		list = slices.DeleteFunc(list, func(tag string) bool { return byName(tag, last) <= 0 })
	}
	if query.Has("n") {
		n, err := strconv.ParseUint(query.Get("n"), 10, 31)
		if err != nil {
			return &Error{http.StatusBadRequest, "UNSUPPORTED", fmt.Sprintf("n is %q; want a number of tags", query.Get("n"))}
		}
		if uint64(len(list)) > n {
			list = list[:n]
			if n > 0 {
				next := url.Values{"n": {strconv.FormatUint(n, 10)}, "last": {list[n-1]}}
				w.Header().Set("Link", fmt.Sprintf(`</v2/%s/tags/list?%s>; rel="next"`, t.repo, next.Encode()))
			}
		}
	}
	return respondJSON(w, r, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{t.repo, append([]string{}, list...)})
}

// byName is the order of tags: that of the letters, whatever their case.
func byName(a, b string) int {
	return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
}

func (h *Handler) listTags(r *http.Request, repo string) ([]string, error) {
	if h.options.Tags != nil {
		list, err := h.options.Tags(r.Context(), repo)
		return slices.Clone(list), err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []string
	known := false
	for _, e := range h.held {
		if e.repo != repo {
			continue
		}
		known = true
		if e.tag != "" {
			list = append(list, e.tag)
		}
	}
	if !known {
		return nil, fmt.Errorf("%w: nothing of %s has been asked for yet", ErrNotFound, repo)
	}
	return list, nil
}

// referrers answers with an index of what is held and refers to a digest. It has no entry for a digest that nothing refers to, and for one
// that does not exist.
func (h *Handler) referrers(w http.ResponseWriter, r *http.Request, t target) *Error {
	subject := hash(t.reference)
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	filter := r.URL.Query().Get("artifactType")
	seen := map[v1.Hash]bool{}
	h.mu.Lock()
	for _, e := range h.held {
		if e.repo != t.repo {
			continue
		}
		for digest, doc := range e.documents {
			if doc.subject == subject && !seen[digest] && (filter == "" || doc.desc.ArtifactType == filter) {
				seen[digest] = true
				index.Manifests = append(index.Manifests, doc.desc)
			}
		}
	}
	h.mu.Unlock()
	slices.SortFunc(index.Manifests, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.Hex, b.Digest.Hex) })
	if filter != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	return respondJSON(w, r, string(types.OCIImageIndex), index)
}

func respondJSON(w http.ResponseWriter, r *http.Request, contentType string, v any) *Error {
	body, err := json.Marshal(v)
	if err != nil {
		return clientError(err)
	}
	respond(w, r, contentType, body)
	return nil
}
