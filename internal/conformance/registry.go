package conformance

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Serve returns an in-memory registry that holds the bases.
func (b *Bases) Serve(ctx context.Context) (http.Handler, error) {
	h := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	for _, base := range b.Names() {
		if err := push(ctx, h, b.byName[base]); err != nil {
			return nil, fmt.Errorf("push base %s: %w", base, err)
		}
	}
	return h, nil
}

func push(ctx context.Context, h http.Handler, base *Base) error {
	ref, err := name.ParseReference(Registry + "/" + base.Name + ":latest")
	if err != nil {
		return err
	}
	opts := []remote.Option{remote.WithTransport(inProcess{h}), remote.WithContext(ctx)}
	if len(base.Platforms) == 1 {
		return remote.Write(ref, base.Images[base.Platforms[0]], opts...)
	}
	index := v1.ImageIndex(empty.Index)
	for _, text := range base.Platforms {
		p, err := v1.ParsePlatform(text)
		if err != nil {
			return err
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: base.Images[text], Descriptor: v1.Descriptor{Platform: p}})
	}
	return remote.WriteIndex(ref, index, opts...)
}

// inProcess answers requests for the registry of the bases without a network. Others go to this machine, never further.
type inProcess struct{ handler http.Handler }

// RoundTrip calls the handler.
func (t inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != Registry {
		if ip := net.ParseIP(r.URL.Hostname()); ip.IsLoopback() {
			return http.DefaultTransport.RoundTrip(r)
		}
		return nil, fmt.Errorf("dial %s: only %s and this machine are there", r.URL.Host, Registry)
	}
	if r.Body == nil {
		r = r.Clone(r.Context())
		r.Body = http.NoBody
	}
	w := httptest.NewRecorder()
	t.handler.ServeHTTP(w, r)
	response := w.Result()
	response.Request = r
	return response, nil
}
