package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/atomicfile"
	"github.com/stagewright/stagewright/image/internal/content"
)

// Directory is an OCI image layout for who keeps something else in it than images: manifests under tags, and the blobs that they name. What
// the package promises of several writers at once, and of a writer that is killed, holds. Other rows of the layout are left as they are.
//
// Its methods may be called at the same time. Errors wrap [ErrNotLayout], [ErrNotFound] and those of the file system.
type Directory struct{ path string }

// OpenDirectory returns the layout at path, which need not be there before the first [Directory.Put]. Nothing is read or made.
func OpenDirectory(path string) *Directory { return &Directory{filepath.Clean(path)} }

// String names the directory.
func (d *Directory) String() string { return "OCI layout " + d.path }

// wrap adds the directory to an error.
func (d *Directory) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", d, err)
}

// Tags returns the rows whose tag (org.opencontainers.image.ref.name) keep accepts, in the order of index.json. A directory that is missing
// or empty has none.
func (d *Directory) Tags(ctx context.Context, keep func(tag string) bool) ([]string, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	st, err := inspect(d.path)
	if err != nil || st != layout {
		return nil, d.wrap(err)
	}
	x, err := readIndex(d.path)
	if err != nil {
		return nil, d.wrap(err)
	}
	var tags []string
	for _, row := range x.descs {
		if tag := row.Annotations[content.RefName]; tag != "" && keep(tag) && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// Manifest reads and verifies the manifest that a tag or a digest names, of at most 4 MiB.
func (d *Directory) Manifest(ctx context.Context, ref string) ([]byte, v1.Descriptor, error) {
	raw, desc, err := d.manifest(ctx, ref)
	return raw, desc, d.wrap(err)
}

func (d *Directory) manifest(ctx context.Context, ref string) ([]byte, v1.Descriptor, error) {
	x, err := readIndex(d.path)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	desc, err := x.find(ref)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	raw, err := content.ReadManifest(ctx, source{d.path}, desc)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return raw, desc, err
}

// Blob opens the file of a blob for reading. Its length is checked, its bytes are not. The error wraps [ErrNotFound] when it is not there.
func (d *Directory) Blob(ctx context.Context, desc v1.Descriptor) (*os.File, error) {
	rc, err := source{d.path}.Open(ctx, desc, false)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, d.wrap(err)
	}
	return rc.(*os.File), nil
}

// Put adds blobs, and a manifest that names them under a tag. Everything appears at once, when all is on the disk; after an error what was there is there.
// A blob that is there, with the right bytes, is not opened.
func (d *Directory) Put(ctx context.Context, tag string, desc v1.Descriptor, raw []byte, blobs []image.Blob) (image.Delivery, error) {
	done := image.Delivery{Sink: d.String()}
	list := make([]content.Blob, 0, len(blobs)+1)
	for _, b := range append(slices.Clone(blobs), bytesBlob(desc, raw)) {
		if same := func(o content.Blob) bool { return o.Digest == b.Digest }; !slices.ContainsFunc(list, same) {
			list = append(list, content.Blob{Digest: b.Digest, Size: b.Size, Open: b.Open})
		}
	}
	desc.Annotations = map[string]string{content.RefName: tag}
	w := &blobWriter{}
	if err := d.put(ctx, w, list, []v1.Descriptor{desc}); err != nil {
		return done, d.wrap(err)
	}
	done.Blobs, done.Bytes, done.Skipped = w.blobs, w.bytes, w.skipped
	return done, nil
}

func (d *Directory) put(ctx context.Context, w *blobWriter, blobs []content.Blob, rows []v1.Descriptor) error {
	st, err := inspect(d.path)
	if err != nil {
		return err
	}
	if st == missing {
		if err := create(ctx, d.path, w, blobs, rows); !errors.Is(err, errAppeared) {
			return err
		}
		*w = blobWriter{}
	}
	return update(ctx, d.path, w, blobs, rows)
}

// Delete removes rows by their tags, and the blobs that only they named: those of their manifests that no other row's manifest names, nor the manifest of
// a child of an index. Where a manifest of another row cannot be read, blobs stay. A tag that is not there is no error.
func (d *Directory) Delete(ctx context.Context, tags []string) error {
	if st, err := inspect(d.path); err != nil || st != layout {
		return d.wrap(err)
	}
	unlock, _, err := lock(ctx, d.path)
	if err != nil {
		return d.wrap(err)
	}
	defer unlock()
	return d.wrap(d.delete(ctx, tags))
}

func (d *Directory) delete(ctx context.Context, tags []string) error {
	x, err := readIndex(d.path)
	if err != nil {
		return err
	}
	var gone []v1.Descriptor
	for n := len(x.descs) - 1; n >= 0; n-- {
		if row := x.descs[n]; row.Annotations[content.ImageName] == "" && slices.Contains(tags, row.Annotations[content.RefName]) {
			gone = append(gone, row)
			x.rows, x.descs = slices.Delete(x.rows, n, n+1), slices.Delete(x.descs, n, n+1)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	dead, alive := map[v1.Hash]bool{}, map[v1.Hash]bool{}
	for _, row := range gone {
		_ = reach(ctx, source{d.path}, row, 0, dead) // what cannot be read any more keeps its blobs
	}
	var unknown error
	for _, row := range x.descs {
		unknown = errors.Join(unknown, reach(ctx, source{d.path}, row, 0, alive))
	}
	if _, err := x.write(d.path); err != nil {
		return err
	}
	atomicfile.SyncDir(d.path)
	for h := range dead {
		if unknown == nil && !alive[h] {
			os.Remove(blobPath(d.path, h)) // what stays takes room, and does no harm
		}
	}
	return nil
}

// reach adds to found what a row stands for.
func reach(ctx context.Context, src source, row v1.Descriptor, depth int, found map[v1.Hash]bool) error {
	if found[row.Digest] {
		return nil
	}
	found[row.Digest] = true
	if !row.MediaType.IsIndex() && !row.MediaType.IsImage() {
		return nil
	}
	if depth == content.MaxDepth {
		return fmt.Errorf("indexes are nested more than %d deep", content.MaxDepth)
	}
	raw, err := content.ReadManifest(ctx, src, row)
	if err != nil {
		return err
	}
	children, err := children(row, raw)
	for _, c := range children {
		err = errors.Join(err, reach(ctx, src, c, depth+1, found))
	}
	return err
}

// children are the descriptors in a manifest or an index.
func children(row v1.Descriptor, raw []byte) ([]v1.Descriptor, error) {
	if row.MediaType.IsIndex() {
		x, err := v1.ParseIndexManifest(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		return x.Manifests, nil
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return append(m.Layers, m.Config), nil
}

func bytesBlob(d v1.Descriptor, raw []byte) image.Blob {
	return image.Blob{Digest: d.Digest, Size: d.Size, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(raw)), nil
	}}
}
