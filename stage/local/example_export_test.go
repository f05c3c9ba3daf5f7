package local_test

import (
	"context"
	"fmt"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// One machine builds and exports, another one takes from there what it does not know. A store in a registry is remote.Registry.
func ExampleExportCache() {
	ctx := context.Background()
	shared := cache.NewMemory()
	target := stage.Scratch().File("/motd", "hello\n")
	graph, err := stage.Compile(ctx, []stage.Stage{target}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, machine := range []string{"one", "two"} {
		e, err := local.New(local.Options{Store: cache.NewMemory(), From: []cache.Store{shared}})
		if err != nil {
			fmt.Println(err)
			return
		}
		res, err := e.Execute(ctx, graph, stage.Request{})
		if err != nil {
			fmt.Println(err)
			return
		}
		sent, err := local.ExportCache(ctx, res, shared, local.ExportOptions{Mode: local.CacheMax})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %d steps ran; %s\n", machine, res.Report().Ran(), sent.How)
		if err := res.Close(); err != nil {
			fmt.Println(err)
		}
		if err := e.Close(); err != nil {
			fmt.Println(err)
		}
	}
	// Output:
	// one: 1 steps ran; exported, 3 records
	// two: 0 steps ran; there already
}
