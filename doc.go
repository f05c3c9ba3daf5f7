// Package stagewright builds multi-stage container images from Go code, inside
// the calling process: no daemon, no root, no cgo, no Dockerfile.
//
// Describe stages with package stage and hand one to [Build]:
//
//	app := stage.Scratch().
//		Copy("server", "/server").
//		Entrypoint("/server")
//	res, err := stagewright.Build(ctx, app, stagewright.Options{
//		Context: stagewright.Dir("."),
//		Sinks:   []image.Sink{layout.Dir("oci", "app:1.0")},
//	})
//
// # Guarantees
//
// The same stages and files give the same image digest, on any machine, as any
// user, at any time. Every mistake in the stages is reported at once, with the
// file and line of the call that made it, before anything runs. A second build
// runs nothing that the cache knows. A failed build writes to no sink.
//
// # Limits
//
// Run steps need Linux 5.4 as root, or 5.11 as an ordinary user. Those for another
// architecture need an emulator, which the machine has registered (binfmt_misc) or
// Options.Emulators names (Linux 6.7). Everything else works wherever Go does.
//
// # Concurrency
//
// All functions may be called from several goroutines; several processes may share
// one cache directory.
package stagewright
