package stage

// File writes a file with the given content, mode 0644, owned by 0:0, replacing
// what is there. path is relative to the working directory; directories above it
// are made. The content is taken as it is: nothing in it is expanded.
func (s Stage) File(path, content string, opts ...FileOption) Stage {
	f := fileOptions{mode: 0o644}.with(opts)
	if f.err != nil {
		return s.then(here(), &badOp{"FILE", f.err, leaveAway})
	}
	return s.then(here(), &FileOp{Path: path, Content: []byte(content), Mode: f.mode, Owner: f.owner})
}

// Mkdir makes a directory with mode 0755, owned by 0:0, and the directories
// above it. A directory that is there stays as it is.
func (s Stage) Mkdir(path string, opts ...FileOption) Stage {
	f := fileOptions{mode: 0o755}.with(opts)
	if f.err != nil {
		return s.then(here(), &badOp{"MKDIR", f.err, leaveAway})
	}
	return s.then(here(), &MkdirOp{Path: path, Mode: f.mode, Owner: f.owner})
}

// Symlink makes path a symbolic link to target, which is kept as written and
// need not exist.
func (s Stage) Symlink(target, path string) Stage {
	return s.then(here(), &SymlinkOp{Target: target, Path: path})
}

// Remove removes a file, or a directory with all below it. Nothing being there
// is an error unless MayBeAbsent is given.
func (s Stage) Remove(path string, opts ...RemoveOption) Stage {
	if err := checkOptions(opts); err != nil {
		return s.then(here(), &badOp{"REMOVE", err, leaveAway})
	}
	op := &RemoveOp{Path: path}
	for _, o := range opts {
		o(op)
	}
	return s.then(here(), op)
}

// RemoveOption adjusts one Remove.
type RemoveOption func(*RemoveOp)

// MayBeAbsent lets Remove find nothing.
func MayBeAbsent() RemoveOption { return func(op *RemoveOp) { op.Optional = true } }

// FileOption adjusts what File and Mkdir make.
type FileOption func(*fileOptions)

type fileOptions struct {
	mode  uint32
	owner string
	err   error
}

func (f fileOptions) with(opts []FileOption) fileOptions {
	if f.err = checkOptions(opts); f.err != nil {
		return f
	}
	for _, o := range opts {
		o(&f)
	}
	return f
}

// Mode sets the permission bits, up to 07777.
func Mode(mode uint32) FileOption { return func(f *fileOptions) { f.mode = mode } }

// Owner sets the owner: "user", "user:group", "uid", "uid:gid", as in [Chown].
func Owner(owner string) FileOption { return func(f *fileOptions) { f.owner = owner } }
