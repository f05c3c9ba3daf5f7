// Package cache remembers what work has yielded: blobs under the digest of
// their bytes, and records, which name blobs, under keys made from everything
// that could change the answer.
//
// Begin with [OpenDisk], or [NewMemory] in tests, and with [NewKey], which
// builds the [Key] of a question:
//
//	key := cache.NewKey(kind, version).String(...).Digest(...).Sum()
//
// [Store] is the small interface behind which a store stands; [Lease], [Lock] and
// [Dir] are what only some can do. [NewReader] and [ReadBlob] are the verified
// ways to read a blob, [PutBlob] a short way to write one, and [CopyBlob] the
// way from one store to another. [NewLayered] puts one store before others;
// package cache/remote has those in registries and OCI layouts.
//
// # Guarantees
//
//   - What is read under a digest through NewReader or ReadBlob has that
//     digest, whatever the store did; else it is a [*CorruptError].
//   - What is damaged or missing is [ErrNotFound], now or, for a blob that a
//     verifying reader finds damaged, from then on. It costs work, never a wrong
//     result.
//   - Nothing half-written is ever visible, and nothing visible is edited.
//   - A record is not there before the blobs that were committed before it.
//   - What is used under a [Lease] is not removed by [Disk.Collect], in any
//     process, until the lease ends.
//
// # Limits
//
// A record says what its writer said: keys are not checked against answers, so
// whoever may write to a store decides what comes out of it. Records have at
// most [MaxRecord] bytes. A record may name a blob that has since been removed;
// whoever follows it treats that as a miss.
//
// # Keeping it small
//
// [Disk.Collect] removes what was unused for the longest time, as a [Policy]
// says: by bytes, age, free space and kind. Its work grows with what it removes
// and what was used since the last time, not with what there is; once in 30 days,
// and when the journal was lost, it looks at everything, as [Disk.Usage] does.
// A [Memory] is not collected.
//
// A clock that is set forward makes everything look unused for so long: what
// living leases cover stays, the rest may go. Set back, it makes nothing older:
// what was used by the clock that was ahead counts as used when a collector
// first sees it, at the most an hour later, and ages from then on.
//
// # Concurrency
//
// Stores may be used by many goroutines, and a [Disk] by many processes of one
// machine. Reading takes no lock; [Lock] lets one of them
// do what several would do at once. [KeyBuilder] and [Writer] are for one
// goroutine at a time.
package cache
