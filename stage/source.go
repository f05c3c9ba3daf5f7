package stage

import (
	"io/fs"
)

// Source is where the files of a copy or of a bind mount come from. The kinds
// are sealed: [Stage], [ContextSource], [DirSource], [FSSource], [ImageSource].
type Source interface {
	source()
	// String describes the source for messages.
	String() string
}

// ContextSource is the build context: what stagewright.Options.Context names.
// Copy reads from it; CopyFrom and BindMount take it as Context().
type ContextSource struct{}

// Context returns the build context as a source.
func Context() ContextSource { return ContextSource{} }

// DirSource is a directory of this machine.
type DirSource struct {
	// Path is the directory; a relative one is taken from the working
	// directory of the process at the time of the build.
	Path string
	// IgnoreFile names the file with ignore patterns below Path. Empty means
	// ".dockerignore"; "-" means none.
	IgnoreFile string
	// Ignore are patterns in the syntax of .dockerignore, applied after those
	// of the file.
	Ignore []string
}

// Dir returns the directory at path as a source. Patterns in the syntax of
// .dockerignore leave files out; a .dockerignore file in the directory counts
// too.
func Dir(path string, ignore ...string) DirSource {
	return DirSource{Path: path, Ignore: append([]string(nil), ignore...)}
}

// FSSource is a file system value: an embed.FS, an fstest.MapFS, os.DirFS.
type FSSource struct {
	FS   fs.FS
	Name string // for messages and progress; not part of any key
}

// FS returns a file system as a source. Its files are read on every build,
// since a file system value has no change times that could be trusted.
func FS(fsys fs.FS) FSSource { return FSSource{FS: fsys} }

// ImageSource is an image whose files are read; its configuration is not.
type ImageSource struct {
	Ref string // may use ${NAME} of Args
	at  mark
}

// Image returns the files of an image as a source, as in COPY --from=ref.
func Image(ref string) ImageSource { return ImageSource{Ref: ref, at: here()} }

func (Stage) source()         {}
func (ContextSource) source() {}
func (DirSource) source()     {}
func (FSSource) source()      {}
func (ImageSource) source()   {}
func (stepSource) source()    {}

// String returns "the build context".
func (ContextSource) String() string { return "the build context" }

// String names the directory.
func (d DirSource) String() string { return "directory " + d.Path }

// String names the file system.
func (f FSSource) String() string {
	if f.Name != "" {
		return "file system " + f.Name
	}
	return "a file system"
}

// String names the image.
func (i ImageSource) String() string { return "image " + i.Ref }

// stepSource stands for a stage or an image in a compiled operation, where the
// step that produces the files is known: Step.Inputs has its number.
type stepSource struct {
	name string
}

func (s stepSource) String() string { return s.name }
