package stagewright_test

import (
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// listed is a registry that keeps a list of what it is asked. Each repository has its own blobs, until they are mounted.
type listed struct {
	host string

	mu       sync.Mutex
	requests []string
	in       map[string]bool // "repository digest"
}

var blobPath = regexp.MustCompile(`^/v2/(.+)/blobs/(sha256:[0-9a-f]+)$`)

func newListed(t *testing.T) *listed {
	l := &listed{in: map[string]bool{}}
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.requests = append(l.requests, r.Method+" "+r.URL.RequestURI())
		q, m := r.URL.Query(), blobPath.FindStringSubmatch(r.URL.Path)
		repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/uploads/")
		mounted := q.Get("mount") != "" && l.in[q.Get("from")+" "+q.Get("mount")]
		if mounted {
			l.in[repository+" "+q.Get("mount")] = true
		}
		if r.Method == http.MethodPut && q.Get("digest") != "" {
			l.in[repository+" "+q.Get("digest")] = true
		}
		absent := m != nil && !l.in[m[1]+" "+m[2]]
		l.mu.Unlock()
		switch {
		case mounted:
			w.WriteHeader(http.StatusCreated)
		case absent:
			w.WriteHeader(http.StatusNotFound)
		default:
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	l.host = strings.TrimPrefix(server.URL, "http://")
	return l
}

func (l *listed) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := l.requests
	l.requests = nil
	return got
}

func counted(requests []string, prefix string) (n int) {
	for _, r := range requests {
		if strings.HasPrefix(r, prefix) {
			n++
		}
	}
	return n
}

// TestPushOnABaseOfTheRegistry: a file on a large base. Its layer is read once in the cache's life, and with Link never; the registry mounts
// it; base and sinks shake hands once.
func TestPushOnABaseOfTheRegistry(t *testing.T) {
	reg := newListed(t)
	big := make([]byte, 12<<20)
	rand.NewChaCha8([32]byte{}).Read(big)
	base := reg.host + "/library/base:1"
	below := stage.Scratch().Copy("big", "/")
	build := func(store cache.Store, s stage.Stage, sinks ...image.Sink) ([]image.Delivery, []string) {
		t.Helper()
		reg.take()
		res, err := stagewright.Build(t.Context(), s, stagewright.Options{
			Store: store, Sinks: sinks, Platforms: platform.MustParseSet("linux/amd64"),
			Context: stagewright.FS(fstest.MapFS{"big": {Data: big, Mode: 0o644}, "f": {Data: []byte("linked"), Mode: 0o644}}),
		})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		return res.Deliveries(), reg.take()
	}
	build(cache.NewMemory(), below, registry.Push(base))

	warm := cache.NewMemory()
	for n, c := range []struct {
		store cache.Store
		stage stage.Stage
		reads int // blobs of the base, its config included
		pings int // none by who knows how the registry is spoken to
	}{
		{warm, stage.From(base).File("/f", "one"), 2, 1},
		{warm, stage.From(base).File("/f", "two"), 0, 0},
		{cache.NewMemory(), stage.From(base).Copy("f", "/f", stage.Link()), 1, 1},
	} {
		repo := "team/app" + string(rune('0'+n))
		deliveries, requests := build(c.store, c.stage, registry.Push(reg.host+"/"+repo+":1", "latest"), registry.Push(reg.host+"/"+repo+":2"))
		reads, pings := counted(requests, "GET /v2/library/base/blobs/"), 0
		for _, r := range requests {
			if r == "GET /v2/" {
				pings++
			}
		}
		if reads != c.reads || pings != c.pings || counted(requests, "GET /v2/"+repo) != 0 {
			t.Errorf("%d: %d blobs of the base were read, want %d; %d pings:\n%s", n, reads, c.reads, pings, strings.Join(requests, "\n"))
		}
		if mounts := counted(requests, "POST /v2/"+repo+"/blobs/uploads/?from=library"); mounts != 1 || counted(requests, "PUT /v2/"+repo+"/blobs/") != 2 {
			t.Errorf("%d: mounted %d blobs:\n%s", n, mounts, strings.Join(requests, "\n"))
		}
		if d := deliveries[0]; len(d.Refs) != 2 || d.Bytes > 4096 {
			t.Errorf("%d: %+v", n, d)
		}
		if n == 1 {
			again, requests := build(c.store, c.stage, registry.Push(reg.host+"/"+repo+":1", "latest"), registry.Push(reg.host+"/"+repo+":2"))
			slices.Sort(requests)
			want := []string{
				"HEAD /v2/library/base/manifests/1",
				"HEAD /v2/" + repo + "/manifests/1", "HEAD /v2/" + repo + "/manifests/2", "HEAD /v2/" + repo + "/manifests/latest",
			}
			if !slices.Equal(requests, want) || again[0].How != "there already" {
				t.Errorf("unchanged: %+v with\n%s", again, strings.Join(requests, "\n"))
			}
		}
	}
}

// TestTagsAreAskedForOnce: every platform of a build has the same index, and nobody asks twice what a tag is.
func TestTagsAreAskedForOnce(t *testing.T) {
	reg := newListed(t)
	base := reg.host + "/base:1"
	two := platform.MustParseSet("linux/amd64,linux/arm64")
	build := func(s stage.Stage, sinks ...image.Sink) {
		t.Helper()
		res, err := stagewright.Build(t.Context(), s, stagewright.Options{Store: cache.NewMemory(), Sinks: sinks, Platforms: two})
		if err != nil {
			t.Fatal(err)
		}
		res.Close()
	}
	build(stage.Scratch().File("/f", "x"), registry.Push(base))
	reg.take()
	build(stage.From(base).Label("a", "b").CopyFrom(stage.Image(base), "/f", "/g"))
	if requests := reg.take(); counted(requests, "GET /v2/base/manifests/1") != 1 || counted(requests, "GET /v2/base/manifests/") != 3 {
		t.Errorf("requests:\n%s", strings.Join(requests, "\n"))
	}
}
