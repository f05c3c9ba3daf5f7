package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/atomicfile"
	"github.com/stagewright/stagewright/image/internal/content"
)

const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	blobsDir   = "blobs"
	version    = `{"imageLayoutVersion":"1.0.0"}`
)

// ErrNotLayout is the error of a path that holds something else than an OCI image layout. Nothing in it was touched.
var ErrNotLayout = errors.New("not an OCI image layout")

type sink struct {
	path string
	refs []string
}

// Dir returns a sink that writes to the OCI image layout in the directory path, under the given names.
//
// A path that does not exist is created, with its parents. An empty directory becomes a layout. An existing layout is updated: a name
// that it has is moved to the new image, other names stay. Anything else is refused with an error that wraps [ErrNotLayout].
//
// A name is written as for `docker tag`: "app" is docker.io/library/app:latest. The row in index.json has the whole name in
// io.containerd.image.name and the tag in org.opencontainers.image.ref.name, so that `skopeo copy oci:PATH:TAG` finds it. Without
// names the layout's one row without a name is written or replaced; an artifact that is no image (see [image.NewAttachment]) gets a row of
// its own beside it, which [Read] finds by its digest.
//
// The sink is an [image.Reporter].
func Dir(path string, refs ...string) image.Sink {
	return &sink{path, slices.Clone(refs)}
}

// String says where the sink writes.
func (s *sink) String() string { return "OCI layout " + s.path }

// Write implements [image.Sink].
func (s *sink) Write(ctx context.Context, a image.Artifact) error {
	_, err := s.Deliver(ctx, a, nil)
	return err
}

// Check implements [image.Checker].
func (s *sink) Check() error {
	_, err := s.names()
	if err != nil {
		return fmt.Errorf("OCI layout %s: %w", s.path, err)
	}
	return nil
}

// names are those that the image gets, if the sink can be written at all.
func (s *sink) names() ([]content.Name, error) {
	if s.path == "" {
		return nil, errors.New("no path; name a directory")
	}
	return content.ParseNames(s.refs)
}

// Deliver implements [image.Reporter].
func (s *sink) Deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	d := image.Delivery{Sink: s.String(), How: "there already"}
	w, err := s.write(ctx, a, tell, &d)
	if err != nil {
		return d, fmt.Errorf("OCI layout %s: %w", s.path, err)
	}
	if d.Blobs, d.Bytes, d.Skipped = w.blobs, w.bytes, w.skipped; w.blobs > 0 || w.changed {
		d.How = "written"
	}
	return d, nil
}

func (s *sink) write(ctx context.Context, a image.Artifact, tell func(image.Transfer), report *image.Delivery) (*blobWriter, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	report.Refs = content.FullNames(names)
	blobs, d, err := content.Collect(ctx, a)
	if err != nil {
		return nil, err
	}
	rows := content.Rows(d, names)
	st, err := inspect(s.path)
	if err != nil {
		return nil, err
	}
	if st == missing {
		w := &blobWriter{tell: tell}
		if err := create(ctx, s.path, w, blobs, rows); !errors.Is(err, errAppeared) {
			return w, err
		}
	}
	w := &blobWriter{tell: tell}
	return w, update(ctx, s.path, w, blobs, rows)
}

type state int

const (
	missing state = iota // no such path
	blank                // a directory without anything
	layout               // a layout, perhaps without an index yet
)

// inspect tells what is at path, and fails when it is nothing to write a layout to.
func inspect(path string) (state, error) {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return missing, nil
	}
	if err != nil {
		return 0, err
	}
	if !fi.IsDir() {
		return 0, fmt.Errorf("%w: it is a file; name a directory, or use image/archive to write one file", ErrNotLayout)
	}
	b, err := readFile(filepath.Join(path, layoutFile), 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return inspectOther(path)
	}
	if err != nil {
		return 0, err
	}
	var v struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ErrNotLayout, layoutFile, err)
	}
	if !strings.HasPrefix(v.Version, "1.") {
		return 0, fmt.Errorf("%w that can be written: its version is %q, want 1.x", ErrNotLayout, v.Version)
	}
	return layout, nil
}

// inspectOther tells an empty directory from one that holds something. What a killed process left behind counts as nothing.
func inspectOther(path string) (state, error) {
	d, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	for {
		found, err := d.Readdirnames(16)
		for _, name := range found {
			if !atomicfile.IsTemp(name) {
				return 0, fmt.Errorf("%w: the directory has %q and no %s file; choose an empty or a new directory", ErrNotLayout, name, layoutFile)
			}
		}
		if errors.Is(err, io.EOF) {
			return blank, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// errAppeared says that a path that was missing has been made by another process meanwhile.
var errAppeared = errors.New("the directory has appeared")

// create makes the layout under another name and gives it its name at the end.
func create(ctx context.Context, path string, w *blobWriter, blobs []content.Blob, rows []v1.Descriptor) (err error) {
	path = filepath.Clean(path)
	undo, err := atomicfile.MakeParents(path)
	if err != nil {
		return err
	}
	tmp := atomicfile.TempPath(filepath.Dir(path))
	defer func() {
		if err != nil {
			os.RemoveAll(tmp)
			undo()
		}
	}()
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return err
	}
	if err := fill(ctx, tmp, w, blobs, rows); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		if _, serr := os.Stat(path); serr == nil {
			return errAppeared
		}
		return err
	}
	atomicfile.SyncDir(filepath.Dir(path))
	return nil
}

// update writes into a directory that exists. When it fails, everything that it added is gone again.
func update(ctx context.Context, path string, w *blobWriter, blobs []content.Blob, rows []v1.Descriptor) error {
	unlock, alone, err := lock(ctx, path)
	if err != nil {
		return err
	}
	defer unlock()
	st, err := inspect(path) // again: another writer may have been here before the lock
	if err != nil {
		return err
	}
	if st == missing {
		return fmt.Errorf("%w: another program has removed the directory meanwhile", ErrNotLayout)
	}
	if alone {
		sweep(path)
	}
	err = fill(ctx, path, w, blobs, rows)
	if err != nil && st == blank {
		os.Remove(filepath.Join(path, blobsDir, "sha256"))
		os.Remove(filepath.Join(path, blobsDir))
		os.Remove(filepath.Join(path, layoutFile))
	}
	return err
}

// sweep removes what writers that were killed have left behind. The caller has the lock, so nobody is writing it.
func sweep(path string) {
	dirs := []string{path}
	algorithms, _ := os.ReadDir(filepath.Join(path, blobsDir))
	for _, a := range algorithms {
		dirs = append(dirs, filepath.Join(path, blobsDir, a.Name()))
	}
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if atomicfile.IsTemp(e.Name()) && e.Type().IsRegular() {
				os.Remove(filepath.Join(dir, e.Name()))
			}
		}
	}
}

// fill brings the layout in dir up to date. oci-layout comes first, so that a directory in which the machine stopped half-way is known
// for what it is, and index.json last.
func fill(ctx context.Context, dir string, w *blobWriter, blobs []content.Blob, rows []v1.Descriptor) (err error) {
	if _, err := os.Lstat(filepath.Join(dir, layoutFile)); errors.Is(err, fs.ErrNotExist) {
		if err := writeFile(filepath.Join(dir, layoutFile), []byte(version)); err != nil {
			return err
		}
	}
	idx, err := readIndex(dir)
	if err != nil {
		return err
	}
	if err := idx.put(rows); err != nil {
		return err
	}
	w.dir = dir
	if err = w.writeAll(ctx, blobs); err == nil {
		w.changed, err = idx.write(dir)
	}
	if err != nil {
		w.undo()
	}
	return err
}

func writeFile(path string, b []byte) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		f.Discard()
		return err
	}
	return f.Commit()
}
