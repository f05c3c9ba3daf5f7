package remote_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	fake "github.com/google/go-containerregistry/pkg/registry"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
)

// One machine sends a record to a registry, and another finds it there.
func ExampleRegistry() {
	ctx := context.Background()
	server := httptest.NewServer(fake.New(fake.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/cache:main"
	key := cache.NewKey("example", 1).String("command", "go build").Sum()

	one, err := remote.Registry(ref, remote.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer one.Close()
	if err := one.Put(ctx, key, []byte("what it yields")); err != nil {
		fmt.Println(err)
		return
	}
	if err := one.Flush(ctx); err != nil {
		fmt.Println(err)
		return
	}

	other, err := remote.Registry(ref, remote.Options{Notice: func(err error) { fmt.Println(err) }})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer other.Close()
	data, err := cache.NewLayered(cache.NewMemory(), other).Get(ctx, key)
	fmt.Printf("%s, %v\n", data, err)
	// Output: what it yields, <nil>
}

// A directory that any program for OCI layouts can copy.
func ExampleLayout() {
	ctx := context.Background()
	parent, err := os.MkdirTemp("", "example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(parent)
	store, err := remote.Layout(filepath.Join(parent, "cache"), "main", remote.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	digest, err := cache.PutBlob(ctx, store, []byte("a layer"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := store.Flush(ctx); err != nil {
		fmt.Println(err)
		return
	}
	data, err := cache.ReadBlob(ctx, store, digest, 1<<20)
	fmt.Printf("%s, %v\n", data, err)
	fmt.Println(store.Stats().Sent, "blobs sent")
	// Output:
	// a layer, <nil>
	// 4 blobs sent
}
