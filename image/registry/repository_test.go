package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
)

func repository(t *testing.T, ref string) *registry.Repository {
	t.Helper()
	r, err := client().Repository(ref)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func blobOf(t *testing.T, data string) image.Blob {
	t.Helper()
	h, n, err := v1.SHA256(strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return image.Blob{Digest: h, Size: n, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(data))), nil
	}}
}

// bundle sends two blobs, and a manifest of them under a tag.
func bundle(t *testing.T, r *registry.Repository, tag string) v1.Descriptor {
	t.Helper()
	config, text := blobOf(t, "{}"), blobOf(t, "text of "+tag)
	if _, err := r.Send(t.Context(), []image.Blob{config, text, text}); err != nil {
		t.Fatal(err)
	}
	raw := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[{"mediaType":"text/plain","digest":%q,"size":%d}]}`,
		types.OCIManifestSchema1, config.Digest, text.Digest, text.Size)
	m := blobOf(t, raw)
	d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: m.Digest, Size: m.Size}
	if err := r.Put(t.Context(), tag, d, []byte(raw)); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestRepository sends, reads and deletes, and counts the requests.
func TestRepository(t *testing.T) {
	s := serve(t)
	r := repository(t, s.host+"/team/notes:x")
	if r.String() != s.host+"/team/notes:x" || r.Tag() != "x" {
		t.Errorf("%s, %s", r, r.Tag())
	}
	all := func(string) bool { return true }
	if tags, err := r.Tags(t.Context(), all); err != nil || tags != nil {
		t.Errorf("a repository that is not there: %q, %v", tags, err)
	}
	d := bundle(t, r, "a")
	if n := count(s.take(), "POST"); n != 2 {
		t.Errorf("%d blobs were sent", n)
	}
	for _, ref := range []string{"a", d.Digest.String()} {
		if raw, got, err := r.Manifest(t.Context(), ref); err != nil || got.Digest != d.Digest || int64(len(raw)) != d.Size {
			t.Errorf("%s: %+v, %v", ref, got, err)
		}
	}
	text := blobOf(t, "text of a")
	rc, err := r.Blob(t.Context(), v1.Descriptor{Digest: text.Digest, Size: text.Size})
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(rc); err != nil || string(data) != "text of a" {
		t.Errorf("%q, %v", data, err)
	}
	rc.Close()
	missing := blobOf(t, "nowhere")
	if ok, err := r.Has(t.Context(), missing.Digest); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if ok, err := r.Has(t.Context(), text.Digest); !ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	if _, err := r.Blob(t.Context(), v1.Descriptor{Digest: missing.Digest, Size: 7}); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a blob that is not there: %v", err)
	}
	if _, _, err := r.Manifest(t.Context(), "b"); !errors.Is(err, registry.ErrNotFound) {
		t.Errorf("a manifest that is not there: %v", err)
	}
	for range 2 { // gone already is no error
		if ok, err := r.Delete(t.Context(), "a", d.Digest); !ok || err != nil {
			t.Errorf("delete: %v, %v", ok, err)
		}
	}
	if tags, err := r.Tags(t.Context(), all); err != nil || tags != nil {
		t.Errorf("%q, %v", tags, err)
	}
	var bad *registry.Error
	if _, err := client().Repository("UPPER CASE"); !errors.As(err, &bad) || !errors.Is(err, registry.ErrBadReference) {
		t.Errorf("%v", err)
	}
}

// TestRepositoryDelete: registries let one delete by digest, by tag, by both, or nothing.
func TestRepositoryDelete(t *testing.T) {
	for name, test := range map[string]struct {
		digest, tag int
		want        bool
	}{
		"by digest": {202, 405, true}, "by tag": {405, 202, true}, "by both": {202, 202, true}, "nothing": {405, 405, false},
		"not this user": {401, 403, false}, "unsupported": {400, 400, false}, "tags went with the digest": {202, 404, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			r := repository(t, s.host+"/notes")
			d := bundle(t, r, "a")
			s.intercept(func(w http.ResponseWriter, q *http.Request) bool {
				if q.Method != http.MethodDelete {
					return false
				}
				w.WriteHeader(map[bool]int{true: test.digest, false: test.tag}[strings.Contains(q.URL.Path, "sha256:")])
				return true
			})
			if ok, err := r.Delete(t.Context(), "a", d.Digest); ok != test.want || err != nil {
				t.Errorf("%v, %v", ok, err)
			}
		})
	}
}

// TestTagPages: pages are followed by Link, at the same host, and without it where a page is full. A registry that runs in a circle is left.
func TestTagPages(t *testing.T) {
	full := make([]string, 1000)
	for n := range full {
		full[n] = fmt.Sprintf(`"t%d"`, n)
	}
	page := func(tags ...string) string { return `{"tags":[` + strings.Join(tags, ",") + `]}` }
	for name, test := range map[string]struct {
		answer func(q *http.Request) (body, link string)
		want   int
		err    string
	}{
		"links": {func(q *http.Request) (string, string) {
			if last := q.URL.Query().Get("last"); last != "" {
				return page(`"b"`), ""
			}
			return page(`"a"`), `</v2/notes/tags/list?n=1&last=a>; rel="next"`
		}, 2, ""},
		"a link to another host": {func(*http.Request) (string, string) {
			return page(`"a"`), `<http://169.254.169.254/v2/notes/tags/list?last=a>; rel="next"`
		}, 1, ""},
		"cut off": {func(q *http.Request) (string, string) {
			if last := q.URL.Query().Get("last"); last == "t999" {
				return page(`"b"`), ""
			}
			return page(full...), ""
		}, 1001, ""},
		"the same again": {func(*http.Request) (string, string) { return page(full...), "" }, 1000, ""},
		"no end": {func(q *http.Request) (string, string) {
			last := q.URL.Query().Get("last")
			return page(fmt.Sprintf("%q", last+"x")), `</v2/notes/tags/list?last=` + last + `x>; rel="next"`
		}, 0, "pages"},
		"null":    {func(*http.Request) (string, string) { return `{"tags":null}`, "" }, 0, ""},
		"no JSON": {func(*http.Request) (string, string) { return `<html>`, "" }, 0, "the list of its tags"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.intercept(func(w http.ResponseWriter, q *http.Request) bool {
				if !strings.HasSuffix(q.URL.Path, "/tags/list") {
					return false
				}
				body, link := test.answer(q)
				if link != "" {
					w.Header().Set("Link", link)
				}
				io.WriteString(w, body)
				return true
			})
			tags, err := repository(t, s.host+"/notes").Tags(t.Context(), func(string) bool { return true })
			if test.err != "" {
				var own *registry.Error
				if !errors.As(err, &own) || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v", err)
				}
				return
			}
			slices.Sort(tags)
			if err != nil || len(tags) != test.want || len(slices.Compact(tags)) != test.want {
				t.Errorf("%d tags, %v", len(tags), err)
			}
		})
	}
}

// TestSendMounts: what another repository of the registry has is mounted, and another registry is not asked.
func TestSendMounts(t *testing.T) {
	s := serve(t)
	text := blobOf(t, "text")
	mounted := ""
	s.intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if from := q.URL.Query().Get("from"); from != "" {
			mounted += from + " "
			w.WriteHeader(http.StatusCreated)
			return true
		}
		return false
	})
	text.Open = func(context.Context) (io.ReadCloser, error) { return nil, errors.New("it was opened") }
	d, err := repository(t, s.host+"/notes").Send(t.Context(), []image.Blob{text}, s.host+"/app:1", "elsewhere.example.com/app", s.host+"/notes")
	if err != nil || d.Skipped != 1 || mounted != "app " {
		t.Errorf("%+v, %v, from %q", d, err, mounted)
	}
}
