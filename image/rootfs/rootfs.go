package rootfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/atomicfile"
	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/platform"
)

// ErrNotEmpty says that a directory has other files already.
var ErrNotEmpty = errors.New("the directory is not empty")

// Options changes what [DirWith] does. The zero value is what [Dir] uses.
type Options struct {
	// Merge writes into a directory that has files already: those of the image
	// replace what has their names, and the others stay. It is done in place, so a
	// failure leaves it half done.
	Merge bool
}

// Dir returns a sink that writes the files to the directory path, which must be
// empty or not there yet; otherwise the error wraps [ErrNotEmpty]. Directories above
// it are made.
func Dir(path string) image.Sink { return DirWith(path, Options{}) }

// DirWith is [Dir] with options.
func DirWith(path string, o Options) image.Sink { return &dirSink{path, o} }

// Tar returns a sink that writes the files to the tar file path, replacing a file
// that is there.
func Tar(path string) image.Sink { return &tarSink{path: path} }

// TarTo returns a sink that writes the tar to w.
func TarTo(w io.Writer) image.Sink { return &tarSink{w: w} }

type dirSink struct {
	path string
	o    Options
}

func (s *dirSink) String() string { return "directory " + s.path }

// Replaces is the directory that belongs to this sink alone: two sinks of one build that fill it at the same time would disturb each other,
// also when they merge.
func (s *dirSink) Replaces() string { return s.path }

// Check implements [image.Checker].
func (s *dirSink) Check() error {
	if s.path == "" {
		return fmt.Errorf("%s: %w", s, errNoDir)
	}
	return nil
}

func (s *dirSink) Write(ctx context.Context, a image.Artifact) error {
	if err := s.write(ctx, a); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

func (s *dirSink) write(ctx context.Context, a image.Artifact) error {
	if s.path == "" {
		return errNoDir
	}
	if !s.o.Merge {
		return replaceDir(s.path, "or set Merge in rootfs.Options to write among them", func(work string) error { return s.fill(ctx, a, work) })
	}
	if fi, err := os.Stat(s.path); err == nil && !fi.IsDir() {
		return errIsFile
	}
	if _, err := atomicfile.MakeParents(s.path); err != nil {
		return err
	}
	return s.fill(ctx, a, s.path)
}

var errNoDir = errors.New("no path; name a directory")

var errIsFile = errors.New("there is a file of that name; name a directory that is empty or not there yet")

// replaceDir makes a directory: fill gets another name, beside it, that is renamed in the end. One that is there and empty is filled as it
// is, since it may be a mount point, or all that this user may write to. A failure leaves nothing behind. But says what else can be done
// where the directory is not empty.
func replaceDir(path, but string, fill func(work string) error) error {
	if fi, err := os.Stat(path); err == nil && !fi.IsDir() {
		return errIsFile
	}
	names, err := os.ReadDir(path)
	switch {
	case err == nil && len(names) > 0:
		return fmt.Errorf("%w: it has %q; name one that is empty or not there yet, %s", ErrNotEmpty, names[0].Name(), but)
	case err == nil:
		if err := fill(path); err != nil {
			return errors.Join(err, empty(path))
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	undo, err := atomicfile.MakeParents(path)
	if err != nil {
		return err
	}
	work := atomicfile.TempPath(filepath.Dir(filepath.Clean(path)))
	if err = fill(work); err == nil {
		err = os.Rename(work, path)
	}
	if err != nil {
		os.RemoveAll(work)
		undo()
	}
	return err
}

// empty removes what is in a directory.
func empty(dir string) error {
	names, err := os.ReadDir(dir)
	for _, n := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, n.Name())))
	}
	return err
}

func (s *dirSink) fill(ctx context.Context, a image.Artifact, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return each(ctx, a, dir, func(below string, f *flat) error {
		at := dir
		if below != "" {
			at = filepath.Join(dir, below)
			if err := os.MkdirAll(at, 0o755); err != nil {
				return err
			}
		}
		return writeDir(ctx, at, f)
	})
}

var errNowhere = errors.New("nowhere to write to; give Tar the name of a file, or TarTo a writer")

type tarSink struct {
	path string
	w    io.Writer
}

func (s *tarSink) String() string {
	if s.path == "" {
		return "tar stream"
	}
	return "tar " + s.path
}

// Replaces is the file that belongs to this sink alone: two sinks of one build cannot both write it.
func (s *tarSink) Replaces() string { return s.path }

// Check implements [image.Checker].
func (s *tarSink) Check() error {
	if s.w == nil && s.path == "" {
		return fmt.Errorf("%s: %w", s, errNowhere)
	}
	return nil
}

func (s *tarSink) Write(ctx context.Context, a image.Artifact) error {
	if err := s.write(ctx, a); err != nil {
		return fmt.Errorf("%s: %w", s, err)
	}
	return nil
}

func (s *tarSink) write(ctx context.Context, a image.Artifact) error {
	if s.w != nil {
		return writeTar(ctx, a, "", s.w)
	}
	if s.path == "" {
		return errNowhere
	}
	switch fi, err := os.Stat(s.path); {
	case err == nil && fi.IsDir():
		return errors.New("it is a directory; name a file in it, or use rootfs.Dir")
	case err == nil && !fi.Mode().IsRegular():
		return errors.New("it is not a regular file; name a new file")
	}
	undo, err := atomicfile.MakeParents(s.path)
	if err != nil {
		return err
	}
	file, err := atomicfile.Create(s.path)
	if err != nil {
		undo()
		return err
	}
	if err := writeTar(ctx, a, filepath.Dir(s.path), file); err != nil {
		file.Discard()
		undo()
		return err
	}
	return file.Commit()
}

// writeTar writes one tar with everything. Names come in order whatever the order
// of the images is.
func writeTar(ctx context.Context, a image.Artifact, temp string, w io.Writer) error {
	out := bufio.NewWriterSize(w, 1<<20)
	all := tree.Edit(nil)
	var flats []*flat
	defer func() {
		for _, f := range flats {
			f.close()
		}
	}()
	err := collect(ctx, a, temp, func(below string, f *flat) error {
		flats = append(flats, f)
		if below == "" {
			all = tree.Edit(f.root)
			return nil
		}
		return all.Graft().Put(below, f.root)
	})
	if err != nil {
		return err
	}
	open := func(d tree.Digest) (rc io.ReadCloser, err error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for _, f := range flats {
			if rc, err = f.open(d); !errors.Is(err, fs.ErrNotExist) {
				return rc, err
			}
		}
		return nil, err
	}
	if err := layertar.Write(out, tree.Diff(tree.Edit(nil).Tree(), all.Tree()), open); err != nil {
		return err
	}
	return out.Flush()
}

// each calls do with the files of every image, one at a time.
func each(ctx context.Context, a image.Artifact, temp string, do func(below string, f *flat) error) error {
	return collect(ctx, a, temp, func(below string, f *flat) error {
		defer f.close()
		return do(below, f)
	})
}

// collect unpacks every image and gives it away; below is the directory of its
// platform, empty for the image that is alone.
func collect(ctx context.Context, a image.Artifact, temp string, give func(below string, f *flat) error) error {
	if a.Index == nil || a.Image != nil {
		if a.Image == nil {
			return image.ErrArtifact
		}
		f, err := flatten(ctx, a.Image, temp)
		if err != nil {
			return err
		}
		return give("", f)
	}
	m, err := a.Index.IndexManifest()
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, d := range m.Manifests {
		if d.Platform == nil || !d.MediaType.IsImage() || content.Attached(d) {
			continue // what belongs to an image and is none
		}
		img, err := a.Index.Image(d.Digest)
		if err != nil {
			return err
		}
		below := directory(*d.Platform)
		if seen[below] {
			return fmt.Errorf("the index has two images for %s", d.Platform)
		}
		seen[below] = true
		f, err := flatten(ctx, img, temp)
		if err != nil {
			return fmt.Errorf("%s: %w", d.Platform, err)
		}
		if err := give(below, f); err != nil {
			return fmt.Errorf("%s: %w", d.Platform, err)
		}
	}
	return nil
}

// directory names a platform as a path element: "linux_arm_v7".
func directory(p v1.Platform) string {
	full := platform.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
	return strings.NewReplacer("/", "_", `\`, "_").Replace(full.String())
}
