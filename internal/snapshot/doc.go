// Package snapshot keeps tree changes as directories that a kernel can overlay, and reads what a process left in an overlay's upper directory
// back into tree changes.
//
// Start with [Open], then [Store.Layer] for each layer of a root filesystem (the result is an overlay lower directory) and [Store.NewUpper]
// for the directory that a step writes to. After the step, [Upper.Scan] says what it changed and [Upper.Adopt] makes the upper itself the
// layer's directory, without a copy.
//
// # What is true
//
// The index (package tree) is the truth. A directory made here is a disposable form of it: it can be deleted at any time between two builds and
// costs only the time to make it again. What the disk cannot hold stays in the index alone, and Scan takes it from there:
//
//   - An ordinary user cannot own files as somebody else: everything on disk is the caller's, which a user namespace of one id shows as root.
//     Scan gives 0:0 to what is new and keeps the index's ids for a path whose kind did not change. A chown inside cannot be seen.
//   - An ordinary user cannot make device nodes: an empty regular file with the device's mode stands in, and Scan turns it back. Only a device
//     that a step replaces by an empty file is missed by that.
//   - Of extended attributes user.* and security.capability are written and read, the latter by root only when writing. Every other one
//     (SELinux labels, ACLs, trusted.*) means something on one machine only: it is never written, never read, and kept from the index.
//     Names that overlayfs keeps for itself (trusted.overlay.*, user.overlay.*) are neither written from a tree nor read from a disk.
//
// # Guarantees
//
// A layer appears under its name by one rename, complete with a manifest. The manifest has a seal: a digest over the path, mode, owner, inode,
// size, mtime and ctime of everything below (but no ctime of whiteouts, which overlayfs shares with its work directory). The first use in each process walks the directory and compares; a directory that differs
// is made anew. A crash of the machine can lose bytes that a seal does not show (a file overwritten in place), so a manifest also names the
// boot of the kernel in which it was made: after another boot each file is read and compared with its digest once. That is why nothing here
// waits for a disk. Where the kernel's boot cannot be told, the filesystem is synced before the rename instead. What a seal cannot
// see (a block damaged on the disk, a change by somebody who can also set the clock) is caught only where bytes are verified on their way
// out, as package layertar does.
//
// Names and links in a tree are hostile: every path is walked below a held directory descriptor without following any link, what is
// created must not exist before, and what a step left behind is read in the same way. Depth, path length, entries and attribute sizes are
// bounded; beyond is a [*LimitError].
//
// # Concurrency
//
// A [Store] is safe for concurrent use by goroutines, and any number of processes may open the same directory. A layer that several of them
// want at once is made once. An [Upper] belongs to one goroutine at a time. What dead processes left unfinished is removed after the next Open.
//
// # Limits
//
// Linux only; elsewhere Open returns an error that wraps [errors.ErrUnsupported]. Sockets are dropped, as Docker drops them. An upper written
// through subordinate id ranges (newuidmap) belongs to other users and is refused by Scan with the file's name: run Scan inside that user
// namespace.
package snapshot
