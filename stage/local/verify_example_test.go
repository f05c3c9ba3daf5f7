package local_test

import (
	"context"
	"fmt"
	"os"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// What the cache has is done again and compared.
func ExampleExecutor_Verify() {
	ctx := context.Background()
	g, err := stage.Compile(ctx, []stage.Stage{stage.Scratch().File("/a", "x").Symlink("a", "/b")}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	e, err := local.New(local.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer e.Close()
	res, err := e.Execute(ctx, g, stage.Request{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Close()
	v, err := stage.Verify(ctx, e, g, stage.Request{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v, v.Err())
	// Output:
	// 2 steps done again, 2 files compared, no difference <nil>
}

// A cache of which every file is as it was written.
func ExampleVerify() {
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
	if _, err := cache.PutBlob(ctx, disk, []byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	found, err := local.Verify(ctx, disk)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, k := range found.Kinds {
		fmt.Println(k.Kind, k.Entries, k.Bytes)
	}
	fmt.Println("damaged:", len(found.Damaged))
	// Output:
	// record 0 0
	// blob 1 5
	// snapshot 0 0
	// damaged: 0
}
