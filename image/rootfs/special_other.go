//go:build !linux

package rootfs

import (
	"fmt"

	"github.com/stagewright/stagewright/internal/tree"
)

// special makes a pipe or a device node.
func (w *writer) special(_ string, n *tree.Node) error {
	return fmt.Errorf("a %s cannot be made on this system; write a tar instead", n.Kind())
}

// linkTime sets the time of a symbolic link.
func (w *writer) linkTime(string, int64) error { return nil }

// attributes sets the extended attributes of a file or a directory.
func (w *writer) attributes(string, tree.Meta) error { return nil }
