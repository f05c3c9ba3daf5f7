package stagewright_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/internal/registrytest"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// asked is a registry that tells what it was asked.
type asked interface{ take() []string }

// proxied is docker-registry (Debian: docker-registry) behind a proxy that keeps a list.
type proxied struct {
	mu       sync.Mutex
	requests []string
}

func (p *proxied) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := p.requests
	p.requests = nil
	return got
}

func newDistribution(t *testing.T) (*proxied, string) {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: registrytest.Start(t, registrytest.Options{})}
	p := &proxied{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.requests = append(p.requests, r.Method+" "+r.URL.RequestURI())
		p.mu.Unlock()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return p, strings.TrimPrefix(server.URL, "http://")
}

// inRegistries runs a test with a registry in this process and with a real one.
func inRegistries(t *testing.T, test func(t *testing.T, l asked, host string)) {
	t.Run("in process", func(t *testing.T) {
		reg := newListed(t)
		test(t, reg, reg.host)
	})
	t.Run("docker-registry", func(t *testing.T) {
		l, host := newDistribution(t)
		test(t, l, host)
	})
}

// machine builds with a cache of its own.
func machine(t *testing.T, far func() *remote.Store) func(s stage.Stage, o stagewright.Options) *stagewright.Result {
	build := builder(t)
	return func(s stage.Stage, o stagewright.Options) *stagewright.Result {
		t.Helper()
		store := far()
		o.CacheFrom, o.CacheTo = []cache.Store{store}, []stagewright.CacheExport{{Store: store, Mode: local.CacheMax}}
		o.Platforms = platform.MustParseSet("linux/" + runtime.GOARCH)
		return build(s, o)
	}
}

func farIn(t *testing.T, ref string) func() *remote.Store {
	return func() *remote.Store {
		t.Helper()
		store, err := remote.Registry(ref, remote.Options{TempDir: t.TempDir(), Notice: func(err error) { t.Errorf("notice: %v", err) }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		return store
	}
}

// service is a build with a stage that only another one needs.
func service(t *testing.T, name string) (stage.Stage, stage.Source) {
	shell := shellStage(t)
	tools := shell.Run("head -c 200000 /dev/urandom > /noise && echo tool > /tool")
	program := stage.From(tools, stage.As("program")).Copy("src", "/src/").Run("cat /tool /src/* > /program")
	return stage.From(shell, stage.As(name)).Run("echo installed > /installed").CopyFrom(program, "/program", "/"), stagewright.FS(fstest.MapFS{
		"src/name": {Data: []byte(name + "\n")}, "src/all": {Data: []byte("all\n")},
	})
}

// TestCacheInRegistry: a machine without a cache has an unchanged image without running a step and without downloading a layer; a sink in the
// same registry has the layers mounted. The second build does not ask, and an export of what is there sends nothing.
func TestCacheInRegistry(t *testing.T) {
	inRegistries(t, func(t *testing.T, l asked, host string) {
		far := farIn(t, host+"/team/cache:main")
		target, source := service(t, "app")
		first := machine(t, far)(target, stagewright.Options{Context: source})
		want, err := first.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if e := first.CacheExports(); len(e) != 1 || e[0].Err != nil || e[0].Blobs == 0 || e[0].Bytes < 200_000 {
			t.Errorf("exported %+v", e)
		}
		layers := layersOf(t, first)

		l.take()
		fresh := machine(t, far)
		second := fresh(target, stagewright.Options{Context: source, Sinks: []image.Sink{registry.Push(host + "/other/app:1")}})
		requests := l.take()
		if got, _ := second.Digest(); got != want || second.Report().Ran() != 0 {
			t.Errorf("digest %s, want %s; %d steps ran", got, want, second.Report().Ran())
		}
		for _, layer := range layers {
			if n := counted(requests, "GET /v2/team/cache/blobs/"+layer.Digest.String()); n > 0 {
				t.Errorf("layer %s was downloaded", layer.Digest)
			}
			mounts := 0
			for _, r := range requests {
				if strings.HasPrefix(r, "POST /v2/other/app/blobs/uploads/?") && strings.Contains(r, "mount="+strings.ReplaceAll(layer.Digest.String(), ":", "%3A")) {
					mounts++
				}
			}
			if mounts != 1 {
				t.Errorf("layer %s was mounted %d times", layer.Digest, mounts)
			}
		}
		if n := counted(requests, "PUT /v2/team/cache/") + counted(requests, "POST /v2/team/cache/"); n > 0 {
			t.Errorf("the export of what is there sent something: %q", requests)
		}
		if e := second.CacheExports(); e[0].How != "there already" || e[0].Blobs != 0 {
			t.Errorf("exported %+v", e)
		}

		third := fresh(target, stagewright.Options{Context: source, Sinks: []image.Sink{layout.Dir(filepath.Join(t.TempDir(), "out"))}})
		if got, _ := third.Digest(); got != want {
			t.Errorf("digest %s, want %s", got, want)
		}

	})
}

// TestCacheOfTwoWriters: two machines export at once, and a third one has what both knew.
func TestCacheOfTwoWriters(t *testing.T) {
	inRegistries(t, func(t *testing.T, l asked, host string) {
		far := farIn(t, host+"/team/cache:main")
		names := []string{"one", "two"}
		var digests [2]string
		var all sync.WaitGroup
		for i, name := range names {
			target, source := service(t, name)
			build := machine(t, far)
			all.Go(func() {
				res := build(target, stagewright.Options{Context: source})
				digests[i], _ = res.Digest()
			})
		}
		all.Wait()
		third := machine(t, far)
		for i, name := range names {
			target, source := service(t, name)
			res := third(target, stagewright.Options{Context: source})
			if got, _ := res.Digest(); got != digests[i] || res.Report().Ran() != 0 {
				t.Errorf("%s: digest %s, want %s; %d steps ran", name, got, digests[i], res.Report().Ran())
			}
		}
	})
}

// TestCacheForPlatforms: records of several platforms are side by side, and a partial cache helps as far as it goes.
func TestCacheForPlatforms(t *testing.T) {
	reg := newListed(t)
	target := stage.Scratch().Arg(arg.New("TARGETARCH")).Copy("${TARGETARCH}", "/arch").File("/f", "f")
	source := fstest.MapFS{}
	for _, arch := range []string{"amd64", "arm64", "riscv64", "s390x"} {
		source[arch] = &fstest.MapFile{Data: []byte(arch)}
	}
	build := func(platforms string) *stagewright.Result {
		store := farIn(t, reg.host+"/cache:main")()
		return builder(t)(target, stagewright.Options{
			Context: stagewright.FS(source), Platforms: platform.MustParseSet(platforms),
			CacheFrom: []cache.Store{store}, CacheTo: []stagewright.CacheExport{{Store: store}},
		})
	}
	want, _ := build("linux/amd64,linux/arm64").Digest()
	build("linux/riscv64")
	for platforms, ran := range map[string]int{"linux/amd64,linux/arm64": 0, "linux/arm64": 0, "linux/riscv64": 0, "linux/s390x": 2} {
		res := build(platforms)
		if n := res.Report().Ran(); n != ran {
			t.Errorf("%s: %d steps ran, want %d", platforms, n, ran)
		}
		if got, _ := res.Digest(); platforms == "linux/amd64,linux/arm64" && got != want {
			t.Errorf("digest %s, want %s", got, want)
		}
	}
}

// TestCacheInTarredDirectory: a CI service keeps a directory as a tar between jobs.
func TestCacheInTarredDirectory(t *testing.T) {
	target, source := service(t, "app")
	dir := t.TempDir()
	kept := filepath.Join(dir, "kept")
	build := func(o stagewright.Options) *stagewright.Result {
		t.Helper()
		o.Context = source
		return builder(t)(target, o)
	}
	disk := func(path string) *cache.Disk {
		t.Helper()
		d, err := cache.OpenDisk(path, cache.DiskOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	store := disk(kept)
	first := build(stagewright.Options{CacheTo: []stagewright.CacheExport{{Store: store, Mode: local.CacheMax}}})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	archive, moved := filepath.Join(dir, "cache.tar"), filepath.Join(dir, "elsewhere")
	if err := os.Mkdir(moved, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"-C", kept, "-cf", archive, "."}, {"-C", moved, "-xf", archive}} {
		if out, err := exec.Command("tar", args...).CombinedOutput(); err != nil {
			t.Fatalf("tar %q: %v\n%s", args, err, out)
		}
	}
	store = disk(moved)
	defer store.Close()
	second := build(stagewright.Options{CacheFrom: []cache.Store{store}, Sinks: []image.Sink{layout.Dir(filepath.Join(dir, "out"), "app:1")}})
	want, _ := first.Digest()
	if got, _ := second.Digest(); got != want || second.Report().Ran() != 0 {
		t.Errorf("digest %s, want %s; %d steps ran", got, want, second.Report().Ran())
	}
	out, err := layout.Read(filepath.Join(dir, "out"), "app:1")
	if err != nil {
		t.Fatal(err)
	}
	readLayers(t, out.Image)
}

// TestCacheFails: whatever a registry does to a cache, the image is right. What does not answer is told once.
func TestCacheFails(t *testing.T) {
	target, source := service(t, "app")
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	var broken atomic.Pointer[func(w http.ResponseWriter, r *http.Request) bool]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f := broken.Load(); f == nil || !(*f)(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	// What is random in the noise is in the cache alone: the image has none of it.
	first := machine(t, farIn(t, host+"/cache:main"))(target, stagewright.Options{Context: source})
	want, _ := first.Digest()

	blob := func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/")
	}
	answer := func(r *http.Request) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		inner.ServeHTTP(rec, r)
		return rec
	}
	isLayer := func(body []byte) bool { return len(body) > 2 && body[0] == 0x1f && body[1] == 0x8b }
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"nothing is there": func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true },
		"internal errors": func(w http.ResponseWriter, r *http.Request) bool {
			http.Error(w, "broken", http.StatusInternalServerError)
			return true
		},
		"blobs are forbidden": func(w http.ResponseWriter, r *http.Request) bool {
			if blob(r) {
				http.Error(w, "no", http.StatusForbidden)
			}
			return blob(r)
		},
		"layers are gone": func(w http.ResponseWriter, r *http.Request) bool {
			if !blob(r) || !isLayer(answer(r).Body.Bytes()) {
				return false
			}
			http.NotFound(w, r)
			return true
		},
		"layers are cut off": func(w http.ResponseWriter, r *http.Request) bool {
			if !blob(r) || !isLayer(answer(r).Body.Bytes()) {
				return false
			}
			body := answer(r).Body.Bytes()
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body[:len(body)/2])
			return true
		},
		"layers have other bytes": func(w http.ResponseWriter, r *http.Request) bool {
			if !blob(r) || !isLayer(answer(r).Body.Bytes()) {
				return false
			}
			body := answer(r).Body.Bytes()
			body[len(body)/2] ^= 1
			w.Write(body)
			return true
		},
		"layers do not come": func(w http.ResponseWriter, r *http.Request) bool {
			if !blob(r) || !isLayer(answer(r).Body.Bytes()) {
				return false
			}
			<-r.Context().Done()
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			broken.Store(&fault)
			defer broken.Store(nil)
			var notices []string
			store, err := remote.Registry(host+"/cache:main", remote.Options{
				TempDir: t.TempDir(), Timeout: 500 * time.Millisecond, Notice: func(err error) { notices = append(notices, err.Error()) },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			dir := filepath.Join(t.TempDir(), "out")
			res := builder(t)(target, stagewright.Options{Context: source, CacheFrom: []cache.Store{store}, Sinks: []image.Sink{layout.Dir(dir, "app:1")}})
			if got, _ := res.Digest(); got != want {
				t.Errorf("digest %s, want %s", got, want)
			}
			out, err := layout.Read(dir, "app:1")
			if err != nil {
				t.Fatal(err)
			}
			readLayers(t, out.Image)
			if len(notices) > 1 {
				t.Errorf("told %q", notices)
			}
		})
	}
}

// TestCacheExportFails: the image is where it should be all the same, and the caller chooses what a failure is.
func TestCacheExportFails(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `{"errors":[{"code":"DENIED","message":"not for you"}]}`, http.StatusForbidden)
	}))
	defer server.Close()
	store, err := remote.Registry(strings.TrimPrefix(server.URL, "http://")+"/cache:main", remote.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	target := stage.Scratch().File("/f", "f")
	out := filepath.Join(t.TempDir(), "out")
	var events []stage.SinkFinished
	options := stagewright.Options{
		CacheDir: t.TempDir(), Sinks: []image.Sink{layout.Dir(out, "app:1")}, CacheTo: []stagewright.CacheExport{{Store: store}},
		Progress: func(e stage.Event) {
			if f, ok := e.(stage.SinkFinished); ok {
				events = append(events, f)
			}
		},
	}
	if _, err := stagewright.Build(t.Context(), target, options); err == nil || !strings.Contains(err.Error(), "cache export 0") || !strings.Contains(err.Error(), "not for you") {
		t.Errorf("error %v", err)
	}
	if _, err := layout.Read(out, "app:1"); err != nil {
		t.Errorf("the image did not get to its sink: %v", err)
	}
	if len(events) != 2 || events[0].Err != nil || events[1].Err == nil || events[1].Index != 1 {
		t.Errorf("events %+v", events)
	}
	options.CacheTo[0].IgnoreError = true
	res, err := stagewright.Build(t.Context(), target, options)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if e := res.CacheExports(); len(e) != 1 || e[0].Err == nil {
		t.Errorf("exports %+v", e)
	}
	if _, err := res.ExportCache(t.Context(), stagewright.CacheExport{Store: cache.NewMemory()}); err != nil {
		t.Error(err)
	}

	for _, o := range []stagewright.Options{
		{Offline: true, CacheTo: []stagewright.CacheExport{{Store: store}}},
		{CacheFrom: []cache.Store{nil}}, {CacheTo: []stagewright.CacheExport{{}}},
		{CacheTo: []stagewright.CacheExport{{Store: cache.NewMemory(), Mode: "most"}}},
	} {
		o.CacheDir = t.TempDir()
		if _, err := stagewright.Build(t.Context(), target, o); err == nil || !strings.Contains(err.Error(), "Options.Cache") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	// Offline, what is in a registry is not asked.
	asked := newListed(t)
	offline := farIn(t, asked.host+"/cache:main")()
	res = builder(t)(target, stagewright.Options{Offline: true, CacheFrom: []cache.Store{offline}})
	if got := asked.take(); len(got) > 0 || res.Report().Ran() != 1 {
		t.Errorf("offline: %q, %d steps ran", got, res.Report().Ran())
	}
}
