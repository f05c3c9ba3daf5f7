package stagetest

import (
	"archive/tar"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// WantLayers wants the image to have n layers, those of its base included.
func (c *Checks) WantLayers(n int) *Checks {
	c.tb.Helper()
	layers, err := c.img.Layers()
	if err != nil {
		c.fatal("the layers", err)
	}
	if len(layers) != n {
		c.tb.Errorf("stagetest: the image has %d layers; want %d", len(layers), n)
	}
	return c
}

// WantLayer wants a layer to have exactly these paths, sorted: "/etc/app.conf", "/etc/.wh.passwd" for a file that it removes (OCI
// image specification, layer.md, "Whiteouts"), "/var/empty/" for a directory. Directories above another path of the layer are
// left out. Layers are counted from 0, the lowest, or from -1, the topmost.
func (c *Checks) WantLayer(i int, paths ...string) *Checks {
	c.tb.Helper()
	layers, err := c.img.Layers()
	if err != nil {
		c.fatal("the layers", err)
	}
	at := i
	if i < 0 {
		at = len(layers) + i
	}
	if at < 0 || at >= len(layers) {
		c.tb.Errorf("stagetest: there is no layer %d; the image has %d", i, len(layers))
		return c
	}
	got, err := pathsOf(layers[at])
	if err != nil {
		c.fatal("a layer", err)
	}
	want := list(paths)
	slices.Sort(want)
	c.diff("the paths of layer "+position(i), want, got)
	return c
}

// pathsOf lists the paths of a layer.
func pathsOf(l v1.Layer) (_ []string, err error) {
	rc, err := l.Uncompressed()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	above := map[string]bool{}
	var all []string
	for tr := tar.NewReader(rc); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		p := path.Clean("/" + h.Name)
		if h.Typeflag == tar.TypeDir {
			p = strings.TrimSuffix(p, "/") + "/"
		}
		all = append(all, p)
		for dir := path.Dir(strings.TrimSuffix(p, "/")); ; dir = path.Dir(dir) {
			above[strings.TrimSuffix(dir, "/")+"/"] = true
			if dir == "/" {
				break
			}
		}
	}
	paths := slices.DeleteFunc(all, func(p string) bool { return above[p] })
	slices.Sort(paths)
	return append([]string{}, slices.Compact(paths)...), nil
}
