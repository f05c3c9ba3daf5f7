// Package remote keeps a cache where several machines reach it: in a registry, or in an OCI image layout. Its stores stand behind a
// [cache.Layered], and take what is exported to them.
//
// Begin with [Registry] or [Layout]:
//
//	far, err := remote.Registry("registry.example.com/team/cache:main", remote.Options{})
//	store := cache.NewLayered(disk, far)         // reading: what is missing here is looked for there
//	…
//	err = cache.CopyBlob(ctx, far, disk, digest) // writing: gathered …
//	err = far.Put(ctx, key, record)
//	err = far.Flush(ctx)                         // … and sent at once
//
// FORMAT.md beside this file describes what is in the registry.
//
// # Guarantees
//
//   - Several writers, readers and compactors at once lose no record: a writer adds a manifest of its own and changes none, and [Store.Compact] writes the union
//     before it deletes what it united. It works where a registry deletes nothing.
//   - A store reads only what is asked for. The first Get or Open costs one list of tags, and for each manifest in it that no other
//     replaces, that manifest and one small blob. A blob is downloaded when its bytes are read.
//   - Reading never fails, except with the caller's context: whatever goes wrong in the network or in what a registry says is
//     [cache.ErrNotFound], and told once to Options.Notice. After a few failures the remote is left alone for the rest of the process.
//   - Every wait ends; see Options.Timeout. What is read is bounded, and a blob whose bytes are not those of its digest is never returned by
//     Fetch and Stream, nor by ReadAt of a registry's blob.
//   - A Flush that fails has made no record visible. It can be called again, and goes on with what is missing.
//   - Writing needs no memory for blobs: they wait in a temporary directory, or in the store that they are taken from.
//
// # Limits
//
// Records are believed: whoever may push to the repository decides what is in your images. A remote grows until [Store.Compact] is
// called with a MaxAge, and a registry frees the room of blobs when it collects garbage.
//
// # Concurrency
//
// The methods of a [Store] may be called at the same time, except that Close comes last.
package remote
