package toolbox_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"github.com/stagewright/stagewright/internal/toolbox"
)

func ExampleBinary_Files() {
	root := toolbox.Binary{Path: "/where/Build/put/it", Commands: []string{"cat", "sh"}}.Files()
	_ = fs.WalkDir(root, "bin", func(path string, d fs.DirEntry, err error) error {
		fmt.Println(d.Type(), path)
		return err
	})
	// Output:
	// d--------- bin
	// L--------- bin/cat
	// ---------- bin/sh
}

// The result depends on the machine, so this example is compiled and not run.
func ExampleBuild() {
	dir, _ := os.UserCacheDir()
	b, err := toolbox.Build(context.Background(), dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(b.Digest, len(b.Commands))
}

// The result depends on the machine, so this example is compiled and not run.
func ExampleToolchain() {
	g, err := toolbox.Toolchain(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Root, g.Version)
}
