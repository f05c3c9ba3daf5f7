// Package image holds what an image is made of as Go values: the config blob, the layers, and the lazy v1.Image and v1.ImageIndex
// that go-containerregistry and everything built on it can read. It also declares [Sink], the one method by which a finished image
// is taken somewhere.
//
// The two calls to start with are [New], which joins a base image, layers and a config to a v1.Image, and [ParseFile], which reads
// the config blob of an existing image. [NewIndex] and [Join] make an index of several; [NewAttachment] makes what belongs to an image
// and is none.
//
// # Guarantees
//
//   - An image made by [New] knows its manifest, its digest and its config without any layer being opened. A layer is opened when
//     somebody reads it, and not before.
//   - The bytes of a manifest and of a config depend on the values given alone: never on the clock, the machine or map order.
//   - A base image's layers are referred to by the digests that they have. They are not read and not compressed again.
//   - What a method returns is the caller's to edit. No edit reaches the image.
//
// # Limits
//
// A config blob may have [MaxFileSize] bytes and a manifest [MaxManifestSize]; more is refused and never read into memory.
//
// Values of this package may be used by several goroutines at once, except where a doc comment says otherwise.
package image
