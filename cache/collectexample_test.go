package cache_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stagewright/stagewright/cache"
)

// What a build has used stays; what is older goes.
func ExampleDisk_Collect() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	old, err := cache.PutBlob(ctx, store, []byte("nobody asks for it"))
	if err != nil {
		fmt.Println(err)
		return
	}
	used, err := cache.PutBlob(ctx, store, []byte("the layer of a build"))
	if err != nil {
		fmt.Println(err)
		return
	}

	lease, err := cache.Lease(ctx, store)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer lease.Close()
	if err := cache.Touch(ctx, store, nil, []cache.Digest{used}); err != nil {
		fmt.Println(err)
		return
	}

	done, err := store.Collect(ctx, cache.Policy{MaxAge: time.Nanosecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range done.Removed {
		fmt.Println(r.Kind, r.ID == old.Hex(), r.Reason)
	}
	// Output: blob true unused for too long
}
