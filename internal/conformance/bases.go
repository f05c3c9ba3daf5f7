package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/tools/txtar"

	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/platform"
)

// Registry is the name under which cases know the bases: bases.test/shell.
const Registry = "bases.test"

// Base is one base image.
type Base struct {
	Name      string
	Platforms []string // in the order of the index; one for an image that is no index
	Images    map[string]v1.Image

	from    string
	toolbox bool
	rootfs  *txtar.Archive
	config  []byte
}

// Bases are the base images of the cases. They are safe for concurrent use.
type Bases struct {
	byName map[string]*Base
	shell  toolbox.Binary
}

// LoadBases makes the bases that the files of a directory describe. The toolbox is compiled, where it was not yet, into cacheDir.
func LoadBases(ctx context.Context, dir, cacheDir string) (*Bases, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil {
		return nil, err
	}
	b := &Bases{byName: map[string]*Base{}}
	if b.shell, err = toolbox.Build(ctx, cacheDir); err != nil {
		return nil, err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		base, err := parseBase(strings.TrimSuffix(filepath.Base(file), ".txtar"), data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		b.byName[base.Name] = base
	}
	for _, name := range b.Names() {
		if err := b.make(b.byName[name], 0); err != nil {
			return nil, fmt.Errorf("base %s: %w", name, err)
		}
	}
	return b, nil
}

// Names returns the names of the bases, sorted.
func (b *Bases) Names() []string { return slices.Sorted(maps.Keys(b.byName)) }

// Base returns one base, nil when there is none of the name.
func (b *Bases) Base(name string) *Base { return b.byName[name] }

// Add adds an image for linux/amd64 that was made elsewhere.
func (b *Bases) Add(name string, img v1.Image) {
	b.byName[name] = &Base{Name: name, Platforms: []string{"linux/amd64"}, Images: map[string]v1.Image{"linux/amd64": img}}
}

func parseBase(name string, data []byte) (*Base, error) {
	archive := txtar.Parse(data)
	base := &Base{Name: name, Platforms: []string{"linux/amd64"}, Images: map[string]v1.Image{}, rootfs: &txtar.Archive{}}
	for line := range strings.Lines(string(archive.Comment)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, value, _ := strings.Cut(line, ": ")
		switch key {
		case "from":
			base.from = value
		case "toolbox":
			base.toolbox = value == "yes"
		case "platforms":
			base.Platforms = strings.Fields(value)
		default:
			return nil, fmt.Errorf("unknown setting %q", line)
		}
	}
	for _, f := range archive.Files {
		if f.Name == "config.json" {
			base.config = f.Data
			continue
		}
		base.rootfs.Files = append(base.rootfs.Files, f)
	}
	return base, nil
}

func (b *Bases) make(base *Base, depth int) error {
	if len(base.Images) > 0 {
		return nil
	}
	if depth > len(b.byName) {
		return errors.New("cycle")
	}
	parent := b.byName[base.from]
	if parent != nil {
		if err := b.make(parent, depth+1); err != nil {
			return err
		}
	} else if base.from != "" {
		return fmt.Errorf("no base %s", base.from)
	}
	for _, text := range base.Platforms {
		p, err := platform.Parse(text)
		if err != nil {
			return err
		}
		below := empty.Image
		if parent != nil {
			below = parent.Images[text]
		}
		if base.Images[text], err = b.image(base, p, below); err != nil {
			return err
		}
	}
	return nil
}

// image makes the image of a base for one platform.
func (b *Bases) image(base *Base, p platform.Platform, below v1.Image) (v1.Image, error) {
	set, err := b.files(base, p)
	if err != nil {
		return nil, err
	}
	img := below
	if len(set.list) > 0 {
		layer, err := newLayer(set)
		if err != nil {
			return nil, err
		}
		img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{
			Created: v1.Time{Time: bornAt()}, CreatedBy: "files of the base " + base.Name,
		}})
		if err != nil {
			return nil, err
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Variant = p.OS, p.Architecture, p.Variant
	file.Created = v1.Time{Time: bornAt()}
	if base.config != nil {
		file.Config = v1.Config{}
		d := json.NewDecoder(bytes.NewReader(bytes.ReplaceAll(base.config, []byte("{platform}"), []byte(p.String()))))
		d.DisallowUnknownFields()
		if err := d.Decode(&file.Config); err != nil {
			return nil, fmt.Errorf("config.json: %w", err)
		}
		file.History = append(file.History, v1.History{
			Created: v1.Time{Time: bornAt()}, CreatedBy: "config of the base " + base.Name, EmptyLayer: true,
		})
	}
	return mutate.ConfigFile(img, file)
}

func newLayer(set *fileset) (v1.Layer, error) {
	var packed bytes.Buffer
	if err := set.writeTar(&packed, set.sorted()); err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed.Bytes())), nil }
	return tarball.LayerFromOpener(open, tarball.WithCompressedCaching, tarball.WithCompression(compression.GZip), tarball.WithCompressionLevel(1))
}

// files are those of the toolbox and those that the description names.
func (b *Bases) files(base *Base, p platform.Platform) (*fileset, error) {
	c := &Case{dirs: map[string]*fileset{}, own: map[string][]byte{}}
	set := c.dir("rootfs")
	if base.toolbox {
		if err := b.addToolbox(set); err != nil {
			return nil, err
		}
	}
	var archive txtar.Archive
	for _, f := range base.rootfs.Files {
		if f.Name == "modes" {
			f.Name = "rootfs.modes"
		}
		f.Data = bytes.ReplaceAll(f.Data, []byte("{platform}"), []byte(p.String()))
		archive.Files = append(archive.Files, f)
	}
	if err := c.files(archive.Files); err != nil {
		return nil, err
	}
	return set, nil
}

func (b *Bases) addToolbox(set *fileset) error {
	root := b.shell.Files()
	return fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." || path == "etc/passwd" || path == "etc/group" {
			return err // a base has users of its own
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		e := &entry{path: path, mode: uint32(fi.Mode().Perm())}
		if fi.Mode()&fs.ModeSticky != 0 {
			e.mode |= 0o1000
		}
		switch fi.Mode().Type() {
		case fs.ModeDir:
			e.kind = kindDir
		case fs.ModeSymlink:
			e.kind = kindLink
			e.target, err = fs.ReadLink(root, path)
		default:
			e.kind = kindFile
			if path == "bin/sh" {
				e.host = b.shell.Path
			} else {
				e.data, err = fs.ReadFile(root, path)
			}
		}
		if err != nil {
			return err
		}
		return set.add(e)
	})
}
