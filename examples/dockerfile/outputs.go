package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/daemon"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/image/rootfs"
)

// outputTypes are what --output takes.
const outputTypes = "oci, docker, podman, containerd, kind, local, tar or registry"

// formFields are the fields of --output that say how manifests and layers are stored.
var formFields = [...]string{"compression", "compression-level", "force-compression", "oci-mediatypes"}

// sinks are where the image goes, and how its layers are stored for that.
func (f *flags) sinks(stdout io.Writer, o *stagewright.Options) error {
	var stored []string // what outputs say of the form
	for _, text := range f.outputs {
		m := output(text)
		list, err := f.sink(m, stdout)
		if says := slices.ContainsFunc(formFields[:], func(field string) bool { return m[field] != "" }); err == nil && says {
			err = compression(m, o)
			stored = append(stored, fmt.Sprint(o.Compression, o.MediaTypes))
		}
		if err != nil {
			return fmt.Errorf("--output %s: %w", text, err)
		}
		o.Sinks = append(o.Sinks, list...)
	}
	if len(slices.Compact(stored)) > 1 {
		return fmt.Errorf("--output: an image has one form for all outputs; give one of them %s, or all the same", strings.Join(formFields[:], ", "))
	}
	if f.push {
		list, err := f.pushes(f.tags)
		if err != nil {
			return fmt.Errorf("--push: %w", err)
		}
		o.Sinks = append(o.Sinks, list...)
	}
	if f.load {
		o.Sinks = append(o.Sinks, daemon.DockerWith(daemon.Options{Env: os.LookupEnv}, f.tags...))
	}
	return nil
}

func (f *flags) sink(m map[string]string, stdout io.Writer) ([]image.Sink, error) {
	if err := unknown("fields", m, append([]string{"type", "dest", "name", "push", "tar", "cluster"}, formFields[:]...)...); err != nil {
		return nil, err
	}
	kind, dest, names := m["type"], m["dest"], f.tags
	if m["name"] != "" {
		names = strings.Split(m["name"], ",")
	}
	needs := slices.Contains([]string{"oci", "local", "tar"}, kind)
	if dest == "" && needs {
		return nil, errors.New("no dest=…: where should it go?")
	}
	host := daemon.Options{Env: os.LookupEnv}
	switch kind {
	case "oci":
		if m["tar"] == "true" || m["tar"] == "" && strings.HasSuffix(dest, ".tar") {
			return []image.Sink{archive.OCI(dest, names...)}, nil
		}
		return []image.Sink{layout.Dir(dest, names...)}, nil
	case "docker":
		if dest == "" {
			return []image.Sink{daemon.DockerWith(host, names...)}, nil
		}
		return []image.Sink{archive.Docker(dest, names...)}, nil
	case "podman":
		return []image.Sink{daemon.PodmanWith(host, names...)}, nil
	case "containerd":
		return []image.Sink{daemon.ContainerdWith(host, names...)}, nil
	case "kind":
		return []image.Sink{daemon.KindWith(m["cluster"], host, names...)}, nil
	case "local":
		return []image.Sink{rootfs.DirWith(dest, rootfs.Options{Merge: true})}, nil
	case "tar":
		if dest == "-" {
			return []image.Sink{rootfs.TarTo(stdout)}, nil
		}
		return []image.Sink{rootfs.Tar(dest)}, nil
	case "image":
		if m["push"] != "true" {
			return nil, errors.New("there is no daemon that an image could stay in; add push=true, or use type=oci, or type=docker for the Docker daemon")
		}
		return f.pushes(names)
	case "registry":
		return f.pushes(names)
	}
	return nil, fmt.Errorf("unknown type %q; want %s", kind, outputTypes)
}

// compression is how an output wants layers to be stored.
func compression(m map[string]string, o *stagewright.Options) error {
	c := image.Compression{Force: m["force-compression"] == "true"}
	switch m["compression"] {
	case "", "gzip":
	case "zstd":
		c.Format = image.Zstd
	case "uncompressed":
		c.Format = image.Uncompressed
	default:
		return fmt.Errorf("compression %q; want gzip, zstd or uncompressed", m["compression"])
	}
	if text := m["compression-level"]; text != "" {
		level, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("compression-level %q is not a number", text)
		}
		c.Level = level
	}
	o.Compression, o.MediaTypes = c, image.OCI
	if m["oci-mediatypes"] == "false" {
		o.MediaTypes = image.Docker
	}
	return nil
}

// output reads the value of --output, with docker's short forms: a directory, or "-" for a tar.
func output(text string) map[string]string {
	switch {
	case text == "-":
		return map[string]string{"type": "tar", "dest": "-"}
	case !strings.Contains(text, "="):
		return map[string]string{"type": "local", "dest": text}
	}
	return fields(text)
}

func (f *flags) pushes(names []string) ([]image.Sink, error) {
	if len(names) == 0 {
		return nil, errors.New("the image has no name to push; give one with -t")
	}
	// Tags of one repository are one push.
	var repositories []string
	tags := map[string][]string{}
	for _, text := range names {
		r, err := name.NewTag(text, name.WeakValidation)
		if err != nil {
			return nil, err
		}
		at := r.Context().Name()
		if len(tags[at]) == 0 {
			repositories = append(repositories, at)
		}
		tags[at] = append(tags[at], r.TagStr())
	}
	var sinks []image.Sink
	for _, at := range repositories {
		sinks = append(sinks, registry.Push(at+":"+tags[at][0], tags[at][1:]...))
	}
	return sinks, nil
}

// toStdout reports whether the standard output is taken by an output.
func (f *flags) toStdout() bool {
	for _, text := range f.outputs {
		if output(text)["dest"] == "-" {
			return true
		}
	}
	return false
}

// writeResult writes the files that --iidfile and --metadata-file name.
func (f *flags) writeResult(res *stagewright.Result) error {
	if f.iidFile == "" && f.metadataFile == "" {
		return nil
	}
	raw, d, err := res.Artifact().Manifest()
	if err != nil {
		return err
	}
	meta := map[string]any{"containerimage.digest": d.Digest.String(), "containerimage.descriptor": d}
	if len(f.tags) > 0 {
		meta["image.name"] = strings.Join(f.tags, ",")
	}
	var config string
	if d.MediaType.IsImage() {
		var m v1.Manifest
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		config = m.Config.Digest.String()
		meta["containerimage.config.digest"] = config
	}
	if f.iidFile != "" {
		// An image is known by its configuration, an index by itself.
		if err := os.WriteFile(f.iidFile, []byte(cmp.Or(config, d.Digest.String())), 0o644); err != nil {
			return err
		}
	}
	if f.metadataFile == "" {
		return nil
	}
	text, err := json.MarshalIndent(meta, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(f.metadataFile, append(text, '\n'), 0o644)
}
