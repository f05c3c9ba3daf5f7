// Package sandbox says how one process of a Run step is started in a root
// filesystem of its own. It declares the [Runner] interface, the [Spec] that a
// Runner executes, and the errors that every Runner reports; it starts nothing
// itself.
//
// The two calls to start with are namespaces.New, which gives the Runner that
// is built in, and its Run:
//
//	runner := namespaces.New(namespaces.Options{})
//	status, err := runner.Run(ctx, &sandbox.Spec{
//		Root: sandbox.Root{Lowers: []string{"/var/lib/rootfs"}},
//		Args: []string{"/bin/true"},
//	})
//
// # Guarantees
//
// A Spec carries the root as a recipe (directories to lay over each other) and
// never as a mounted path: a Runner mounts nothing where the caller, or anybody
// else on the machine, could see it, and a builder that is killed leaks no
// mount. When Run returns, every process that the step started is dead,
// including those in the background. Mounts and the mount points made for them
// leave no trace in Root.Upper.
//
// # Limits
//
// A Runner isolates build steps as container engines do, with namespaces,
// capabilities and a system call filter. It is not a virtual machine: a hole in
// the kernel is a hole in the sandbox. Network addresses are those of the host
// unless NetworkNone is asked for.
//
// # Concurrency
//
// A Runner is safe for concurrent use. One Root.Upper belongs to one Run at a
// time; the kernel does not refuse a second one, so the caller must.
package sandbox
