package stagewright_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// Two machines that share a cache: what the first one built, the second one finds. The shared store is a directory here; remote.Registry and
// remote.Layout of package cache/remote are a registry and an OCI layout.
func Example_sharedCache() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	far, err := cache.OpenDisk(filepath.Join(dir, "shared"), cache.DiskOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer far.Close()
	steps := 0
	app := stage.Scratch().Func("hello", "1", func(_ context.Context, _ fs.FS, out stage.Writer) error {
		steps++
		return out.WriteFile("hello", 0o644, strings.NewReader("hello\n"))
	})
	for _, machine := range []string{"a", "b"} {
		o := stagewright.Options{
			CacheDir:  filepath.Join(dir, machine),
			CacheFrom: []cache.Store{far},
			CacheTo:   []stagewright.CacheExport{{Store: far}},
			Keep:      cache.Policy{MaxBytes: 20 << 30},
		}
		res, err := stagewright.Build(context.Background(), app, o)
		if err != nil {
			log.Fatal(err)
		}
		if err := res.Close(); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("machine %s: %d executed in all\n", machine, steps)
	}
	// Output:
	// machine a: 1 executed in all
	// machine b: 1 executed in all
}
