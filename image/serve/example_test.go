package serve_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/serve"
	"github.com/stagewright/stagewright/stage"
)

// An image for each name that is asked for, built at that moment. What the build keeps open is released when the image is not served any
// more.
func ExampleNew() {
	store := cache.NewMemory()
	h := serve.New(serve.Options{
		Source: func(ctx context.Context, repo, reference string) (image.Artifact, error) {
			if repo != "hello" {
				return image.Artifact{}, fmt.Errorf("%w: only hello is built here, not %s", serve.ErrNotFound, repo)
			}
			s := stage.Scratch().File("/greeting", "Hello "+reference+"\n").Cmd("/app")
			res, err := stagewright.Build(ctx, s, stagewright.Options{Store: store})
			if err != nil {
				return image.Artifact{}, err
			}
			context.AfterFunc(ctx, func() { res.Close() })
			return res.Artifact(), nil
		},
	})
	defer h.Close()
	server := httptest.NewServer(h)
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")

	for _, ref := range []string{"/hello:world", "/bye:world"} {
		r, err := name.ParseReference(address + ref)
		if err != nil {
			log.Fatal(err)
		}
		img, err := remote.Image(r) // as docker pull would
		if err != nil {
			fmt.Println(strings.ReplaceAll(err.Error(), address, "ADDRESS"))
			continue
		}
		config, err := img.ConfigFile()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(config.Config.Cmd, config.History[0].CreatedBy)
	}
	// Output:
	// [/app] FILE /greeting # buildkit
	// GET http://ADDRESS/v2/bye/manifests/world: MANIFEST_UNKNOWN: no such image: only hello is built here, not bye
}

// Images that exist already.
func ExampleImages() {
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	h, err := serve.Images(map[string]image.Artifact{"team/app:1.0": {Image: img}, "team/app": {Image: img}})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	fmt.Println(get(h, "/v2/team/app/tags/list"))
	fmt.Println(get(h, "/v2/team/app/blobs/"+"sha256:"+strings.Repeat("0", 64)))
	// Output:
	// {"name":"team/app","tags":["1.0","latest"]}
	// {"errors":[{"code":"BLOB_UNKNOWN","message":"no image of team/app that is served has it; pull the manifest first"}]}
}

// A hook sees how far each blob has gone out.
func ExampleImagesWith() {
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	h, err := serve.ImagesWith(serve.Options{
		Sent: func(t image.Transfer) { fmt.Println(t.Done, "of", t.Total, "bytes") },
	}, map[string]image.Artifact{"app": {Image: img}})
	if err != nil {
		log.Fatal(err)
	}
	defer h.Close()
	config, err := img.ConfigName()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(get(h, "/v2/app/blobs/"+config.String()))
	// Output:
	// 90 of 90 bytes
	// {"architecture":"amd64","config":{},"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}
}

func get(h http.Handler, path string) string {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		log.Fatal(err)
	}
	return string(body)
}
