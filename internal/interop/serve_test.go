package interop

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/serve"
)

var serveOnce = struct {
	sync.Once
	host string
}{}

// served starts our own handler on loopback, with all variants, and returns the name of one.
func served(t *testing.T, b *variant) string {
	t.Helper()
	all := fixtures(t)
	serveOnce.Do(func() {
		images := map[string]image.Artifact{}
		for _, v := range all {
			images["interop/"+v.name+":1.0"] = v.artifact
		}
		handler, err := serve.Images(images)
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler}
		go server.Serve(l)
		shared.atEnd(func() error {
			err := server.Shutdown(context.Background())
			return errors.Join(err, handler.Close())
		})
		serveOnce.host = l.Addr().String()
	})
	if serveOnce.host == "" {
		t.Fatal("the handler was not started; see the first test that needs it")
	}
	return serveOnce.host + "/interop/" + b.name + ":1.0"
}

// TestServe has registry clients read from our handler.
func TestServe(t *testing.T) {
	for _, b := range fixtures(t) {
		t.Run(b.name, func(t *testing.T) {
			ref := served(t, b)
			skopeoReads(t, "image/serve", "docker://"+ref, b, "--tls-verify=false")
			parsed, err := name.ParseReference(ref)
			if err != nil {
				t.Fatal(err)
			}
			index, err := remote.Index(parsed)
			if err != nil {
				t.Fatal(err)
			}
			validates(t, "image/serve", b, index)
		})
	}
}

// TestPullServed has the engines pull from our handler.
func TestPullServed(t *testing.T) {
	eachEngine(t, []string{"grouped", "deep", "zstd"}, func(t *testing.T, e engine, b *variant, i builtImage) {
		ref := served(t, b)
		e.pull(t, ref, i.platform.Architecture)
		check(t, e, "image/serve", ref, b.digest, b, i)
	})
}
