// Package layout writes and reads OCI image layouts: directories with oci-layout, index.json and blobs, as defined by the OCI image
// specification (image-layout.md) and read by skopeo, umoci, podman, containerd and Docker.
//
// The two calls to start with are [Dir], a sink, and [Read].
//
// # Guarantees
//
//   - A layout that did not exist appears whole or not at all. In one that exists, index.json changes last and in one step, so that a
//     reader at any moment finds either the former images or the new ones, complete.
//   - A blob that is there with the right bytes is not written again and its layer is not opened; one with wrong bytes is replaced.
//   - Names in an existing layout that are not written stay, row for row.
//   - What is read has been verified against its digest.
//   - The same artifact and names give the same files.
//
// # Limits
//
// A blob that no name refers to any more is left where it is: another program may be reading it. Layers that may not be distributed
// are referred to and not stored. A process that is killed may leave a file or directory .stagewright-… beside what it was writing;
// within a layout the next write removes it.
//
// # Concurrency
//
// Several goroutines and several processes may write to one layout at once; they wait for each other by an advisory lock on the
// directory. On Windows, whose locks are for files alone, and on systems that have none they must not. Readers need no lock.
package layout
