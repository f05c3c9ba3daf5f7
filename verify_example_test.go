package stagewright_test

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// A step that writes the time down is found.
func ExampleVerify() {
	stamp := func(_ context.Context, _ fs.FS, out stage.Writer) error {
		return out.WriteFile("/built", 0o644, strings.NewReader(time.Now().String()))
	}
	app := stage.Scratch(stage.As("app")).File("/motd", "hello").Func("stamp", "1", stamp)
	o := stagewright.Options{Store: cache.NewMemory()}
	res, err := stagewright.Build(context.Background(), app, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Close()
	v, err := stagewright.Verify(context.Background(), app, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v)
	for _, m := range v.Mismatches {
		fmt.Println(m.Step.Text, m.Path, m.Aspect)
	}
	// Output:
	// 2 steps done again, 2 files compared, 1 difference
	// FUNC stamp 1 built content
}
