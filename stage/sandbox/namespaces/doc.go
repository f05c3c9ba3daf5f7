// Package namespaces runs the processes of build steps in Linux namespaces,
// with nothing to install: no daemon, no root, no other program, no cgo.
//
// The two calls to start with are [New] and [Runner.Run]; [Runner.Probe] says
// beforehand whether this machine allows it, and if not, what to do.
//
// # How it works
//
// Run executes a sealed copy of the running program as process 1 of new mount,
// pid, IPC, UTS and cgroup namespaces, in a new user namespace as well where
// the caller is not privileged, and in a new network namespace for
// sandbox.NetworkNone. An init function in a leaf package, which costs every
// other process one comparison of strings, takes the copy over: it mounts an
// overlay of the Spec's directories, a private /proc, /dev and /sys and the
// Spec's mounts, pivots into them, gives up what Docker does not leave to a
// container, and becomes the command. It is the same way for root and for
// ordinary users.
//
// # Guarantees
//
// The process has Docker's default capabilities, system call policy, and masked and
// read-only paths; set-user-ID programs work. It inherits no descriptor but
// its three streams, no terminal, no environment and no ignored signal.
// Nothing is mounted outside the new namespaces. No link in the image, and
// nothing that an earlier step left, leads a mount out of the root. All
// processes of a step are dead when Run returns, when its context ends, and
// when the builder is killed: by the kernel's parent-death signal, and should
// a step have lost that by a change of user, by a watcher, which is one more
// process, idle, for as long as the builder lives.
//
// Limits of memory, processes and processor time are control groups, of version 1
// or 2, whichever of them has the controller and lets this process make a group: below
// its own, or for version 2 in the nearest group above that gives its controllers
// away. They are removed when the step ends or the builder is killed. Where there
// are none, the number of processes of an ordinary user's step with one id is bounded by
// RLIMIT_NPROC, which counts the same from Linux 5.14 on.
//
// # Programs of other machines
//
// A Spec's Platform that is not this machine's runs when the kernel has an interpreter for it. One that is
// registered with binfmt_misc and its flag F is there already; one without F that is static appears in the root, at its path,
// for the Run. One of Spec.Emulators is registered with a binfmt_misc that the sandbox has for itself, which takes Linux 6.7: the
// machine's own is neither changed nor looked at, and the step sees an empty /proc/sys/fs/binfmt_misc. For that a privileged
// caller's sandbox, too, has a user namespace, with all ids as they are. Its processes can therefore make no device nodes
// but whiteouts, open no raw sockets and listen on no ports below 1024 of the host's network; as with every other, files
// may belong to anybody and set-user-ID programs work.
//
// # Files that keep their ids
//
// With Root.Idmapped a privileged caller's process is root of a user namespace whose ids are others on the
// host, and sees, makes and gives away files with the ids that they have on the disk: through mounts
// that show other ids (mount_setattr(2), MOUNT_ATTR_IDMAP), which this process makes and the
// sandbox attaches. The overlay has the credentials of the namespace's root for what it makes, and
// the capabilities of the machine's for its marks, so that the directories cannot be told from those that
// other sandboxes of the caller leave; but a file capability has the form that user namespaces give it,
// revision 3 with root as its owner. It takes Linux 6.15 and filesystems that can (ext4, xfs, btrfs, tmpfs and more; an
// overlay or FUSE cannot), and forbids what the user namespace of an emulator does.
//
// # Limits
//
// Linux only; elsewhere each Run returns a *sandbox.UnavailableError, as it
// does on machines without a system call table here (that is, other than amd64, 386,
// arm64 and arm). Linux 5.4 is needed for root and 5.11 for ordinary users,
// who have one id inside unless they pass [SubordinateIDs]. The program must
// not be started under the name "stagewright-sandbox-init" with pipes as
// descriptors 3 and 4. Init functions of packages that are initialised earlier
// run in the copy too, without environment and without effect on the step, so
// slow ones slow each step down.
//
// # Concurrency
//
// All methods may be called concurrently. What is prepared once (the copy of the program, in
// memory and as large as it; the compiled policy; the watcher) is shared by all Runners of a process.
//
// When a step begins, its Runner starts the helper of the next one ahead: a copy of
// the program in new namespaces that waits for its configuration. A Run that is
// alike (the same ids, the same kind of network, no sockets) takes it, unless a filesystem was mounted or
// unmounted meanwhile. One that is not taken ends after two seconds, and with the builder in any case.
// So each step holds one operating system thread, and a waiting helper holds another.
package namespaces
