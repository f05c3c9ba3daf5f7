package interop

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/interop/listing"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/platform"
)

// built is a finished build, and what every program must find in it.
type built struct {
	artifact image.Artifact
	digest   string // of the index
	images   []builtImage
}

// builtImage is the image of one platform.
type builtImage struct {
	platform  platform.Platform
	image     v1.Image
	digest    string // of the manifest
	id        string // digest of the configuration
	mediaType types.MediaType
	config    []byte
	file      image.File
	files     listing.Tree
}

// describe reads out of a build what it is.
func describe(t testing.TB, res *stagewright.Result) *built {
	t.Helper()
	b := &built{artifact: res.Artifact()}
	var err error
	if b.digest, err = res.Digest(); err != nil {
		t.Fatal(err)
	}
	for i, out := range res.Outputs() {
		files, err := res.Files(res.Graph().Targets()[i].Step)
		if err != nil {
			t.Fatal(err)
		}
		one, err := describeImage(out.Image)
		if err != nil {
			t.Fatal(err)
		}
		one.platform = out.Platform
		if one.files, err = list(files); err != nil {
			t.Fatal(err)
		}
		b.images = append(b.images, one)
	}
	return b
}

func describeImage(img v1.Image) (builtImage, error) {
	b := builtImage{image: img}
	digest, err := img.Digest()
	if err != nil {
		return b, err
	}
	id, err := img.ConfigName()
	if err != nil {
		return b, err
	}
	if b.mediaType, err = img.MediaType(); err != nil {
		return b, err
	}
	b.digest, b.id = digest.String(), id.String()
	if b.config, err = img.RawConfigFile(); err != nil {
		return b, err
	}
	b.file, err = image.ParseFile(b.config)
	return b, err
}

// list describes the files of a result as listing.Read does those of a directory.
func list(files fs.FS) (listing.Tree, error) {
	all := listing.Tree{}
	groups := map[uint64]string{}
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		node, ok := info.Sys().(*tree.Node)
		if !ok {
			return fmt.Errorf("%s: no node", name)
		}
		at := path.Join("/", name)
		if listing.AddedByEngines(at) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		all[at], err = describeNode(files, name, at, node, groups)
		return err
	})
	all.DropSingles()
	return all, err
}

func describeNode(files fs.FS, name, at string, node *tree.Node, groups map[uint64]string) (listing.Entry, error) {
	meta := node.Meta()
	e := listing.Entry{Mode: node.FileMode().String(), Owner: listing.Owner(meta.UID, meta.GID)}
	for _, x := range meta.Xattrs {
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[x.Name] = strconv.Quote(string(x.Value))
	}
	if node.IsDir() {
		return e, nil
	}
	e.Modified = time.Unix(0, meta.Mtime).Unix()
	switch node.Kind() {
	case tree.File:
		e.Size = node.Size()
		if g := node.Group(); g != 0 {
			if groups[g] == "" {
				groups[g] = at
			}
			e.SameFile = groups[g]
		}
		f, err := files.Open(name)
		if err != nil {
			return e, err
		}
		defer f.Close()
		if e.SHA256, err = listing.Hash(f); err != nil {
			return e, fmt.Errorf("%s: %w", name, err)
		}
	case tree.Symlink:
		e.Target = node.Target()
	case tree.CharDevice, tree.BlockDevice:
		e.Device = listing.Device(node.Device())
	}
	return e, nil
}

// sameFiles compares what a program unpacked with what was built.
func sameFiles(t testing.TB, what string, want, got listing.Tree) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: other files (-built +read):\n%s", what, diff)
	}
}

// equal compares one thing that a program says.
func equal(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-built +read):\n%s", what, diff)
	}
}
