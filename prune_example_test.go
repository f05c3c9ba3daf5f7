package stagewright_test

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// A cache is looked at, and then emptied but for what a living build uses.
func ExamplePrune() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	o := stagewright.Options{CacheDir: dir + "/cache"}
	res, err := stagewright.Build(ctx, stage.Scratch().File("/hello", "hello"), o)
	if err != nil {
		fmt.Println(err)
		return
	}
	usage, err := stagewright.Usage(ctx, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("something is there:", usage.Total > 0)

	done, err := stagewright.Prune(ctx, o, cache.Policy{All: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("removed while the result is open:", len(done.Removed))
	res.Close()
	if done, err = stagewright.Prune(ctx, o, cache.Policy{All: true}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("left after it was closed:", done.Kept)
	// Output:
	// something is there: true
	// removed while the result is open: 0
	// left after it was closed: 0
}

func ExampleUsage() {
	dir, err := os.MkdirTemp("", "cache")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	o := stagewright.Options{CacheDir: dir + "/cache"}
	_, err = stagewright.Usage(context.Background(), o)
	fmt.Println("before the first build:", errors.Is(err, cache.ErrNoCache))
	res, err := stagewright.Build(context.Background(), stage.Scratch().File("/etc/motd", "hello\n"), o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Close()
	usage, err := stagewright.Usage(context.Background(), o)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, k := range usage.Kinds {
		fmt.Println(k.Kind, k.Bytes > 0)
	}
	// Output:
	// before the first build: true
	// record true
	// blob true
	// snapshot false
	// mount false
	// git false
	// log false
	// memo false
}
