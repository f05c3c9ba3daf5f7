package stagetest

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/rootfs"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
)

// Checks are assertions on one image: its configuration, its layers, its files. What is looked at is read when the first
// assertion needs it.
type Checks struct {
	tb    testing.TB
	img   v1.Image
	file  func() (image.File, error)
	files func() (fs.FS, error)
}

// Check returns assertions on an image from anywhere. Its files are unpacked into a file in tb.TempDir when an assertion needs
// them.
func Check(tb testing.TB, img v1.Image) *Checks {
	return newChecks(tb, img, func() (fs.FS, error) { return unpack(tb, img) })
}

func newChecks(tb testing.TB, img v1.Image, files func() (fs.FS, error)) *Checks {
	return &Checks{
		tb: tb, img: img, files: sync.OnceValues(files),
		file: sync.OnceValues(func() (image.File, error) { return image.FileOf(img) }),
	}
}

// In returns the same Checks for a subtest, which then is the one that fails.
func (c *Checks) In(tb testing.TB) *Checks {
	in := *c
	in.tb = tb
	return &in
}

// unpack joins the layers of an image, as tree.FS has them.
func unpack(tb testing.TB, img v1.Image) (fs.FS, error) {
	f, err := os.CreateTemp(tb.TempDir(), "files")
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { f.Close() })
	// Not tb.Context: assertions are also made by a Cleanup.
	if err := rootfs.TarTo(f).Write(context.WithoutCancel(tb.Context()), image.Artifact{Image: img}); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return nil, err
	}
	index, err := layertar.ReadArchive(f, layertar.Limits{})
	if err != nil {
		return nil, err
	}
	root, err := index.Apply(nil)
	if err != nil {
		return nil, err
	}
	return tree.FS(root, index.Opener(f)), nil
}

// diff reports that what is in the image differs from what is wanted.
func (c *Checks) diff(what string, want, got any) {
	c.tb.Helper()
	if d := cmp.Diff(want, got); d != "" {
		c.tb.Errorf("stagetest: %s (-want +got):\n%s", what, d)
	}
}

// diffText is diff for contents, line by line. What is too long to be read, or no text, is told by where it differs.
func (c *Checks) diffText(what, want, got string) {
	c.tb.Helper()
	const most = 256 << 10
	switch {
	case want == got:
	case len(want) > most || len(got) > most || !utf8.ValidString(want) || !utf8.ValidString(got):
		at := 0
		for at < len(want) && at < len(got) && want[at] == got[at] {
			at++
		}
		c.tb.Errorf("stagetest: %s differs from byte %d on: want %d bytes, %q there; got %d bytes, %q", what, at,
			len(want), piece(want[at:]), len(got), piece(got[at:]))
	case strings.Contains(want, "\n") || strings.Contains(got, "\n"):
		c.diff(what, strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n"))
	default:
		c.diff(what, want, got)
	}
}

func piece(s string) string { return s[:min(len(s), 32)] }

func (c *Checks) fatal(what string, err error) {
	c.tb.Helper()
	c.tb.Fatalf("stagetest: reading %s: %v", what, err)
}

func (c *Checks) config() image.Config {
	c.tb.Helper()
	f, err := c.file()
	if err != nil {
		c.fatal("the image's configuration", err)
	}
	return f.Config
}

// WantConfig wants the whole configuration.
func (c *Checks) WantConfig(want image.Config) *Checks {
	c.tb.Helper()
	c.diff("the configuration", want, c.config())
	return c
}

// WantEnv wants an environment variable to have a value.
func (c *Checks) WantEnv(name, value string) *Checks {
	c.tb.Helper()
	env := c.config().Env
	i := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
	if i < 0 {
		c.tb.Errorf("stagetest: the environment has no %s; it is %q", name, env)
		return c
	}
	c.diff("the variable "+name, value, env[i][len(name)+1:])
	return c
}

// WantNoEnv wants none of the environment variables to be set.
func (c *Checks) WantNoEnv(names ...string) *Checks {
	c.tb.Helper()
	for _, e := range c.config().Env {
		if name, _, _ := strings.Cut(e, "="); slices.Contains(names, name) {
			c.tb.Errorf("stagetest: the environment has %s", e)
		}
	}
	return c
}

// WantEntrypoint wants the entrypoint; without an argument, none.
func (c *Checks) WantEntrypoint(argv ...string) *Checks {
	c.tb.Helper()
	c.diff("the entrypoint", list(argv), list(c.config().Entrypoint))
	return c
}

// WantCmd wants the command; without an argument, none.
func (c *Checks) WantCmd(argv ...string) *Checks {
	c.tb.Helper()
	c.diff("the command", list(argv), list(c.config().Cmd))
	return c
}

// list makes nil and empty the same: in an image they are.
func list(argv []string) []string { return append([]string{}, argv...) }

// WantUser wants the user that the image runs as, as it was written.
func (c *Checks) WantUser(user string) *Checks {
	c.tb.Helper()
	c.diff("the user", user, c.config().User)
	return c
}

// WantWorkdir wants the working directory.
func (c *Checks) WantWorkdir(dir string) *Checks {
	c.tb.Helper()
	c.diff("the working directory", dir, c.config().WorkingDir)
	return c
}

// WantLabel wants a label to have a value.
func (c *Checks) WantLabel(key, value string) *Checks {
	c.tb.Helper()
	labels := c.config().Labels
	got, ok := labels[key]
	if !ok {
		c.tb.Errorf("stagetest: there is no label %s; the labels are %q", key, labels)
		return c
	}
	c.diff("the label "+key, value, got)
	return c
}

// WantAnnotation wants an annotation of the image's manifest to have a value.
func (c *Checks) WantAnnotation(key, value string) *Checks {
	c.tb.Helper()
	m, err := c.img.Manifest()
	if err != nil {
		c.fatal("the manifest", err)
	}
	got, ok := m.Annotations[key]
	if !ok {
		c.tb.Errorf("stagetest: there is no annotation %s; the annotations are %q", key, m.Annotations)
		return c
	}
	c.diff("the annotation "+key, value, got)
	return c
}

// WantPorts wants exactly these ports to be exposed: "8080/tcp".
func (c *Checks) WantPorts(ports ...string) *Checks {
	c.tb.Helper()
	want := list(ports)
	slices.Sort(want)
	got := []string{}
	for p := range c.config().ExposedPorts {
		got = append(got, p)
	}
	slices.Sort(got)
	c.diff("the exposed ports", want, got)
	return c
}

// WantAbsent wants nothing to be at the paths.
func (c *Checks) WantAbsent(paths ...string) *Checks {
	c.tb.Helper()
	files := c.open()
	for _, p := range paths {
		if info, err := fs.Lstat(files, inFS(p)); err == nil {
			c.tb.Errorf("stagetest: %s is there: %s", p, kind(info.Mode()))
		}
	}
	return c
}

// WantSame wants another image to have the same files, with modes and owners, and the same configuration. Layers and times may
// differ.
func (c *Checks) WantSame(other *Checks) *Checks {
	c.tb.Helper()
	c.diff("the configuration of the other image", c.config(), other.config())
	c.diff("the files of the other image", lines(c.listing()), lines(other.listing()))
	return c
}

// open returns the files.
func (c *Checks) open() fs.FS {
	c.tb.Helper()
	files, err := c.files()
	if err != nil {
		c.fatal("the image's files", err)
	}
	return files
}

// inFS is a path of an image as package fs writes it.
func inFS(p string) string {
	if p = strings.TrimPrefix(path.Clean("/"+p), "/"); p == "" {
		return "."
	}
	return p
}

// kind names what a mode is of.
func kind(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	}
	return fmt.Sprintf("%v", m)
}
