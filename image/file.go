package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// MaxFileSize is the largest config blob that is read, in bytes. The largest in public use have some 100 KiB.
const MaxFileSize = 4 << 20

// MaxManifestSize is the largest manifest or index that is read, in bytes. It is what registries accept
// (OCI distribution specification, "Pushing Manifests").
const MaxManifestSize = 4 << 20

// File is the whole config blob of an image: the platform, the [Config], the layers' diff IDs and the history
// (OCI image specification, config.md).
type File struct {
	Created      *time.Time // nil when the blob does not say
	Author       string
	Architecture string
	OS           string
	Variant      string
	OSVersion    string
	OSFeatures   []string
	Config       Config
	RootFS       v1.RootFS // of an image made by New: filled in by New
	History      []History

	// Extra has the fields of an existing blob that are not listed above, by their JSON name.
	Extra map[string]json.RawMessage
}

// History is one line of an image's history: how a layer came about, or a change of the config alone, which makes no layer.
type History struct {
	Created    *time.Time `json:"created,omitempty"`
	CreatedBy  string     `json:"created_by,omitempty"`
	Author     string     `json:"author,omitempty"`
	Comment    string     `json:"comment,omitempty"`
	EmptyLayer bool       `json:"empty_layer,omitempty"`
}

// fileJSON is what encoding/json sees of a File. The names are in the order in which BuildKit writes them, which is alphabetical.
type fileJSON struct {
	Architecture string     `json:"architecture"`
	Author       string     `json:"author,omitempty"`
	Config       Config     `json:"config"`
	Created      *time.Time `json:"created,omitempty"`
	History      []History  `json:"history,omitempty"`
	OS           string     `json:"os"`
	OSFeatures   []string   `json:"os.features,omitempty"`
	OSVersion    string     `json:"os.version,omitempty"`
	RootFS       v1.RootFS  `json:"rootfs"`
	Variant      string     `json:"variant,omitempty"`
}

func fileFields() []string {
	return []string{
		"architecture", "author", "config", "created", "history", "os", "os.features", "os.version", "rootfs", "variant",
	}
}

// ParseFile reads a config blob. It fails on more than [MaxFileSize] bytes, on anything that is not one JSON object, and on a diff ID
// that is no digest.
func ParseFile(b []byte) (File, error) {
	if len(b) > MaxFileSize {
		return File{}, fmt.Errorf("image config: %d bytes, the limit is %d", len(b), MaxFileSize)
	}
	var j *fileJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return File{}, fmt.Errorf("image config: not an OCI or Docker image configuration: %w", err)
	}
	if j == nil {
		return File{}, errors.New("image config: the blob is null, want a JSON object")
	}
	extra, err := unknownFields(b, fileFields())
	if err != nil {
		return File{}, fmt.Errorf("image config: %w", err)
	}
	return File{
		Created: j.Created, Author: j.Author, Architecture: j.Architecture, OS: j.OS, Variant: j.Variant, OSVersion: j.OSVersion,
		OSFeatures: j.OSFeatures, Config: j.Config, RootFS: j.RootFS, History: j.History, Extra: extra,
	}, nil
}

// FileOf reads the config blob of img. No layer is opened.
func FileOf(img v1.Image) (File, error) {
	b, err := img.RawConfigFile()
	if err != nil {
		return File{}, fmt.Errorf("image config: %w", err)
	}
	return ParseFile(b)
}

// Marshal returns the blob. Equal files have equal bytes.
func (f File) Marshal() ([]byte, error) {
	j := fileJSON{
		Created: f.Created, Author: f.Author, Architecture: f.Architecture, OS: f.OS, Variant: f.Variant, OSVersion: f.OSVersion,
		OSFeatures: f.OSFeatures, Config: f.Config, RootFS: f.RootFS, History: f.History,
	}
	if j.RootFS.Type == "" {
		j.RootFS.Type = "layers"
	}
	if j.RootFS.DiffIDs == nil {
		j.RootFS.DiffIDs = []v1.Hash{} // null is not a list to every reader
	}
	b, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	if len(f.Extra) == 0 {
		return b, nil
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	for name, v := range f.Extra {
		if isField(fileFields(), name) {
			return nil, fmt.Errorf("image config: Extra holds %q, which is a field of its own; set that field instead", name)
		}
		all[name] = v
	}
	if b, err = json.Marshal(all); err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	return b, nil
}

// Clone returns a copy that shares nothing with f.
func (f File) Clone() File {
	f.Created = cloneTime(f.Created)
	f.OSFeatures = slices.Clone(f.OSFeatures)
	f.Config = f.Config.Clone()
	f.RootFS.DiffIDs = slices.Clone(f.RootFS.DiffIDs)
	f.History = slices.Clone(f.History)
	for i := range f.History {
		f.History[i].Created = cloneTime(f.History[i].Created)
	}
	f.Extra = cloneExtra(f.Extra)
	return f
}

// Child returns the file that an image built on f starts with: a copy without the date and without what describes the making of f
// (Docker's container, container_config and docker_version, and the host name and terminal of the container in which it was made).
// History, layers, platform, author and every other field stay.
func (f File) Child() File {
	f = f.Clone()
	f.Created = nil
	dropFields(&f.Extra, []string{"container", "container_config", "docker_version", "id", "parent", "size", "throwaway"})
	dropFields(&f.Config.Extra, containerFields())
	return f
}

func dropFields(m *map[string]json.RawMessage, fields []string) {
	for name := range *m {
		if isField(fields, name) {
			delete(*m, name)
		}
	}
	if len(*m) == 0 {
		*m = nil
	}
}

func cloneTime(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	c := *t
	return &c
}
