package registry_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
)

// TestMirrors: a mirror is asked first, and what it does not have, or has wrong, comes from the registry itself.
func TestMirrors(t *testing.T) {
	var opens imagetest.Opens
	origin, mirror := serve(t), serve(t)
	img := imagetest.Image(t, &opens, "text")
	digest, _ := img.Digest()
	m, _ := img.Manifest()
	layer := m.Layers[0].Digest.String()
	a := image.Artifact{Image: img}
	imagetest.Write(t, registry.PushWith(origin.host+"/team/app:1.0", anonymous(), "only-here"), a)
	imagetest.Write(t, registry.PushWith(mirror.host+"/proxy/team/app:1.0", anonymous()), a)
	answer := func(suffix string, code int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, suffix) {
				return false
			}
			w.Header().Set("Content-Type", string(m.MediaType))
			w.WriteHeader(code)
			io.WriteString(w, body)
			return true
		}
	}
	for name, c := range map[string]struct {
		ref  string
		hook func(http.ResponseWriter, *http.Request) bool
		here int // GET requests to the origin, its ping left out
	}{
		"it has all":                    {"1.0", nil, 0},
		"it has no such tag":            {"only-here", nil, 3},
		"it is down":                    {"1.0", answer("", http.StatusTeapot, ""), 3},
		"its manifest is another":       {"1.0@" + digest.String(), answer(digest.String(), 200, "{}"), 3},
		"its config is another":         {"1.0", answer(m.Config.Digest.String(), 200, "{}"), 2},
		"it refuses the layer":          {"1.0", answer(layer, http.StatusForbidden, ""), 1},
		"it wants somebody to log in":   {"1.0", withAuth("user", "secret"), 3},
		"it breaks off, and has no end": {"1.0", func(w http.ResponseWriter, r *http.Request) bool { reset(w); return true }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			mirror.intercept(c.hook)
			origin.take()
			o := anonymous()
			o.Retries = 1
			o.Mirrors = map[string][]string{origin.host: {mirror.host + "/proxy"}}
			got, err := registry.NewClient(o).Resolve(t.Context(), origin.host+"/team/app:"+c.ref, amd64)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(got.Ref, origin.host+"/team/app") || got.Digest != digest {
				t.Errorf("%+v", got)
			}
			layers, _ := got.Image.Layers()
			rc, err := layers[0].Compressed()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, rc); err != nil {
				t.Error(err)
			}
			rc.Close()
			if requests := origin.take(); count(requests, "GET /v2/team") != c.here {
				t.Errorf("the registry itself was asked %q", requests)
			}
		})
	}
	mirror.intercept(answer("", http.StatusTeapot, ""))
	o := anonymous()
	o.Mirrors = map[string][]string{origin.host: {mirror.host}}
	_, err := registry.NewClient(o).Resolve(t.Context(), origin.host+"/team/none:1.0", amd64)
	if !errors.Is(err, registry.ErrNotFound) || !strings.Contains(err.Error(), "before that, the mirror "+mirror.host) {
		t.Errorf("nobody has it: %v", err)
	}
	o.Mirrors = map[string][]string{origin.host: {"https://mirror.lan"}}
	if _, err := registry.NewClient(o).Resolve(t.Context(), origin.host+"/team/app:1.0", amd64); err == nil || !strings.Contains(err.Error(), "write a host like mirror.lan:5000") {
		t.Errorf("a mirror that is none: %v", err)
	}
}

// TestMirrorOfDockerHub: by the name that everybody writes, with the mirror's own credentials.
func TestMirrorOfDockerHub(t *testing.T) {
	mirror := serve(t)
	var opens imagetest.Opens
	imagetest.Write(t, registry.PushWith(mirror.host+"/library/alpine:3.22", anonymous()), image.Artifact{Image: imagetest.Image(t, &opens, "text")})
	k := &keychain{user: "user", password: "secret"}
	mirror.intercept(withAuth("user", "secret"))
	for _, hub := range []string{"docker.io", "index.docker.io"} {
		o := registry.Options{Keychain: k, Mirrors: map[string][]string{hub: {mirror.host}}, Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host != mirror.host {
				return nil, fmt.Errorf("%s was asked", r.URL.Host)
			}
			return http.DefaultTransport.RoundTrip(r)
		})}
		got, err := registry.NewClient(o).Resolve(t.Context(), "alpine:3.22", amd64)
		if err != nil || !strings.HasPrefix(got.Ref, "docker.io/library/alpine:3.22@") {
			t.Errorf("%s: %+v, %v", hub, got, err)
		}
	}
	for _, asked := range k.asked {
		if asked != mirror.host {
			t.Errorf("the keychain was asked for %s", asked)
		}
	}
}

// TestBrokenDownloads: a layer whose connection breaks is read on, from where it stopped, where the registry has ranges and where not.
func TestBrokenDownloads(t *testing.T) {
	const size = 3 * mib
	for name, ranges := range map[string]bool{"with ranges": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			var opens imagetest.Opens
			img := imagetest.Big(t, &opens, size)
			imagetest.Write(t, registry.PushWith(s.host+"/app", anonymous()), image.Artifact{Image: img})
			got, err := client().Resolve(t.Context(), s.host+"/app", amd64)
			if err != nil {
				t.Fatal(err)
			}
			var asked []string
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodGet {
					return false
				}
				asked = append(asked, r.Header.Get("Range"))
				if !ranges {
					r.Header.Del("Range")
				}
				if len(asked) > 2 {
					return false
				}
				s.inner.ServeHTTP(&cut{w, mib}, r)
				reset(w)
				return true
			})
			layers, _ := got.Image.Layers()
			rc, err := layers[0].Compressed()
			if err != nil {
				t.Fatal(err)
			}
			defer rc.Close()
			if n, err := io.Copy(io.Discard, rc); err != nil || n != size {
				t.Errorf("%d bytes, %v", n, err)
			}
			if len(asked) < 3 || asked[0] != "" || !strings.HasPrefix(asked[1], "bytes=") {
				t.Errorf("asked for %q", asked)
			}
		})
	}
}

// cut lets the first bytes of an answer through.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(p []byte) (int, error) {
	if n := min(len(p), c.left); n < len(p) {
		c.left -= n
		c.ResponseWriter.Write(p[:n])
		c.ResponseWriter.(http.Flusher).Flush()
		return n, io.ErrShortWrite
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}
