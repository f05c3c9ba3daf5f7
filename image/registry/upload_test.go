package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/registry"
)

const mib = 1 << 20

// uploads is a registry whose connections break in the middle of a blob.
type uploads struct {
	s      *server
	breaks []int64                                    // of each PATCH of more than a MiB, after how many bytes; -1 is not at all
	answer func(w http.ResponseWriter)                // what happens there; nil is a reset
	status func(w http.ResponseWriter, arrived int64) // the answer to GET; nil is 404

	mu      sync.Mutex
	arrived map[string]int64
	ranges  []string // the Content-Range of each PATCH of a large blob
	bytes   int64    // that arrived of large blobs
}

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) bool {
	if !strings.Contains(r.URL.Path, "/blobs/uploads/") {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if r.Method == http.MethodGet && u.status != nil && u.arrived[r.URL.Path] > 0 {
		w.Header().Set("Location", r.URL.Path+"?state=new")
		u.status(w, u.arrived[r.URL.Path])
		return true
	}
	if r.Method != http.MethodPatch || r.ContentLength <= mib && u.arrived[r.URL.Path] == 0 {
		return false
	}
	u.ranges = append(u.ranges, r.Header.Get("Content-Range"))
	limit := int64(-1)
	if len(u.breaks) > 0 {
		limit, u.breaks = u.breaks[0], u.breaks[1:]
	}
	if limit < 0 {
		u.bytes += r.ContentLength
		return false
	}
	part := make([]byte, limit)
	if _, err := io.ReadFull(r.Body, part); err != nil {
		panic(err)
	}
	u.bytes += limit
	if limit > 0 {
		stored := httptest.NewRequest(http.MethodPatch, r.URL.Path, bytes.NewReader(part))
		if v := r.Header.Get("Content-Range"); v != "" {
			stored.Header.Set("Content-Range", v)
		}
		u.s.inner.ServeHTTP(httptest.NewRecorder(), stored)
		u.arrived[r.URL.Path] += limit
	}
	if u.answer != nil {
		u.answer(w)
	} else {
		reset(w)
	}
	return true
}

func honest(w http.ResponseWriter, arrived int64) {
	w.Header().Set("Range", fmt.Sprintf("0-%d", arrived-1))
	w.WriteHeader(http.StatusNoContent)
}

// TestBrokenUploads: what arrived is not sent again where the registry says how much that is, and otherwise the blob is sent anew; the
// name is put once, at the end, or not at all.
func TestBrokenUploads(t *testing.T) {
	const size = 5 * mib
	status := func(code int, header ...string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			for n := 0; n < len(header); n += 2 {
				w.Header().Set(header[n], header[n+1])
			}
			w.WriteHeader(code)
		}
	}
	quota := func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusInsufficientStorage)
		io.WriteString(w, `{"errors":[{"code":"DENIED","message":"the quota of team is used up"}]}`)
	}
	whole := ""
	rest := func(n int64) string { return fmt.Sprintf("%d-%d", n, size-1) }
	for name, c := range map[string]struct {
		breaks []int64
		answer func(http.ResponseWriter)
		status func(http.ResponseWriter, int64)
		ranges []string
		want   string // in the error, empty for none
	}{
		"goes on": {[]int64{3 * mib, -1}, nil, honest, []string{whole, rest(3 * mib)}, ""},
		"goes on more often than there are retries": {
			[]int64{mib, mib, mib, -1}, nil, honest,
			[]string{whole, rest(mib), rest(2 * mib), rest(3 * mib)}, "",
		},
		"5xx in the middle":            {[]int64{2 * mib, -1}, status(http.StatusServiceUnavailable), honest, []string{whole, rest(2 * mib)}, ""},
		"429 with a wait":              {[]int64{2 * mib, -1}, status(http.StatusTooManyRequests, "Retry-After", "1"), honest, []string{whole, rest(2 * mib)}, ""},
		"429 with a wait of hours":     {[]int64{2 * mib}, status(http.StatusTooManyRequests, "Retry-After", "7200"), honest, []string{whole}, "2h0m0s that it asks for (Retry-After)"},
		"nobody knows":                 {[]int64{3 * mib, -1}, nil, nil, []string{whole, whole}, ""},
		"nothing arrived":              {[]int64{0, -1}, nil, honest, []string{whole, whole}, ""},
		"it says that it has too much": {[]int64{3 * mib, -1}, nil, func(w http.ResponseWriter, n int64) { honest(w, n+mib) }, []string{whole, rest(4 * mib), whole}, ""},
		"it says nonsense":             {[]int64{3 * mib, -1}, nil, func(w http.ResponseWriter, n int64) { honest(w, size+7) }, []string{whole, whole}, ""},
		"always breaks":                {[]int64{0, 0, 0}, nil, honest, []string{whole, whole, whole}, "blob sha256:"},
		"quota":                        {[]int64{mib}, quota, honest, []string{whole}, "the quota of team is used up"},
		"too large":                    {[]int64{mib}, status(http.StatusRequestEntityTooLarge), honest, []string{whole}, "too large for the registry: blob sha256:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t)
			u := &uploads{s: s, breaks: c.breaks, answer: c.answer, status: c.status, arrived: map[string]int64{}}
			s.intercept(u.ServeHTTP)
			var opens imagetest.Opens
			img := imagetest.Big(t, &opens, size)
			o := anonymous()
			o.Retries = 2
			var last image.Transfer
			var mu sync.Mutex
			d, err := image.Deliver(t.Context(), registry.PushWith(s.host+"/app:1.0", o), image.Artifact{Image: img}, func(at image.Transfer) {
				mu.Lock()
				defer mu.Unlock()
				if at.Total == size {
					last = at
				}
			})
			if !slices.Equal(u.ranges, c.ranges) {
				t.Errorf("sent %q, want %q", u.ranges, c.ranges)
			}
			named := count(s.take(), "PUT /v2/app/manifests/")
			if c.want != "" {
				var re *registry.Error
				if err == nil || !strings.Contains(err.Error(), c.want) || !errors.As(err, &re) || named != 0 || len(d.Refs) != 0 {
					t.Errorf("error %v, want %q; %d names were put; %+v", err, c.want, named, d)
				}
				return
			}
			if err != nil || named != 1 || last.Done != size || d.Blobs != 3 {
				t.Fatalf("%v; %d names were put; the last progress is %+v; %+v", err, named, last, d)
			}
			got, err := client().Resolve(t.Context(), s.host+"/app:1.0", amd64)
			if err != nil {
				t.Fatal(err)
			}
			layers, _ := got.Image.Layers()
			rc, err := layers[0].Compressed()
			if err != nil {
				t.Fatal(err)
			}
			defer rc.Close()
			if n, err := io.Copy(io.Discard, rc); err != nil || n != size {
				t.Errorf("%d bytes, %v", n, err)
			}
		})
	}
}

// TestEveryNthRequestFails: whatever the period, an image of small blobs and one of a large one get through, one request after the other and
// several at once.
func TestEveryNthRequestFails(t *testing.T) {
	for n := 2; n <= 7; n++ {
		for _, jobs := range []int{1, 4} {
			for _, size := range []int{1000, 3 * mib} {
				t.Run(fmt.Sprintf("%d, %d jobs, %d bytes", n, jobs, size), func(t *testing.T) {
					t.Parallel()
					s := serve(t)
					var requests atomic.Int64
					s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
						if requests.Add(1)%int64(n) != 0 {
							return false
						}
						w.WriteHeader(http.StatusServiceUnavailable)
						return true
					})
					var opens imagetest.Opens
					o := anonymous()
					o.Jobs = jobs
					if jobs > 1 {
						o.Retries, o.Backoff = 1000, time.Microsecond // it is luck who is the n-th: fewer fail in all than get through
					}
					img := imagetest.Make(t, image.Spec{Base: imagetest.Big(t, &opens, size), File: imagetest.File("linux", "amd64"), Layers: []v1.Layer{
						imagetest.Layer(t, &opens, map[string]string{"a": "1"}), imagetest.Layer(t, &opens, map[string]string{"b": "2"}),
					}})
					imagetest.Write(t, registry.PushWith(s.host+"/app:1", o, "2"), image.Artifact{Image: img})
					s.intercept(nil)
					if _, err := client().Resolve(t.Context(), s.host+"/app:2", amd64); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// TestLostAnswers: the registry does what it is asked and the answer is lost, of each kind of request once.
func TestLostAnswers(t *testing.T) {
	s := serve(t)
	var opens imagetest.Opens
	img := imagetest.Image(t, &opens, "text")
	var mu sync.Mutex
	lost := map[string]bool{}
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		kind := r.Method + fmt.Sprint(strings.Contains(r.URL.Path, "/manifests/"))
		if lost[kind] {
			return false
		}
		lost[kind] = true
		s.inner.ServeHTTP(httptest.NewRecorder(), r)
		reset(w)
		return true
	})
	imagetest.Write(t, registry.PushWith(s.host+"/app:1.0", anonymous()), image.Artifact{Image: img})
	if len(lost) != 6 {
		t.Errorf("lost %v", lost)
	}
	if _, err := client().Resolve(t.Context(), s.host+"/app:1.0", amd64); err != nil {
		t.Error(err)
	}
}

// TestCancelledUpload ends the context while a blob is on its way.
func TestCancelledUpload(t *testing.T) {
	s := serve(t)
	var opens imagetest.Opens
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the user")
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch || r.ContentLength < mib {
			return false
		}
		io.CopyN(io.Discard, r.Body, mib)
		cancel(stopped)
		io.Copy(io.Discard, r.Body)
		return true
	})
	var mu sync.Mutex
	over := false
	_, err := image.Deliver(ctx, registry.PushWith(s.host+"/app:1.0", anonymous()), image.Artifact{Image: imagetest.Big(t, &opens, 5*mib)}, func(image.Transfer) {
		mu.Lock()
		defer mu.Unlock()
		if over {
			t.Error("progress of what is over")
		}
	})
	mu.Lock()
	over = true
	mu.Unlock()
	var re *registry.Error
	if !errors.Is(err, stopped) || !errors.As(err, &re) || count(s.take(), "PUT /v2/app/manifests/") != 0 {
		t.Errorf("error %v", err)
	}
}

// TestLyingStores: the registry says that it has stored something else.
func TestLyingStores(t *testing.T) {
	for _, path := range []string{"/blobs/", "/manifests/"} {
		s := serve(t)
		var opens imagetest.Opens
		s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, path) {
				return false
			}
			w.Header().Set("Docker-Content-Digest", imagetest.Digest([]byte("other")).String())
			w.WriteHeader(http.StatusCreated)
			return true
		})
		err := registry.PushWith(s.host+"/app:1.0", anonymous()).Write(t.Context(), image.Artifact{Image: imagetest.Image(t, &opens, "text")})
		if err == nil || !strings.Contains(err.Error(), "says that it has stored") {
			t.Errorf("%s: error %v", path, err)
		}
	}
}
