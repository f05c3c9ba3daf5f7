package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
)

// waiting returns when n requests wait for a name. It looks at the handler: from outside, a request that waits cannot be told from one that
// has not arrived.
func waiting(t *testing.T, h *Handler, ref name, n int) {
	t.Helper()
	for t.Context().Err() == nil {
		h.mu.Lock()
		f := h.flights[ref]
		have := 0
		if f != nil {
			have = f.waiters
		}
		h.mu.Unlock()
		if have == n {
			return
		}
		runtime.Gosched()
	}
}

// request sends a request whose client can go away, and returns where its answer arrives.
func request(ctx context.Context, h http.Handler, method, path string) <-chan *httptest.ResponseRecorder {
	done := make(chan *httptest.ResponseRecorder, 1)
	go func() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, method, path, nil))
		done <- w
	}()
	return done
}

func do(h http.Handler, method, path string) *httptest.ResponseRecorder {
	return <-request(context.Background(), h, method, path)
}

// TestOneCallForAll: requests for one name at one time are one call, which outlives the client that began it.
func TestOneCallForAll(t *testing.T) {
	var opens imagetest.Opens
	var calls atomic.Int64
	built := make(chan image.Artifact)
	h := New(Options{Source: func(ctx context.Context, repo, reference string) (image.Artifact, error) {
		calls.Add(1)
		select {
		case a := <-built:
			return a, nil
		case <-ctx.Done():
			return image.Artifact{}, context.Cause(ctx)
		}
	}})
	defer h.Close()
	app := name{"app", "1"}
	first, leave := context.WithCancel(t.Context())
	gone := request(first, h, "GET", "/v2/app/manifests/1")
	waiting(t, h, app, 1)
	var others []<-chan *httptest.ResponseRecorder
	for range 5 {
		others = append(others, request(t.Context(), h, "GET", "/v2/app/manifests/1"))
	}
	waiting(t, h, app, 6)
	leave()
	<-gone
	waiting(t, h, app, 5)
	built <- image.Artifact{Image: imagetest.Image(t, &opens, "text")}
	for _, o := range others {
		if w := <-o; w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("Source was called %d times, want once", calls.Load())
	}
}

// TestNobodyWaits: the call ends with the last client, whose end is no failure, and the next client gets a call of its own.
func TestNobodyWaits(t *testing.T) {
	var opens imagetest.Opens
	causes := make(chan error, 1)
	var calls, failed atomic.Int64
	h := New(Options{
		Failed: func(string, string, error) { failed.Add(1) },
		Source: func(ctx context.Context, repo, reference string) (image.Artifact, error) {
			if calls.Add(1) > 1 {
				return image.Artifact{Image: imagetest.Image(t, &opens, "text")}, nil
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return image.Artifact{}, ctx.Err()
		},
	})
	ctx, leave := context.WithCancel(t.Context())
	one, two := request(ctx, h, "GET", "/v2/app/manifests/1"), request(ctx, h, "HEAD", "/v2/app/manifests/1")
	waiting(t, h, name{"app", "1"}, 2)
	leave()
	<-one
	<-two
	if err := <-causes; !errors.Is(err, errAbandoned) {
		t.Errorf("the cause is %v", err)
	}
	if w := do(h, "GET", "/v2/app/manifests/1"); w.Code != http.StatusOK || calls.Load() != 2 {
		t.Errorf("then: %d %s, %d calls", w.Code, w.Body, calls.Load())
	}
	h.Close()
	if failed.Load() != 0 {
		t.Errorf("Failed was told %d times", failed.Load())
	}
}

// TestFailure: the client sees the error of Source, and so does the hook. The GET that asks for the reason of a failed HEAD is no second
// call; a later one is.
func TestFailure(t *testing.T) {
	var calls atomic.Int64
	var told []string
	h := New(Options{
		Failed: func(repo, reference string, err error) { told = append(told, repo+":"+reference+": "+err.Error()) },
		Source: func(_ context.Context, repo, reference string) (image.Artifact, error) {
			calls.Add(1)
			switch reference {
			case "missing":
				return image.Artifact{}, fmt.Errorf("%w: no stage is called %s", ErrNotFound, repo)
			case "panics":
				panic("a bug")
			case "long":
				return image.Artifact{}, errors.New(strings.Repeat("é", 1<<20))
			case "empty":
				return image.Artifact{}, nil
			}
			return image.Artifact{}, errors.New("main.go:12: Run(\"make\"): exit code 2")
		},
	})
	defer h.Close()
	for _, test := range []struct {
		method, tag string
		status      int
		body        string
		calls       int64
	}{
		{"HEAD", "1", 422, "", 1},
		{"GET", "1", 422, `{"errors":[{"code":"UNKNOWN","message":"main.go:12: Run(\"make\"): exit code 2"}]}`, 1},
		{"GET", "1", 422, `exit code 2`, 2},
		{"HEAD", "1", 422, "", 3},
		{"HEAD", "1", 422, "", 4},
		{"GET", "missing", 404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such image: no stage is called app"}]}`, 5},
		{"GET", "panics", 422, `panicked: a bug`, 6},
		{"GET", "long", 422, `é…"`, 7},
		{"GET", "empty", 422, image.ErrArtifact.Error(), 8},
	} {
		w := do(h, test.method, "/v2/app/manifests/"+test.tag)
		if w.Code != test.status || !strings.Contains(w.Body.String(), test.body) || w.Body.Len() > 8<<10 || calls.Load() != test.calls {
			t.Errorf("%s %s: %d %.200s, %d calls; want %d %s, %d calls", test.method, test.tag, w.Code, w.Body, calls.Load(), test.status, test.body, test.calls)
		}
	}
	if len(told) != 8 || told[0] != `app:1: main.go:12: Run("make"): exit code 2` {
		t.Errorf("Failed was told %d times: %.300q", len(told), told)
	}
}

// versions is a Source that gives another image each time, and counts what of it is released.
type versions struct {
	t        *testing.T
	opens    imagetest.Opens
	calls    atomic.Int64
	released chan int64
	same     bool // always the same image
	layer    v1.Layer
}

func (s *versions) source(ctx context.Context, repo, reference string) (image.Artifact, error) {
	n := s.calls.Add(1)
	context.AfterFunc(ctx, func() { s.released <- n })
	text := fmt.Sprint(n)
	if s.same {
		text = "same"
	}
	if s.layer != nil {
		return image.Artifact{Image: imagetest.Make(s.t, image.Spec{Layers: []v1.Layer{s.layer}, File: imagetest.File("linux", "amd64")})}, nil
	}
	return image.Artifact{Image: imagetest.Image(s.t, &s.opens, text)}, nil
}

// TestRelease: artifacts are held while a client may want their blobs, Keep of them at most, each until its last answer has ended.
func TestRelease(t *testing.T) {
	s := &versions{t: t, released: make(chan int64, 10)}
	h := New(Options{Source: s.source, Keep: 2})
	digest := func(n int) string {
		w := do(h, "GET", "/v2/app/manifests/latest")
		if w.Code != http.StatusOK || s.calls.Load() != int64(n) {
			t.Fatalf("%d %s, %d calls", w.Code, w.Body, s.calls.Load())
		}
		return w.Header().Get("Docker-Content-Digest")
	}
	one, two := digest(1), digest(2)
	if w := do(h, "GET", "/v2/app/manifests/"+one); w.Code != http.StatusOK || s.calls.Load() != 2 {
		t.Errorf("the first, by digest: %d, %d calls", w.Code, s.calls.Load())
	}
	digest(3) // the first was asked for after the second
	if n := <-s.released; n != 2 {
		t.Errorf("%d was released, want 2", n)
	}
	// What is not held is asked for by digest; another image than that is none.
	if w := do(h, "GET", "/v2/app/manifests/"+two); w.Code != http.StatusNotFound || s.calls.Load() != 4 {
		t.Errorf("the second, by digest: %d %s, %d calls", w.Code, w.Body, s.calls.Load())
	}
	if n := <-s.released; n != 4 {
		t.Errorf("%d was released, want 4, which was not wanted", n)
	}
	if w := do(h, "GET", "/v2/app/tags/list"); w.Body.String() != `{"name":"app","tags":["latest"]}` {
		t.Errorf("tags are %s", w.Body)
	}
	h.Close()
	if a, b := <-s.released, <-s.released; a+b != 1+3 {
		t.Errorf("Close released %d and %d", a, b)
	}
	if w := do(h, "GET", "/v2/app/manifests/latest"); w.Code != http.StatusServiceUnavailable || s.calls.Load() != 4 {
		t.Errorf("after Close: %d %s", w.Code, w.Body)
	}
}

// TestSameImageAgain: a second build of the same image takes the first one's place, which is released when nobody reads it any more.
func TestSameImageAgain(t *testing.T) {
	reading, goOn := make(chan struct{}, 2), make(chan struct{})
	data := []byte(strings.Repeat("x", 1000))
	s := &versions{t: t, released: make(chan int64, 10), same: true, layer: image.NewLayer(image.LayerInfo{
		Digest: imagetest.Digest(data), DiffID: imagetest.Digest(data), Size: int64(len(data)),
		Open: func() (io.ReadCloser, error) {
			reading <- struct{}{}
			<-goOn
			return io.NopCloser(strings.NewReader(string(data))), nil
		},
	})}
	h := New(Options{Source: s.source})
	defer h.Close()
	do(h, "GET", "/v2/app/manifests/latest")
	blob := request(t.Context(), h, "GET", "/v2/app/blobs/"+imagetest.Digest(data).String())
	<-reading
	do(h, "GET", "/v2/app/manifests/latest")
	if s.calls.Load() != 2 || len(s.released) != 0 {
		t.Errorf("%d calls, %d released while the first is read", s.calls.Load(), len(s.released))
	}
	close(goOn)
	if w := <-blob; w.Code != http.StatusOK || w.Body.Len() != len(data) {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
	if n := <-s.released; n != 1 {
		t.Errorf("%d was released, want 1", n)
	}
}

// TestCloseWaits for the calls that it ends.
func TestCloseWaits(t *testing.T) {
	var returned atomic.Bool
	h := New(Options{Parallel: 1, Source: func(ctx context.Context, _, _ string) (image.Artifact, error) {
		<-ctx.Done()
		returned.Store(true)
		return image.Artifact{}, ctx.Err()
	}})
	one, two := request(t.Context(), h, "GET", "/v2/app/manifests/1"), request(t.Context(), h, "GET", "/v2/app/manifests/2")
	waiting(t, h, name{"app", "1"}, 1)
	waiting(t, h, name{"app", "2"}, 1) // which waits for its turn
	h.Close()
	if !returned.Load() {
		t.Error("Close returned before Source did")
	}
	for _, c := range []<-chan *httptest.ResponseRecorder{one, two} {
		if w := <-c; w.Code != http.StatusServiceUnavailable {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// TestEveryArtifactIsReleased once, whatever clients do: they ask for tags, digests and blobs side by side and go away at any time.
func TestEveryArtifactIsReleased(t *testing.T) {
	var opens imagetest.Opens
	images := make([]v1.Image, 5)
	for n := range images {
		images[n] = imagetest.Image(t, &opens, fmt.Sprint(n))
	}
	var calls, released sync.WaitGroup
	var given, freed atomic.Int64
	h := New(Options{Keep: 3, Parallel: 2, Source: func(ctx context.Context, repo, reference string) (image.Artifact, error) {
		n := given.Add(1)
		released.Add(1)
		context.AfterFunc(ctx, func() { freed.Add(1); released.Done() })
		runtime.Gosched()
		return image.Artifact{Image: images[n%5]}, nil
	}})
	for worker := range 8 {
		calls.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 200 {
				ctx, leave := context.WithCancel(t.Context())
				img := images[random.IntN(5)]
				m, _ := img.Manifest()
				digest, _ := img.Digest()
				path := []string{"manifests/1", "manifests/2", "manifests/" + digest.String(), "blobs/" + m.Layers[0].Digest.String(), "tags/list"}[random.IntN(5)]
				done := request(ctx, h, "GET", "/v2/app/"+path)
				if random.IntN(3) == 0 {
					leave()
				}
				<-done
				leave()
			}
		})
	}
	calls.Wait()
	h.Close()
	released.Wait() // hangs when one is not
	if len(h.held) != 0 || len(h.flights) != 0 || given.Load() != freed.Load() {
		t.Errorf("%d held, %d under way, %d given, %d released", len(h.held), len(h.flights), given.Load(), freed.Load())
	}
}
