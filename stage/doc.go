// Package stage describes multi-stage container images as Go values and
// compiles them into a checked graph of steps.
//
// Start with [From] or [Scratch], chain operations onto the [Stage] that they
// return, and hand the stage to stagewright.Build, or to [Compile] when only
// the graph is wanted:
//
//	builder := stage.From("golang:1.26").
//		Workdir("/src").
//		Copy(".", ".").
//		Run("go build -o /out/app .")
//	app := stage.Scratch().
//		CopyFrom(builder, "/out/app", "/app").
//		Entrypoint("/app")
//
// A Stage is immutable: every method returns a new Stage and leaves the old one
// as it was, so stages are forked, stored and shared freely, also between
// goroutines. Methods only record; nothing is read or run, and a mistake is
// kept in the stage until [Compile] reports all of them together, each with the
// file and line of the call that made it.
//
// Text given to From, Env, Label, Workdir, User, Copy and the like may use
// ${NAME} for declared arguments and for the environment of the stage; package
// arg documents the grammar. The text of Run is left to the shell, which finds
// the same names in its environment.
//
// The package knows no executor, no cache and no sandbox: an [Executor]
// evaluates a [Graph], and stage/local is the one that stagewright.Build uses.
package stage
