package executortest_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
)

// changed lists what a step changed, sorted; a path that is no longer there was
// removed.
func (r *filesResult) changed(s *stage.Step) (list []string) {
	after, before := r.files[s.ID], fstest.MapFS{}
	if s.Parent >= 0 {
		before = r.files[s.Parent]
	}
	for name := range maps.Keys(after) {
		if before[name] != after[name] {
			list = append(list, name)
		}
	}
	for name := range maps.Keys(before) {
		if dir := path.Dir(name); after[name] == nil && (dir == "." || after[dir] != nil) {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// image makes a layer of each step that changed something.
func (r *filesResult) image(t stage.Target) (v1.Image, error) {
	var layers []v1.Layer
	var history []image.History
	for id := t.Step; id >= 0; id = r.graph.Steps()[id].Parent {
		s := r.graph.Steps()[id]
		if s.History == "" {
			continue
		}
		list := r.changed(s)
		history = append(history, image.History{CreatedBy: s.History, EmptyLayer: len(list) == 0})
		if len(list) == 0 {
			continue
		}
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range list {
			if err := entry(w, name, r.files[id][name]); err != nil {
				return nil, err
			}
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.Bytes())), nil
		}, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	slices.Reverse(layers)
	slices.Reverse(history)
	return image.New(image.Spec{Layers: layers, File: image.File{
		OS: t.Platform.OS, Architecture: t.Platform.Architecture, Variant: t.Platform.Variant,
		Config: *r.graph.Steps()[t.Step].Config, History: history,
	}})
}

// entry writes one file to a layer; nil is the mark of a removed one.
func entry(w *tar.Writer, name string, f *fstest.MapFile) error {
	h := &tar.Header{Name: path.Join(path.Dir(name), ".wh."+path.Base(name)), Format: tar.FormatPAX}
	var content []byte
	if f != nil {
		h.Name, h.Mode = name, int64(f.Mode.Perm())
		for bit, flag := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
			if f.Mode&flag != 0 {
				h.Mode |= bit
			}
		}
		if owner, _ := f.Sys.(string); owner != "" {
			if _, err := fmt.Sscanf(owner, "%d:%d", &h.Uid, &h.Gid); err != nil {
				return fmt.Errorf("owner %q of %s: %w: names; write numbers", owner, name, stage.ErrUnsupported)
			}
		}
		switch {
		case f.Mode.IsDir():
			h.Typeflag = tar.TypeDir
		case f.Mode&fs.ModeSymlink != 0:
			h.Typeflag, h.Linkname = tar.TypeSymlink, string(f.Data)
		default:
			h.Size, content = int64(len(f.Data)), f.Data
		}
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
