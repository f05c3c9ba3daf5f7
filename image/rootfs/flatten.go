package rootfs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
)

// flat is the files of an image: the tree of all its layers, and their bytes in
// unpacked layers.
type flat struct {
	root   *tree.Node
	layers []layer
}

type layer struct {
	file *os.File
	open tree.Opener
}

// flatten unpacks the layers of an image into temporary files in dir.
func flatten(ctx context.Context, img v1.Image, dir string) (_ *flat, err error) {
	if err := content.Container(img); err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	f := &flat{root: tree.Edit(nil).Tree()}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	for i, l := range layers {
		if err := f.add(ctx, l, dir); err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
	}
	return f, nil
}

func (f *flat) add(ctx context.Context, l v1.Layer, dir string) error {
	file, err := os.CreateTemp(dir, ".stagewright-*")
	if err != nil {
		return err
	}
	os.Remove(file.Name()) // so that it goes with the process, where an open file can lose its name
	f.layers = append(f.layers, layer{file: file})
	rc, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer rc.Close()
	w := bufio.NewWriterSize(file, 1<<20)
	index, err := layertar.Read(io.TeeReader(content.NewReader(ctx, rc), w), layertar.Limits{})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	want, err := l.DiffID()
	if err != nil {
		return err
	}
	if got := index.DiffID.String(); got != want.String() {
		return fmt.Errorf("its contents are %s, not %s as the image says", got, want)
	}
	f.layers[len(f.layers)-1].open = index.Opener(file)
	f.root, err = index.Apply(f.root)
	return err
}

// open finds the bytes of a file in the layers.
func (f *flat) open(d tree.Digest) (io.ReadCloser, error) {
	for i := len(f.layers) - 1; i >= 0; i-- {
		rc, err := f.layers[i].open(d)
		if !errors.Is(err, fs.ErrNotExist) {
			return rc, err
		}
	}
	return nil, fmt.Errorf("content %s: %w", d, fs.ErrNotExist)
}

func (f *flat) close() {
	for _, l := range f.layers {
		l.file.Close()
		os.Remove(l.file.Name())
	}
}
