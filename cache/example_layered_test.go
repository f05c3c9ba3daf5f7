package cache_test

import (
	"context"
	"fmt"

	"github.com/stagewright/stagewright/cache"
)

// What is read from a store behind is in the front from then on.
func ExampleNewLayered() {
	ctx := context.Background()
	near, far := cache.NewMemory(), cache.NewMemory()
	digest, err := cache.PutBlob(ctx, far, []byte("built elsewhere"))
	if err != nil {
		fmt.Println(err)
		return
	}
	store := cache.NewLayered(near, far)
	data, err := cache.ReadBlob(ctx, store, digest, 1<<20)
	fmt.Printf("%s, %v\n", data, err)
	data, err = cache.ReadBlob(ctx, near, digest, 1<<20)
	fmt.Printf("%s, %v\n", data, err)
	// Output:
	// built elsewhere, <nil>
	// built elsewhere, <nil>
}

// A blob that is there already is not read; a store that gathers is flushed at the end.
func ExampleCopyBlob() {
	ctx := context.Background()
	from, to := cache.NewMemory(), cache.NewMemory()
	digest, err := cache.PutBlob(ctx, from, []byte("a layer"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := cache.CopyBlob(ctx, to, from, digest); err != nil {
		fmt.Println(err)
		return
	}
	if err := cache.Flush(ctx, to); err != nil {
		fmt.Println(err)
		return
	}
	data, err := cache.ReadBlob(ctx, to, digest, 1<<20)
	fmt.Printf("%s, %v\n", data, err)
	// Output: a layer, <nil>
}
