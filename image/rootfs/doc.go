// Package rootfs writes the files of an image, without its layers and its
// configuration: to a directory, or to one tar file.
//
// The two calls to start with are [Dir] and [Tar], both sinks. [Save] writes one file
// or directory out of the files of a build.
//
// # Guarantees
//
//   - A directory that did not exist, and a tar file, appear complete or not at all. A
//     directory that is there and empty is filled as it is, and emptied after a failure.
//   - Nothing is ever written outside the destination, whatever links the image has.
//   - The same image gives the same tar: entries in order of their names, with the
//     times that the image says.
//   - Of an index, each image goes below a directory named after its platform,
//     "linux_amd64", as docker build --output does.
//
// # Limits
//
// Layers are unpacked one after the other into temporary files in the directory or
// beside the tar, which need as much room as the image has bytes. In a directory, owners,
// device nodes and attributes outside "user." need root: as an ordinary user owners
// and those attributes are not set, and a device node is an error that names it. A tar
// has them all.
//
// # Concurrency
//
// Sinks may be used by several goroutines at once as long as they write to
// different places.
package rootfs
