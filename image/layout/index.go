package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// index is an index.json under edit. Rows and fields that are not replaced keep their bytes, known to this program or not.
type index struct {
	raw    []byte // as read, nil when there was none
	fields map[string]json.RawMessage
	rows   []json.RawMessage
	descs  []v1.Descriptor // of rows
}

func readIndex(dir string) (*index, error) {
	x := &index{fields: map[string]json.RawMessage{}}
	raw, err := readFile(filepath.Join(dir, indexFile), image.MaxManifestSize)
	if errors.Is(err, fs.ErrNotExist) {
		x.fields["schemaVersion"] = json.RawMessage("2")
		x.fields["mediaType"] = json.RawMessage(`"` + types.OCIImageIndex + `"`)
		return x, nil
	}
	if err != nil {
		return nil, err
	}
	x.raw = raw
	if err := json.Unmarshal(raw, &x.fields); err != nil {
		return nil, fmt.Errorf("%s: %w", indexFile, err)
	}
	if x.fields == nil {
		return nil, fmt.Errorf("%s: null is no index", indexFile)
	}
	if rows, ok := x.fields["manifests"]; ok {
		if err := json.Unmarshal(rows, &x.rows); err != nil {
			return nil, fmt.Errorf("%s: manifests: %w", indexFile, err)
		}
	}
	x.descs = make([]v1.Descriptor, len(x.rows))
	for n, r := range x.rows {
		if err := json.Unmarshal(r, &x.descs[n]); err != nil {
			return nil, fmt.Errorf("%s: manifests[%d]: %w", indexFile, n, err)
		}
	}
	return x, nil
}

// put adds rows, each in the place of the first row for the same name.
func (x *index) put(rows []v1.Descriptor) error {
	for _, d := range rows {
		same := func(o v1.Descriptor) bool { return content.SameRow(o, d) }
		if n := countFunc(x.descs, same); content.Unnamed(d) && d.ArtifactType == "" && n > 1 {
			return fmt.Errorf("it has %d images without a name, and it is not clear which to replace; give the image a name", n)
		}
		b, err := json.Marshal(d)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(x.descs, same)
		if at < 0 {
			x.rows, x.descs = append(x.rows, b), append(x.descs, d)
			continue
		}
		if x.descs[at].Digest != d.Digest || !content.Unnamed(d) {
			x.rows[at] = b
		}
		x.descs[at] = d
		for n := len(x.descs) - 1; n > at; n-- {
			if same(x.descs[n]) {
				x.rows, x.descs = slices.Delete(x.rows, n, n+1), slices.Delete(x.descs, n, n+1)
			}
		}
	}
	return nil
}

func countFunc[T any](s []T, f func(T) bool) (n int) {
	for _, v := range s {
		if f(v) {
			n++
		}
	}
	return n
}

// write replaces index.json, unless it would not change.
func (x *index) write(dir string) (changed bool, err error) {
	rows, err := json.Marshal(x.rows)
	if err != nil {
		return false, err
	}
	x.fields["manifests"] = rows
	b, err := x.encode()
	if err != nil {
		return false, err
	}
	if len(b) > image.MaxManifestSize {
		return false, fmt.Errorf("%s would have %d bytes, the limit is %d; use a new directory", indexFile, len(b), image.MaxManifestSize)
	}
	if bytes.Equal(b, x.raw) {
		return false, nil
	}
	return true, writeFile(filepath.Join(dir, indexFile), b)
}

// encode writes the fields in the order of the specification, and those that it does not have behind them by name.
func (x *index) encode() ([]byte, error) {
	known := []string{"schemaVersion", "mediaType", "manifests"}
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(x.fields)), func(name string) bool { return slices.Contains(known, name) })
	var b bytes.Buffer
	sep := byte('{')
	for _, name := range append(known, others...) {
		v, ok := x.fields[name]
		if !ok {
			continue
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		b.WriteByte(sep)
		sep = ','
		b.Write(key)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, nil
}
