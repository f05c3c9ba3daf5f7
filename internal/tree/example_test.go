package tree_test

import (
	"fmt"

	"github.com/stagewright/stagewright/internal/tree"
)

func ExampleDiff() {
	e := tree.Edit(nil)
	if err := e.MkdirAll("etc", tree.Meta{Mode: 0o755}); err != nil {
		fmt.Println(err)
	}
	if err := e.Put("etc/hostname", tree.NewFile(tree.Meta{Mode: 0o644}, tree.Digest{}, 0, 0)); err != nil {
		fmt.Println(err)
	}
	before := e.Tree()
	if err := e.Remove("etc/hostname"); err != nil {
		fmt.Println(err)
	}
	if err := e.Put("etc/mtab", tree.NewSymlink(tree.Meta{}, "/proc/mounts")); err != nil {
		fmt.Println(err)
	}
	for _, c := range tree.Diff(before, e.Tree()) {
		fmt.Println(c.Path, c.Node != nil)
	}
	// Output:
	// etc/hostname false
	// etc/mtab true
}

func ExampleResolve() {
	e := tree.Edit(nil)
	if err := e.MkdirAll("usr/bin", tree.Meta{Mode: 0o755}); err != nil {
		fmt.Println(err)
	}
	if err := e.Put("bin", tree.NewSymlink(tree.Meta{}, "/usr/bin")); err != nil {
		fmt.Println(err)
	}
	path, node, err := tree.Resolve(e.Tree(), "/bin/../bin/sh", true)
	fmt.Println(path, node, err)
	// Output: usr/bin/sh <nil> <nil>
}
