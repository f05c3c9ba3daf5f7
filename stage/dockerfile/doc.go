// Package dockerfile reads Dockerfiles into stages, checks them with BuildKit's
// rules, and writes stages as Go source or as a Dockerfile.
//
// Start with [Parse] and [File.Target]: the stage value that they give is built
// like one that was written in Go.
//
//	text, err := os.ReadFile("Dockerfile")
//	file, err := dockerfile.Parse("Dockerfile", text, dockerfile.Options{})
//	app, err := file.Target("")
//	res, err := stagewright.Build(ctx, app, stagewright.Options{
//		Context: stagewright.Dir("."),
//		Args:    arg.Values{"VERSION": "1.2"},
//		OnBuild: file.OnBuild,
//	})
//
// # What is read
//
// The stable syntax of BuildKit 0.34 (docker/dockerfile 1.27), by BuildKit's own
// parser: directives, here-documents, JSON forms, ONBUILD, all flags. RUN --device
// and RUN --security=insecure are refused by name, and so is a "# syntax=" line that
// names another frontend than docker/dockerfile.
//
// The stages have the meaning that the same file has in BuildKit, also where it is
// surprising: they are [stage.Compatible]. Values of arguments, base images and
// platforms are chosen when a stage is compiled, so one File serves any number of
// builds.
//
// # Mistakes and warnings
//
// Parse reports every mistake at once as [stage.Errors]: each has the line, the
// column, and what to write instead. [File.Warnings] and [File.Lint] are docker
// build --check; a comment "# check=skip=RULE;error=true" counts as there.
//
// # What is written
//
// [GoSource] writes the stages of a graph as a Go program or function, [Write] as a
// Dockerfile. Both keep names, arguments and the variables in texts, and make the same
// graph again; what the other language cannot say is reported, all of it at once.
//
// # Limits and concurrency
//
// A text has at most 16 MiB, a line at most 64 KiB without its continuations; at most 100
// mistakes are reported. Nothing is read but the text: no network, no environment, and no
// file, except that [Context] looks whether there is an ignore file. Every function
// may be called from several goroutines.
//
// # Differences from docker build
//
// A value for an argument that no ARG declares is reported by [File.CheckArgs], where
// docker build only warns. The argument SOURCE_DATE_EPOCH and those called
// BUILDKIT_… belong to the program that builds.
package dockerfile
