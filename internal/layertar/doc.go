// Package layertar turns lists of changes (see package tree) into layer tars and back,
// as the OCI image-spec layer document lays them down: an uncompressed tar with
// whiteouts for what is removed.
//
// [Write] makes a layer, [Read] indexes anybody's:
//
//	err := layertar.Write(w, tree.WithParents(tree.Diff(old, new), new), open)
//	index, err := layertar.Read(r, layertar.Limits{})
//	after, err := index.Apply(before)
//
// # Guarantees
//
// The bytes that Write makes depend on the changes and the file contents alone.
// What Write made, Read gives back. Read accepts the tars of GNU tar, BSD tar,
// Docker, BuildKit, podman and archive/tar; it is meant for hostile input: every
// count and length is bounded by [Limits], no name leaves the root, and what is
// refused is a typed error ([EntryError], [LimitError]), never a panic.
//
// # Limits
//
// Sparse files are refused, since their data cannot be read at an offset.
// Compression is the caller's.
//
// # Concurrency
//
// Functions keep no state; an [Index] is safe for concurrent reading.
package layertar

// Names of the layer format, from the section "Whiteouts" of the image-spec's layer.md.
const (
	whiteoutPrefix = ".wh."         // .wh.x says that x is removed
	metaPrefix     = ".wh..wh."     // bookkeeping of AUFS, to be skipped
	opaqueName     = ".wh..wh..opq" // its directory hides the lower one's children
	xattrPrefix    = "SCHILY.xattr."
)
