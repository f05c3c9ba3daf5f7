package local_test

import (
	"context"
	"fmt"

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
