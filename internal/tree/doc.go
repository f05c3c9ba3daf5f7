// Package tree is the model of a root filesystem: an immutable Merkle tree of
// directories, files, links and devices. File bytes are not in it, only their digests.
//
// [Edit] makes trees and [Node.Identity] names them:
//
//	e := tree.Edit(base)
//	err := e.Put("etc/motd", tree.NewFile(tree.Meta{Mode: 0o644}, digest, size, 0))
//	after := e.Tree()
//	changes := tree.Diff(base, after)
//
// Paths are slash separated, clean and relative to the root; "" is the root.
// Names are bytes, at most [MaxName] of them; paths have at most [MaxPath].
//
// # Guarantees
//
// Nodes never change and trees share them, so keeping an older tree is free. A
// node has two digests, Identity of everything and Key without mtimes; both are
// the same on every machine and in every version of this package, until their
// recipe (identity.go) says another version. Apply(a, Diff(a, b)) has the Identity of b.
// Everything that takes paths, names or bytes from outside returns typed errors and bounds what it does.
//
// # Hard links
//
// Files with one group number, not 0, and equal metadata and content are names
// of one inode. Only which names go together matters, never the number: two
// trees with the same sets have the same digests. A subtree's digest knows only the links
// within it. To take nodes from one tree into another use [Graft], so that
// numbers of the one do not meet those of the other.
//
// # Concurrency
//
// Nodes, and the file systems made of them, are safe for concurrent use. An
// Editor and its Grafts belong to one goroutine at a time.
package tree
