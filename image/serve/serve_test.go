package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	gname "github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
)

// start serves a handler and returns its address.
func start(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func fixed(t *testing.T, images map[string]image.Artifact) *Handler {
	t.Helper()
	h, err := Images(images)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func ref(t *testing.T, s string) gname.Reference {
	t.Helper()
	r, err := gname.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestPull reads an index and its images back with go-containerregistry, and counts what is opened.
func TestPull(t *testing.T) {
	var opens imagetest.Opens
	x := imagetest.Index(t, &opens, "text")
	h := fixed(t, map[string]image.Artifact{"team/app:1.0": {Index: x}})
	address := start(t, h)
	back, err := remote.Index(ref(t, address+"/team/app:1.0"))
	if err != nil {
		t.Fatal(err)
	}
	if opens.Load() != 0 {
		t.Errorf("%d layers were opened for an index", opens.Load())
	}
	if err := validate.Index(back); err != nil {
		t.Error(err)
	}
	want, _ := x.Digest()
	if got, _ := back.Digest(); got != want {
		t.Errorf("the digest is %v, want %v", got, want)
	}
	before := opens.Load()
	m, _ := x.IndexManifest()
	for _, d := range m.Manifests {
		img, err := remote.Image(ref(t, address+"/team/app@"+d.Digest.String()))
		if err != nil {
			t.Fatal(err)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		digest, _ := layers[0].Digest()
		resp, err := http.Head("http://" + address + "/v2/team/app/blobs/" + digest.String())
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if size, _ := layers[0].Size(); resp.ContentLength != size || resp.StatusCode != http.StatusOK {
			t.Errorf("HEAD of a layer of %d bytes: %s, %d bytes", size, resp.Status, resp.ContentLength)
		}
	}
	if opens.Load() != before {
		t.Errorf("HEAD opened %d layers", opens.Load()-before)
	}
}

// TestAnswers are requests and what is answered.
func TestAnswers(t *testing.T) {
	var opens imagetest.Opens
	img := imagetest.Image(t, &opens, "text")
	x := imagetest.Index(t, &opens, "text")
	m, _ := img.Manifest()
	digest, _ := img.Digest()
	h := fixed(t, map[string]image.Artifact{"app": {Image: img}, "app:2": {Image: img}, "blobs/manifests/tags:list": {Image: img}, "multi": {Index: x}})
	layer, none := m.Layers[0].Digest.String(), "sha256:"+strings.Repeat("0", 64)
	ociManifest, ociIndex := "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
	for _, test := range []struct {
		method, path, accept string
		status               int
		want                 string // the code of an error, or the content type
	}{
		{"GET", "/v2/", "", 200, "application/json"},
		{"GET", "/v2", "", 200, "application/json"},
		{"HEAD", "/v2/app/manifests/latest", "", 200, ociManifest},
		{"GET", "/v2/app/manifests/latest", "*/*", 200, ociManifest},
		{"GET", "/v2/app/manifests/latest", "application/json, " + ociManifest + ";q=0.5", 200, ociManifest},
		{"GET", "/v2/app/manifests/latest", "application/vnd.docker.distribution.manifest.v2+json", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/multi/manifests/latest", ociManifest, 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/multi/manifests/latest", ociManifest + "," + ociIndex, 200, ociIndex},
		{"GET", "/v2/app/manifests/" + digest.String(), "", 200, ociManifest},
		{"GET", "/v2/blobs/manifests/tags/manifests/list", "", 200, ociManifest},
		{"GET", "/v2/blobs/manifests/tags/tags/list", "", 200, "application/json"},
		{"GET", "/v2/app/manifests/3", "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/app/manifests/-3", "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/app/manifests/" + none, "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/app/manifests/" + layer, "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/app/manifests/sha256:abc", "", 400, "DIGEST_INVALID"},
		{"GET", "/v2/app/manifests/" + strings.ToUpper(layer), "", 400, "DIGEST_INVALID"},
		{"GET", "/v2/app/manifests/sha256:" + strings.Repeat("Z", 64), "", 400, "DIGEST_INVALID"},
		{"GET", "/v2/app/manifests/sha512:" + strings.Repeat("0", 128), "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/other/manifests/latest", "", 404, "MANIFEST_UNKNOWN"},
		{"GET", "/v2/app/blobs/" + layer, "", 200, "application/octet-stream"},
		{"GET", "/v2/app/blobs/" + m.Config.Digest.String(), "", 200, "application/octet-stream"},
		{"HEAD", "/v2/app/blobs/" + m.Config.Digest.String(), "", 200, "application/octet-stream"},
		{"GET", "/v2/app/blobs/" + none, "", 404, "BLOB_UNKNOWN"},
		{"GET", "/v2/app/blobs/latest", "", 400, "DIGEST_INVALID"},
		{"GET", "/v2/multi/blobs/" + layer, "", 404, "BLOB_UNKNOWN"}, // of another repository
		{"GET", "/v2/app/tags/list", "", 200, "application/json"},
		{"GET", "/v2/nothing/tags/list", "", 404, "NAME_UNKNOWN"},
		{"GET", "/v2/app/tags/list?n=x", "", 400, "UNSUPPORTED"},
		{"GET", "/v2/app/referrers/" + digest.String(), "", 200, ociIndex},
		{"GET", "/v2/app/referrers/latest", "", 400, "DIGEST_INVALID"},
		{"GET", "/v2/App/manifests/latest", "", 400, "NAME_INVALID"},
		{"GET", "/v2/../manifests/latest", "", 400, "NAME_INVALID"},
		{"GET", "/v2/a/../../b/manifests/latest", "", 400, "NAME_INVALID"},
		{"GET", "/v2/a%2f..%2fb/manifests/latest", "", 400, "NAME_INVALID"},
		{"GET", "/v2/a%00b/manifests/latest", "", 400, "NAME_INVALID"},
		{"GET", "/v2//manifests/latest", "", 400, "NAME_INVALID"},
		{"GET", "/v2/manifests/latest", "", 400, "NAME_INVALID"},
		{"GET", "/v2/" + strings.Repeat("a", 256) + "/manifests/latest", "", 400, "NAME_INVALID"},
		{"GET", "/v2/_catalog", "", 404, "UNSUPPORTED"},
		{"GET", "/v2/app/", "", 404, "UNSUPPORTED"},
		{"GET", "/", "", 404, "UNSUPPORTED"},
		{"GET", "/v1/", "", 404, "UNSUPPORTED"},
		{"GET", "/app/manifests/latest", "", 404, "UNSUPPORTED"},
		{"GET", "/v2app/manifests/latest", "", 404, "UNSUPPORTED"},
		{"POST", "/v2/app/blobs/uploads/", "", 405, "UNSUPPORTED"},
		{"PUT", "/v2/app/manifests/latest", "", 405, "UNSUPPORTED"},
		{"DELETE", "/v2/app/manifests/" + digest.String(), "", 405, "UNSUPPORTED"},
	} {
		r := httptest.NewRequest(test.method, test.path, nil)
		if test.accept != "" {
			r.Header.Set("Accept", test.accept)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		resp := w.Result()
		body, _ := io.ReadAll(resp.Body)
		got := resp.Header.Get("Content-Type")
		if resp.StatusCode >= 400 {
			var doc struct {
				Errors []struct{ Code, Message string }
			}
			if err := json.Unmarshal(body, &doc); err != nil || len(doc.Errors) != 1 || doc.Errors[0].Message == "" {
				t.Errorf("%s %s: the body is %s, %v", test.method, test.path, body, err)
				continue
			}
			got = doc.Errors[0].Code
		}
		if resp.StatusCode != test.status || got != test.want {
			t.Errorf("%s %s, Accept %q: %d %s, want %d %s", test.method, test.path, test.accept, resp.StatusCode, got, test.status, test.want)
		}
		if test.method == "HEAD" && (len(body) > 0 || resp.ContentLength <= 0 || resp.Header.Get("Docker-Content-Digest") == "") {
			t.Errorf("HEAD %s: %d bytes of body, headers %v", test.path, len(body), resp.Header)
		}
	}
	if _, err := Images(map[string]image.Artifact{"localhost:5000/app:1": {Image: img}}); err == nil {
		t.Error("a name with a registry is taken")
	}
	if _, err := Images(map[string]image.Artifact{"app": {Image: img}, "app:latest": {Image: img}}); err == nil {
		t.Error("two names for one tag are taken")
	}
}

func TestRanges(t *testing.T) {
	var opens imagetest.Opens
	img := imagetest.Big(t, &opens, 200_000)
	layers, _ := img.Layers()
	rc, _ := layers[0].Compressed()
	data, _ := io.ReadAll(rc)
	digest, _ := layers[0].Digest()
	h := fixed(t, map[string]image.Artifact{"app": {Image: img}})
	for _, test := range []struct {
		header   string
		from, to int // of a partial answer; 0, 0 when there is none
		status   int
	}{
		{"bytes=0-0", 0, 1, 206},
		{"bytes=0-", 0, 200_000, 206},
		{"bytes=70000-140000", 70_000, 140_001, 206},
		{"bytes=150000-", 150_000, 200_000, 206},
		{"bytes=199999-", 199_999, 200_000, 206},
		{"bytes=199999-99999999999", 199_999, 200_000, 206},
		{"bytes=-10", 199_990, 200_000, 206},
		{"bytes=-99999999", 0, 200_000, 206},
		{"bytes=200000-", 0, 0, 416},
		{"bytes=9223372036854775807-", 0, 0, 416},
		{"bytes=-0", 0, 0, 416},
		{"bytes=9223372036854775808-", 0, 0, 200},
		{"bytes=5-2", 0, 0, 200},
		{"bytes=0-1,5-6", 0, 0, 200},
		{"bytes=+1-2", 0, 0, 200},
		{"bytes=", 0, 0, 200},
		{"lines=1-2", 0, 0, 200},
	} {
		r := httptest.NewRequest("GET", "/v2/app/blobs/"+digest.String(), nil)
		r.Header.Set("Range", test.header)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		got := w.Body.String()
		want, contentRange := string(data), ""
		switch test.status {
		case 206:
			want, contentRange = string(data[test.from:test.to]), fmt.Sprintf("bytes %d-%d/200000", test.from, test.to-1)
		case 416:
			want, contentRange = got, "bytes */200000"
		}
		if w.Code != test.status || got != want || w.Header().Get("Content-Range") != contentRange {
			t.Errorf("%s: %d, %d bytes, %q; want %d, %d bytes, %q", test.header, w.Code, len(got), w.Header().Get("Content-Range"), test.status, len(want), contentRange)
		}
	}
}

// TestDamagedLayer: what is not what its digest says does not arrive whole, in one piece or as the rest of an interrupted download.
func TestDamagedLayer(t *testing.T) {
	files := map[string]string{"f": strings.Repeat("data ", 1000)}
	for what, l := range map[string]v1.Layer{"lying": imagetest.Lying(t, files), "broken": imagetest.Broken(200_000, nil)} {
		img := imagetest.Make(t, image.Spec{Layers: []v1.Layer{l}, File: imagetest.File("linux", "amd64")})
		var failed atomic.Int64
		h, err := ImagesWith(Options{Failed: func(repo, reference string, err error) {
			var ce *image.ContentError
			if repo == "app" && (errors.As(err, &ce) || errors.Is(err, imagetest.ErrBroken)) {
				failed.Add(1)
			}
		}}, map[string]image.Artifact{"app": {Image: img}})
		if err != nil {
			t.Fatal(err)
		}
		digest, _ := l.Digest()
		url := "http://" + start(t, h) + "/v2/app/blobs/" + digest.String()
		for _, rng := range []string{"", "bytes=50-"} {
			req, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
			req.Header.Set("Range", rng)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				continue // the connection ended before the answer
			}
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil {
				t.Errorf("%s, %q: all %d bytes arrived", what, rng, n)
			}
		}
		h.Close()
		if failed.Load() != 2 {
			t.Errorf("%s: Failed was told %d times, want 2", what, failed.Load())
		}
	}
}

func TestTags(t *testing.T) {
	var opens imagetest.Opens
	a := image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	h := fixed(t, map[string]image.Artifact{"app:b": a, "app:A": a, "app:c": a, "app:B": a, "other:x": a})
	for query, want := range map[string]string{
		"":                `{"name":"app","tags":["A","B","b","c"]}`,
		"?n=2":            `{"name":"app","tags":["A","B"]} </v2/app/tags/list?last=B&n=2>; rel="next"`,
		"?n=2&last=B":     `{"name":"app","tags":["b","c"]}`,
		"?n=0":            `{"name":"app","tags":[]}`,
		"?last=c":         `{"name":"app","tags":[]}`,
		"?n=99&last=%00x": `{"name":"app","tags":["A","B","b","c"]}`,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/v2/app/tags/list"+query, nil))
		if got := strings.TrimSpace(w.Body.String() + " " + w.Header().Get("Link")); got != want {
			t.Errorf("%s: %s\nwant %s", query, got, want)
		}
	}
	listed := New(Options{Tags: func(_ context.Context, repo string) ([]string, error) {
		if repo != "app" {
			return nil, fmt.Errorf("%w: %s", ErrNotFound, repo)
		}
		return []string{"two", "one", "two"}, nil
	}})
	if got, err := remote.List(ref(t, start(t, listed)+"/app").Context()); err != nil || strings.Join(got, " ") != "one two" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReferrers(t *testing.T) {
	var opens imagetest.Opens
	img := imagetest.Image(t, &opens, "text")
	digest, _ := img.Digest()
	note := referring{imagetest.Image(t, &opens, "note"), digest}
	h := fixed(t, map[string]image.Artifact{"app": {Image: img}, "app:note": {Image: note}})
	noteDigest, _ := note.Digest()
	kind := "application/vnd.oci.image.config.v1+json"
	for query, want := range map[string]int{"": 1, "?artifactType=" + kind: 1, "?artifactType=text/plain": 0} {
		if query != "" {
			query = strings.ReplaceAll(query, "+", "%2b")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/v2/app/referrers/"+digest.String()+query, nil))
		m, err := v1.ParseIndexManifest(w.Body)
		if err != nil || len(m.Manifests) != want {
			t.Fatalf("%s: %+v, %v", query, m, err)
		}
		if want == 1 && (m.Manifests[0].Digest != noteDigest || m.Manifests[0].ArtifactType != kind) {
			t.Errorf("%+v", m.Manifests[0])
		}
		if filtered := w.Header().Get("OCI-Filters-Applied") != ""; filtered != (query != "") {
			t.Errorf("%s: filters applied: %v", query, filtered)
		}
	}
	back, err := remote.Referrers(ref(t, start(t, h)+"/app@"+digest.String()).(gname.Digest))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := back.IndexManifest(); err != nil || len(m.Manifests) != 1 {
		t.Errorf("go-containerregistry lists %+v, %v", m, err)
	}
}

// referring is an image with a subject.
type referring struct {
	v1.Image
	subject v1.Hash
}

func (r referring) RawManifest() ([]byte, error) {
	m, err := r.Manifest()
	if err != nil {
		return nil, err
	}
	m.Subject = &v1.Descriptor{MediaType: m.MediaType, Digest: r.subject, Size: 1}
	return json.Marshal(m)
}

func (r referring) Digest() (v1.Hash, error) {
	raw, err := r.RawManifest()
	return imagetest.Digest(raw), err
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/v2/", "/v2/a/b/manifests/latest", "/v2/a/blobs/sha256:" + strings.Repeat("a", 64), "/v2/tags/tags/list", "/v2/../x/manifests/1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, problem := parse(path)
		if problem != nil || got.kind == version {
			return
		}
		words := map[kind]string{manifests: "manifests/", blobs: "blobs/", tags: "tags/list", referrers: "referrers/"}
		if again := "/v2/" + got.repo + "/" + words[got.kind] + got.reference; again != path {
			t.Errorf("%q is read as %+v, which is %q", path, got, again)
		}
		if strings.Contains(got.repo, "..") || strings.ContainsAny(got.repo+got.reference, "\\ \x00%") || strings.Contains(got.reference, "/") {
			t.Errorf("%q is read as %+v", path, got)
		}
	})
}
