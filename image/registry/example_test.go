package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http/httptest"
	"strings"
	"time"

	fake "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
)

// startRegistry stands for a registry such as registry.example.com, and returns its host.
func startRegistry() (host string, stop func()) {
	s := httptest.NewServer(fake.New(fake.Logger(stdlog.New(io.Discard, "", 0))))
	return strings.TrimPrefix(s.URL, "http://"), s.Close
}

func helloImage() image.Artifact {
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64", Config: image.Config{Cmd: []string{"/hello"}}}})
	if err != nil {
		stdlog.Fatal(err)
	}
	return image.Artifact{Image: img}
}

// Credentials are those of `docker login`.
func ExamplePush() {
	host, stop := startRegistry()
	defer stop()
	sink := registry.Push(host + "/app:1.0")
	if err := sink.Write(context.Background(), helloImage()); err != nil {
		stdlog.Fatal(err)
	}
	fmt.Println("pushed")
	// Output: pushed
}

func ExamplePushWith() {
	host, stop := startRegistry()
	defer stop()
	sink := registry.PushWith(host+"/app:1.0", registry.Options{
		Insecure: []string{"registry.lan:5000"}, // plain http, without credentials; needless for loopback hosts
		Timeout:  10 * time.Second,              // of silence
	})
	if err := sink.Write(context.Background(), helloImage()); err != nil {
		stdlog.Fatal(err)
	}
	fmt.Println("pushed")
	// Output: pushed
}

// Several names for one image: its blobs are sent once, and the names are moved last.
func ExamplePush_tags() {
	host, stop := startRegistry()
	defer stop()
	sink := registry.Push(host+"/app:1.4.2", "1.4", "1", "latest")
	d, err := image.Deliver(context.Background(), sink, helloImage(), nil)
	if err != nil {
		stdlog.Fatal(err)
	}
	fmt.Println(d.How, len(d.Refs), "names,", d.Blobs, "blobs")
	d, err = image.Deliver(context.Background(), sink, helloImage(), nil)
	if err != nil {
		stdlog.Fatal(err)
	}
	fmt.Println(d.How, len(d.Refs), "names,", d.Blobs, "blobs")
	// Output:
	// pushed 4 names, 2 blobs
	// there already 4 names, 0 blobs
}

// Sinks of one client shake hands with a registry once.
func ExampleClient_Push() {
	host, stop := startRegistry()
	defer stop()
	client := registry.NewClient(registry.Options{Retries: 8, Backoff: time.Second})
	for _, sink := range []image.Sink{client.Push(host + "/app:1.0"), client.Push(host + "/mirror/app:1.0")} {
		if err := sink.Write(context.Background(), helloImage()); err != nil {
			stdlog.Fatal(err)
		}
	}
	fmt.Println("pushed")
	// Output: pushed
}

// Whoever runs sinks that others made has them use its own client; those with options of their own keep them.
func ExampleClient_Adopt() {
	host, stop := startRegistry()
	defer stop()
	client := registry.NewClient(registry.Options{UserAgent: "mytool/1.0"})
	sink := client.Adopt(registry.Push(host + "/app:1.0"))
	if err := sink.Write(context.Background(), helloImage()); err != nil {
		stdlog.Fatal(err)
	}
	fmt.Println("pushed")
	// Output: pushed
}

// An image or a whole index is copied without a tarball in between.
func ExampleClient_Artifact() {
	host, stop := startRegistry()
	defer stop()
	ctx := context.Background()
	client := registry.NewClient(registry.Options{})
	if err := client.Push(host+"/app:1.0").Write(ctx, helloImage()); err != nil {
		stdlog.Fatal(err)
	}
	a, err := client.Artifact(ctx, host+"/app:1.0")
	if err != nil {
		stdlog.Fatal(err)
	}
	if err := client.Push(host+"/app:stable").Write(ctx, a); err != nil {
		stdlog.Fatal(err)
	}
	fmt.Println("copied")
	// Output: copied
}

// What belongs to an image is attached to it, and found by it.
func ExampleClient_Attach() {
	host, stop := startRegistry()
	defer stop()
	ctx := context.Background()
	client := registry.NewClient(registry.Options{})
	if err := client.Push(host+"/app:1.0").Write(ctx, helloImage()); err != nil {
		stdlog.Fatal(err)
	}
	_, err := client.Attach(ctx, host+"/app:1.0", image.Attachment{
		ArtifactType: "application/spdx+json",
		Files:        []image.AttachedFile{{Name: "sbom.json", MediaType: "application/spdx+json", Data: []byte(`{}`)}},
	})
	if err != nil {
		stdlog.Fatal(err)
	}
	list, err := client.Referrers(ctx, host+"/app:1.0", "application/spdx+json")
	if err != nil {
		stdlog.Fatal(err)
	}
	for _, d := range list {
		fmt.Println(d.ArtifactType)
	}
	// Output: application/spdx+json
}

// A base image is found by name and platform. No layer is read.
func ExampleClient_Resolve() {
	host, stop := startRegistry()
	defer stop()
	if err := registry.Push(host+"/hello:1.0").Write(context.Background(), helloImage()); err != nil {
		stdlog.Fatal(err)
	}

	client := registry.NewClient(registry.Options{})
	got, err := client.Resolve(context.Background(), host+"/hello:1.0", platform.MustParse("linux/amd64"))
	if err != nil {
		stdlog.Fatal(err)
	}
	f, err := image.FileOf(got.Image)
	if err != nil {
		stdlog.Fatal(err)
	}
	fmt.Println(got.Platform, f.Config.Cmd)

	_, err = client.Resolve(context.Background(), host+"/hello:2.0", platform.MustParse("linux/amd64"))
	fmt.Println(errors.Is(err, registry.ErrNotFound))
	// Output:
	// linux/amd64 [/hello]
	// true
}

func ExampleNewClient() {
	client := registry.NewClient(registry.Options{UserAgent: "mytool/1.0"})
	_, err := client.Resolve(context.Background(), "Not A Name", platform.Platform{})
	fmt.Println(errors.Is(err, registry.ErrBadReference))
	// Output: true
}
