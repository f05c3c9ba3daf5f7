// Package archive writes an image as one tar file: [Docker] for `docker load` and `podman load`, and [OCI] for whatever reads an OCI image
// layout in a tar.
//
// # Guarantees
//
//   - The file appears under its name complete or not at all; what had the name before stays until then.
//   - The same artifact, names and options give the same bytes.
//   - A file that has these bytes already is read, not written, and no layer is opened for it.
//   - Layers are stored as they are, compressed once and never again, and verified against their digests while they are copied.
//
// # Limits
//
// Memory does not grow with the size of the image. Layers that may not be distributed (those of Windows bases) are left out by [OCI] and
// refused by [Docker].
//
// # Concurrency
//
// Sinks may be used by several goroutines and processes at once; of two that write one path, the last to finish wins.
package archive
