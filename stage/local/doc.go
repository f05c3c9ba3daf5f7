// Package local is the executor that evaluates a graph inside the caller's
// process: no daemon, no root, no cgo.
//
// Start with [New] and hand the [Executor] to stagewright.Options, or call
// [Executor.Execute] with a graph from stage.Compile.
//
// # How a graph is evaluated
//
// Copies and file operations are pure functions on Merkle trees (internal/tree):
// they need no disk and no privilege and work on any operating system. A Run
// step gets a real root directory, made from one directory per layer
// (internal/snapshot) that a [sandbox.Runner] overlays; what it changed is read
// back from the upper directory.
//
// Evaluation is demand-driven: it begins at the targets and goes down only where
// the cache has no answer. Every step has a recipe key: what was asked, on top of
// the recipe keys of what it stands on. A target whose layers are known by its recipe
// is not looked at further; a step below it is a hit when its recipe is known and was
// made on the files that it stands on now. A Run step that misses has a second, content key: what was asked, on
// top of the digests of the files that it sees, without modification times. So an
// upstream step that was rewritten but gives the same files changes nothing
// downstream. Steps with the same key run once, however many stages have them.
//
// Run steps for another platform run by an interpreter that the kernel has, or by one of
// Options.Emulators. Where there is none, all steps that would have to run are reported
// before anything runs and before a layer of a base is read; those in the cache need none.
//
// # Guarantees
//
// The same graph and inputs give the same image digest, on any machine, as any
// user, at any time and with any degree of parallelism. Layers hold one entry for
// each file that a step changed, in order, with the epoch as modification time;
// layers of a base image are passed on untouched.
//
// An Executor may be used by several goroutines, and several processes may share
// one cache directory: of those that miss the same Run, function, base layer or large layer one
// does the work, and the others wait for it (cache.Lock) and say so in a stage.Notice. When
// Execute returns, nothing that it started is running, and a result's Close ends what
// RunProcess runs.
//
// A base image is lazy. Its layers are fetched and indexed once in the life of the cache, when
// a step needs to know the files; what is only laid over it, as a copy with Link, does not. Files
// are read out of a layer's tar; directories are made for Run steps only.
//
// # Caches of other machines
//
// ExportCache writes what is known of a build to another store, and Options.From takes it from there: records at once, layers when somebody
// reads them. What only means something on one machine stays there: a Run's directory is exported as the layer of what the step changed, out of
// which another machine makes the directory again when a Run above has to run, and single files. A layer that no step above and no sink
// reads is never downloaded. Records of others count on top of the files that they name by digest, and bytes when they have their digest; what
// turns out to be missing or damaged, at whatever moment, has the graph evaluated again without it. Who may write to a cache decides all the same
// what is in the images of those who read it.
package local
