package local_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// A build with a cache in a directory, what that takes, and what is removed when nothing uses it any more.
func ExampleCollect() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer disk.Close()
	e, err := local.New(local.Options{Store: disk})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	g, err := stage.Compile(ctx, []stage.Stage{stage.Scratch().File("/hello", "hello")}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := e.Execute(ctx, g, stage.Request{})
	if err != nil {
		fmt.Println(err)
		return
	}
	month := cache.Policy{MaxAge: 30 * 24 * time.Hour}
	done, err := local.Collect(ctx, disk, month)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("unused for a month:", len(done.Removed))
	res.Close()
	if done, err = local.Collect(ctx, disk, cache.Policy{All: true}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("after Close:", len(done.Removed) > 0, done.Kept)
	// Output:
	// unused for a month: 0
	// after Close: true 0
}

func ExampleUsage() {
	ctx := context.Background()
	_, err := local.Usage(ctx, cache.NewMemory())
	fmt.Println(err)
	// Output: local: the cache is a *cache.Memory, and only one on disk says what it takes and can be made smaller: not supported by this executor
}
