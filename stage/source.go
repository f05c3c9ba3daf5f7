package stage

import (
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/stagewright/stagewright/internal/gitref"
)

// Source is where the files of a copy or of a bind mount come from. The kinds
// are sealed: [Stage], [ContextSource], [DirSource], [FSSource], [ImageSource],
// [TarSource], [HTTPSource], [GitSource], [AddSource].
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
	// GitIgnore leaves out what git would: the .gitignore files of the directory
	// and below it count, with the rules of gitignore(5).
	GitIgnore bool
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

// TarSource is a tar archive, plain or compressed with gzip, bzip2, xz or zstd. Its
// entries keep modes and owners.
type TarSource struct {
	Open func() (io.ReadCloser, error)
	Name string // for messages
}

// Tar is an archive that open gives to read, from its beginning. A build calls open once
// for each step that takes files of the archive, of several steps perhaps at the same
// time, and once in all when the archive is the build's context.
func Tar(open func() (io.ReadCloser, error), name string) TarSource { return TarSource{open, name} }

// TarFile is an archive in a file of this machine.
func TarFile(path string) TarSource {
	return TarSource{func() (io.ReadCloser, error) { return os.Open(path) }, path}
}

// HTTPSource is one file, fetched by its URL.
type HTTPSource struct {
	URL       string // http or https; may use ${NAME}
	Checksum  string // "sha256:…" of the file; may use ${NAME}
	Unchecked bool   // no checksum is wanted
	Name      string // of the file; empty for the one that the server or the URL says
}

// HTTP is the file at a URL, which must have the given checksum, "sha256:" and 64
// hexadecimal digits. A file with that checksum is fetched once and never asked for again.
//
// The build's secret HTTP_AUTH_TOKEN_host is sent to that host as a bearer token,
// HTTP_AUTH_HEADER_host as the whole header Authorization, as by BuildKit.
func HTTP(url, checksum string) HTTPSource { return HTTPSource{URL: url, Checksum: checksum} }

// HTTPUnchecked is whatever the server gives for a URL. The server is asked in each
// build whether it changed.
func HTTPUnchecked(url string) HTTPSource { return HTTPSource{URL: url, Unchecked: true} }

// GitSource is the tree of a commit. Files have mode 0644 or 0755 and belong to 0:0.
type GitSource struct {
	Remote     string // URL, or the forms that docker build takes; may use ${NAME}
	Ref        string // branch, tag or commit; empty for the remote's HEAD
	Subdir     string // directory of the repository; empty for all of it
	Checksum   string // the commit that Ref must be, in whole or its beginning; may be empty
	KeepGit    bool   // the directory .git is kept
	Submodules bool
}

// Git is a repository: "https://host/path.git", with "#ref" or "#ref:directory" for
// another commit than HEAD and for a part of the tree. Submodules are included. The program
// git must be installed.
func Git(remote string) GitSource {
	g := GitSource{Remote: remote, Submodules: true}
	if url, fragment, ok := strings.Cut(remote, "#"); ok {
		g.Remote = url
		g.Ref, g.Subdir, _ = strings.Cut(fragment, ":")
	}
	return g
}

func (Stage) source()         {}
func (TarSource) source()     {}
func (HTTPSource) source()    {}
func (GitSource) source()     {}
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

// String names the archive.
func (t TarSource) String() string {
	if t.Name == "" {
		return "an archive"
	}
	return "archive " + t.Name
}

// String returns the URL, without what may be secret in it.
func (h HTTPSource) String() string { return gitref.Redact(h.URL) }

// String returns the repository and what is taken of it, without what may be secret.
func (g GitSource) String() string {
	s := "git repository " + gitref.Redact(g.Remote)
	if g.Ref != "" || g.Subdir != "" {
		s += "#" + g.Ref
	}
	if g.Subdir != "" {
		s += ":" + g.Subdir
	}
	return s
}

// String names the image.
func (i ImageSource) String() string { return "image " + i.Ref }

// stepSource stands for a stage or an image in a compiled operation, where the
// step that produces the files is known: Step.Inputs has its number.
type stepSource struct {
	name string
}

func (s stepSource) String() string { return s.name }
