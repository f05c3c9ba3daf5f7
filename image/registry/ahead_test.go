package registry_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/platform"
)

// source is bytes that count how often they are closed.
type source struct {
	*bytes.Reader
	closed atomic.Int32
}

func (s *source) Close() error { s.closed.Add(1); return nil }

// layerOf is the compressed bytes of the only layer of an image.
func layerOf(t *testing.T, img v1.Image) (v1.Hash, []byte) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	rc, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	data, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return digest, data
}

// refuse answers the first requests that match with a status, 0 for a connection that breaks.
func refuse(status, times int, matches func(*http.Request) bool) func(http.ResponseWriter, *http.Request) bool {
	var refused atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !matches(r) || int(refused.Add(1)) > times {
			return false
		}
		io.Copy(io.Discard, r.Body)
		if status == 0 {
			reset(w)
		} else {
			w.WriteHeader(status)
		}
		return true
	}
}

// TestAhead: a layer that is sent while it is made arrives once, whatever becomes of that, and is forgotten when nobody wants it.
func TestAhead(t *testing.T) {
	var opens imagetest.Opens
	img := imagetest.Big(t, &opens, 3*mib)
	digest, data := layerOf(t, img)
	isAhead := func(r *http.Request) bool { return r.Method == http.MethodPatch && r.ContentLength < 0 }
	isCommit := func(r *http.Request) bool {
		return r.Method == http.MethodPut && r.URL.Query().Get("digest") == digest.String()
	}
	other := image.Artifact{Image: imagetest.Image(t, &imagetest.Opens{}, "other")}
	same := image.Artifact{Image: imagetest.Make(t, image.Spec{Base: img, File: imagetest.File("linux", "arm64")})}
	for _, test := range []struct {
		name   string
		edited bool
		before image.Artifact // is there under the name
		hook   func(http.ResponseWriter, *http.Request) bool
		fail   bool // the layer is not made
		nobody bool // no image has it

		patches, opens, deletes int
		atMost                  bool // the requests are so many when they have begun before the end
	}{
		{name: "a new name", patches: 1},
		{name: "an edited layer", edited: true, before: other, patches: 1},
		{name: "a name that is there", before: other, patches: 1, opens: 1},
		{name: "a connection that breaks", hook: refuse(0, 1, isAhead), patches: 2, opens: 1, deletes: 1},
		{name: "a length is wanted", hook: refuse(http.StatusLengthRequired, 9, isAhead), patches: 2, opens: 1, deletes: 1},
		{name: "an upload that was given up", hook: refuse(http.StatusNotFound, 1, isCommit), patches: 2, opens: 1},
		{name: "other bytes have arrived", hook: refuse(http.StatusBadRequest, 1, isCommit), patches: 2, opens: 1},
		{name: "a layer that is there", edited: true, before: same, patches: 1, deletes: 1, atMost: true},
		{name: "a build that fails", fail: true, nobody: true, patches: 1, deletes: 1, atMost: true},
		{name: "a layer of no image", nobody: true, patches: 1, deletes: 1, atMost: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t)
			if test.before.Image != nil {
				imagetest.Write(t, client().Push(s.host+"/app:1.0"), test.before)
			}
			s.take()
			opened := opens.Load()
			s.intercept(test.hook)
			from := &source{Reader: bytes.NewReader(data)}
			g := image.NewGrowing(from, test.edited)
			sink := client().Push(s.host + "/app:1.0")
			end := sink.(image.Ahead).Ahead(t.Context(), g)
			for rest := int64(len(data)); rest > 0; rest -= min(rest, mib) {
				g.Grow(min(rest, mib))
			}
			if test.fail {
				g.Fail(errors.New("it failed"))
			} else {
				g.Finish(digest)
			}
			if !test.nobody {
				if d, err := image.Deliver(t.Context(), sink, image.Artifact{Image: img}, nil); err != nil || d.How != "pushed" {
					t.Errorf("delivery %+v, error %v", d, err)
				}
			}
			end()
			requests := s.take()
			if got := count(requests, "PATCH "); got > test.patches || got < test.patches && !test.atMost {
				t.Errorf("%d requests with bytes, want %d: %q", got, test.patches, requests)
			}
			if got := count(requests, "DELETE "); got > test.deletes || got < test.deletes && !test.atMost {
				t.Errorf("%d uploads given up, want %d: %q", got, test.deletes, requests)
			}
			if got := int(opens.Load() - opened); got != test.opens {
				t.Errorf("the layer was opened %d times, want %d", got, test.opens)
			}
			if from.closed.Load() != 0 {
				t.Error("what is read was closed, which is the caller's affair")
			}
			if test.nobody {
				return
			}
			got, err := client().Resolve(t.Context(), s.host+"/app:1.0", platform.MustParse("linux/amd64"))
			if err != nil {
				t.Fatal(err)
			}
			if h, arrived := layerOf(t, got.Image); h != digest || !bytes.Equal(arrived, data) {
				t.Errorf("%d other bytes have arrived", len(arrived))
			}
		})
	}
}

// TestAheadOfTwoNames: two sinks of one client send a layer to one repository once.
func TestAheadOfTwoNames(t *testing.T) {
	s := serve(t)
	var opens imagetest.Opens
	img := imagetest.Big(t, &opens, 3*mib)
	digest, data := layerOf(t, img)
	opens.Store(0)
	g := image.NewGrowing(&source{Reader: bytes.NewReader(data)}, false)
	c := client()
	var sinks []image.Sink
	for _, tag := range []string{"1.0", "latest"} {
		sink := c.Push(s.host + "/app:" + tag)
		end := sink.(image.Ahead).Ahead(t.Context(), g)
		defer end()
		sinks = append(sinks, sink)
	}
	g.Grow(int64(len(data)))
	g.Finish(digest)
	var all sync.WaitGroup
	for _, sink := range sinks {
		all.Go(func() {
			if err := sink.Write(t.Context(), image.Artifact{Image: img}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if requests := s.take(); count(requests, "PATCH ") != 1 || opens.Load() != 0 {
		t.Errorf("opened %d times: %q", opens.Load(), requests)
	}
}
