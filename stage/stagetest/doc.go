// Package stagetest is for go test: images that a test throws away, a registry in memory that misbehaves on request, and
// assertions on what is in an image.
//
// Start with [Image], which builds a stage, and with [Registry]:
//
//	func TestServe(t *testing.T) {
//		img := stagetest.Image(t, stage.Scratch().File("/etc/app.conf", "port = 80\n").Cmd("/app"))
//		img.File("/etc/app.conf").WantContent("port = 80\n").WantMode(0o644)
//		img.WantCmd("/app")
//	}
//
//	func TestPull(t *testing.T) {
//		reg := stagetest.Registry(t, stagetest.FailEvery(3))
//		reg.Push("app:1", stage.Scratch().File("/motd", "hello\n"))
//		got, err := motd.Fetch(t.Context(), reg.Ref("app:1")) // the code under test
//		...
//	}
//
// [Check] makes assertions on an image from elsewhere, [RegistryServer.Pull] on one that the code under test has pushed.
// [MustHit] holds a build to its cache. [Shell] is a base with /bin/sh where there is no registry to take one from. [Recorder]
// and [Script] stand in for the sandbox of Run steps, so that a test needs no privilege.
//
// # Where things are built
//
// A stage that only takes files is built in memory, and nothing is left of it. One with a Run step, on an image of another
// machine's registry, with a source from the network, or on [Shell] uses the cache that stagewright.Build uses by default: in the
// user's cache directory, for all packages and processes of one `go test ./...` together, so that what one of them has run, or is
// running, no other runs. Options with a CacheDir, a Store or an Executor say where instead; with a Runner of the test's own (a
// [Script], say) what it makes is in memory, too, so that no other build takes it for real.
//
// # Assertions
//
// What a test may want begins with Want. It reports a difference with t.Errorf, as a diff of package go-cmp ("-" is what was
// wanted), and the test goes on; methods that fail for want of something to look at, such as [Image], call t.Fatal and must be
// called from the goroutine of the test. Nothing is logged unless something fails: a build that fails tells every mistake of its
// stages, and what it did until then; a test that fails is told what its Run steps wrote.
//
// # Golden files
//
// [Checks.WantTree] compares with a file of the package's testdata. It writes the file when it is not there, and fails, so that
// nobody misses it; and it writes it anew when the test binary has a boolean flag called update and it is set. The flag is the
// test's own, as in most packages with golden files; this package registers none:
//
//	var update = flag.Bool("update", false, "write the golden files anew")
//
// # Limits
//
// Run steps need Linux and a sandbox: see [NeedsSandbox]. Contents of images are compared in memory.
//
// # Concurrency
//
// Tests may be parallel, and use one [RegistryServer] or Runner together. All is released when the test and its subtests have
// ended.
package stagetest
