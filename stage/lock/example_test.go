package lock_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/lock"
)

type registry struct{}

func (registry) Resolve(_ context.Context, ref string, _ platform.Platform) (stage.BaseImage, error) {
	return stage.BaseImage{Name: ref, Digest: digest.FromString("what the tag is today")}, nil
}

// A build locks its bases; the next one stands on the same.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "lock")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	file, err := lock.Open(filepath.Join(dir, "stagewright.lock"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := stage.Compile(context.Background(), []stage.Stage{stage.From("alpine:3.22")}, stage.Options{
		Resolver: file.Resolver(registry{}, lock.Add), Platforms: platform.MustParseSet("linux/amd64"),
	}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(file.Save())
	for _, e := range file.Entries() {
		fmt.Println(e.Ref, e.Platform, e.Digest.Encoded()[:8])
	}
	// Output:
	// <nil>
	// alpine:3.22 linux/amd64 bc29b629
}
