package stage

import (
	"errors"
	"strconv"
	"strings"
)

// Paths is one path or several: a plain string is one, [Files] joins several.
// A path may hold the wildcards of path.Match and "**" for any depth, and
// ${NAME} of arguments and environment. A constant string is a Paths by itself; of a
// string that is computed, make one with Files.
type Paths string

// Files joins several paths into one Paths, for a copy that takes more than one
// source.
func Files(paths ...string) Paths { return Paths(strings.Join(paths, "\x00")) }

func (p Paths) list() []string { return strings.Split(string(p), "\x00") }

// Copy copies files of the build context into the stage. Of a directory the
// contents are copied, not the directory itself. dest is relative to the working
// directory; it must end in "/" (or be ".") when there is more than one source.
//
// Files of the context belong to 0:0 and have mode 0755 when their owner may
// execute them, else 0644; directories have 0755. Neither umask nor the ids of
// this machine reach the image. A named pipe is copied as one; a socket is left out. Paths are relative to the context and cannot
// leave it; a path or a wildcard that matches nothing is an error.
func (s Stage) Copy(paths Paths, dest string, opts ...CopyOption) Stage {
	return s.then(here(), newCopy(&CopyOp{From: Context(), Paths: paths.list(), Dest: dest}, opts))
}

// CopyFrom copies files of a stage, an image, a directory or a file system into
// the stage. Paths are relative to the root of the source. Files of stages and
// images keep their modes and owners; those of directories and file systems
// follow the rule of [Stage.Copy].
func (s Stage) CopyFrom(from Source, paths Paths, dest string, opts ...CopyOption) Stage {
	return s.then(here(), newCopy(&CopyOp{From: from, Paths: paths.list(), Dest: dest}, opts))
}

// Add copies files of the build context, and unpacks those that are archives (tar;
// plain or compressed with gzip, bzip2, xz or zstd, told by their contents, not by their
// names) into dest as a directory, where their entries keep their owners. [NoUnpack]
// keeps them as they are.
func (s Stage) Add(paths Paths, dest string, opts ...CopyOption) Stage {
	op := &CopyOp{From: Context(), Paths: paths.list(), Dest: dest, Add: true, Unpack: UnpackArchives}
	return s.then(here(), newCopy(op, opts))
}

// AddFrom copies the whole of a source: the file of an [HTTP] source, with mode 0600,
// the tree of a [Git] source. [UnpackArchive] unpacks what was fetched.
func (s Stage) AddFrom(from Source, dest string, opts ...CopyOption) Stage {
	op := &CopyOp{From: from, Paths: []string{"."}, Dest: dest, Add: true}
	if _, ok := from.(AddSource); ok {
		op.Unpack = UnpackArchives
	}
	return s.then(here(), newCopy(op, opts))
}

func newCopy(op *CopyOp, opts []CopyOption) Op {
	if st, ok := op.From.(Stage); ok && st.last == nil {
		return &badOp{"COPY", errZeroStage, ""}
	}
	if op.From == nil {
		return &badOp{"COPY", errors.New("no source to copy from"), "give a Stage, stage.Image, stage.Dir or stage.FS"}
	}
	if fsys, ok := op.From.(FSSource); ok && fsys.FS == nil {
		return &badOp{"COPY", errors.New("stage.FS(nil): no file system"), ""}
	}
	if err := checkOptions(opts); err != nil {
		return &badOp{"COPY", err, leaveAway}
	}
	for _, o := range opts {
		o.ApplyCopy(op)
	}
	if err := op.Cache.check(); err != nil {
		return &badOp{"COPY", err, ""}
	}
	if len(op.Inline) > 0 && len(op.Paths) == 1 && op.Paths[0] == "" {
		op.Paths = nil
	}
	return op
}

// CopyOption adjusts one copy: a [CopyFunc], as most functions here return, or a
// [CacheOption].
type CopyOption interface {
	// ApplyCopy changes an operation that is being recorded.
	ApplyCopy(op *CopyOp)
}

// CopyFunc adjusts the operation while it is recorded.
type CopyFunc func(op *CopyOp)

// ApplyCopy calls f.
func (f CopyFunc) ApplyCopy(op *CopyOp) { f(op) }

// Chown gives the copied files an owner: "user", "user:group", "uid", "uid:gid".
// Names are looked up in /etc/passwd and /etc/group of the stage; a name alone
// takes the user's group, a number alone the group with the same number.
func Chown(owner string) CopyOption { return CopyFunc(func(op *CopyOp) { op.Chown = owner }) }

// Chmod gives the copied files and directories a mode: an octal number up to "7777", or
// changes in the notation of chmod(1), as in "u=rwX,go-w". [ChmodDirs] sets
// directories apart. Directories made above the destination have 0755; links have no
// mode.
func Chmod(mode string) CopyOption { return CopyFunc(func(op *CopyOp) { op.Chmod = mode }) }

// ChmodDirs gives the copied directories a mode of their own, in the notation of
// [Chmod].
func ChmodDirs(mode string) CopyOption { return CopyFunc(func(op *CopyOp) { op.ChmodDirs = mode }) }

// Parents keeps the directories of each path: "a/b/c.txt" copied to "/o/" becomes
// /o/a/b/c.txt. What stands before an element "." is left out: "a/./b/c.txt" becomes
// /o/b/c.txt.
func Parents() CopyOption { return CopyFunc(func(op *CopyOp) { op.Parents = true }) }

// Exclude leaves out what matches one of the patterns, which have the syntax of
// .dockerignore and are relative to each source.
func Exclude(patterns ...string) CopyOption {
	return CopyFunc(func(op *CopyOp) { op.Exclude = append(op.Exclude[:len(op.Exclude):len(op.Exclude)], patterns...) })
}

// Link makes the copy independent of the files below it: its layer stays the same
// when the base changes, and no link of the destination is followed.
func Link() CopyOption { return CopyFunc(func(op *CopyOp) { op.Link = true }) }

// Unpack says what a copy does with archives.
type Unpack string

const (
	// UnpackNever copies archives as files.
	UnpackNever Unpack = ""
	// UnpackArchives unpacks the files that are archives.
	UnpackArchives Unpack = "archives"
	// UnpackAlways unpacks every file; one that is no archive is an error.
	UnpackAlways Unpack = "always"
)

// UnpackArchive unpacks what is copied, which must be an archive; see [Stage.Add].
func UnpackArchive() CopyOption { return CopyFunc(func(op *CopyOp) { op.Unpack = UnpackAlways }) }

// NoUnpack copies archives as files.
func NoUnpack() CopyOption { return CopyFunc(func(op *CopyOp) { op.Unpack = UnpackNever }) }

// LinkRule says what a copy does with a symbolic link that a path names or a wildcard
// finds. Links below a copied directory are always copied as links, and those in the
// middle of a path are followed.
type LinkRule string

const (
	// LinksFollowed copies what the link leads to, as COPY does.
	LinksFollowed LinkRule = ""
	// LinksKept copies the link, also one that leads nowhere.
	LinksKept LinkRule = "keep"
	// LinksRefused makes a link an error.
	LinksRefused LinkRule = "refuse"
)

// WithLinks sets what is done with symbolic links among the sources. Stages that are
// [Compatible] have only [LinksFollowed].
func WithLinks(l LinkRule) CopyOption { return CopyFunc(func(op *CopyOp) { op.Links = l }) }

// InlineFile is a file whose content stands in the operation.
type InlineFile struct {
	Name    string // its last path element where it is copied into a directory
	Content []byte
	Expand  bool // of InlineText: variables of the content are replaced; false in a Graph
}

// Inline adds a file with the given content, mode 0644, to what is copied, after the
// files of the source. A copy of inline files alone has no paths.
func Inline(name, content string) CopyOption {
	return CopyFunc(func(op *CopyOp) {
		op.Inline = append(op.Inline[:len(op.Inline):len(op.Inline)], InlineFile{Name: name, Content: []byte(content)})
	})
}

// InlineText is [Inline] with a content whose ${NAME} of arguments and environment are
// replaced; quotes in it are ordinary characters, and a backslash before "$" keeps it.
func InlineText(name, content string) CopyOption {
	return CopyFunc(func(op *CopyOp) {
		op.Inline = append(op.Inline[:len(op.Inline):len(op.Inline)], InlineFile{name, []byte(content), true})
	})
}

// KeepModes keeps the modes that the files of a directory have on this machine,
// which depend on the umask of whoever made them.
func KeepModes() CopyOption { return CopyFunc(func(op *CopyOp) { op.Keep = true }) }

// Optional lets a path match nothing.
func Optional() CopyOption { return CopyFunc(func(op *CopyOp) { op.Optional = true }) }

func owner(uid, gid uint32) string {
	return strconv.FormatUint(uint64(uid), 10) + ":" + strconv.FormatUint(uint64(gid), 10)
}
