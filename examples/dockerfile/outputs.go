package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/image/rootfs"
)

// outputTypes are what --output takes.
const outputTypes = "oci, docker, local, tar or registry"

// sinks are where the image goes.
func (f *flags) sinks(stdout io.Writer) ([]image.Sink, error) {
	var sinks []image.Sink
	for _, text := range f.outputs {
		list, err := f.sink(text, stdout)
		if err != nil {
			return nil, fmt.Errorf("--output %s: %w", text, err)
		}
		sinks = append(sinks, list...)
	}
	if f.push {
		list, err := f.pushes(f.tags)
		if err != nil {
			return nil, fmt.Errorf("--push: %w", err)
		}
		sinks = append(sinks, list...)
	}
	return sinks, nil
}

func (f *flags) sink(text string, stdout io.Writer) ([]image.Sink, error) {
	m := output(text)
	if err := unknown("fields", m, "type", "dest", "name", "push", "tar"); err != nil {
		return nil, err
	}
	kind, dest, names := m["type"], m["dest"], f.tags
	if m["name"] != "" {
		names = strings.Split(m["name"], ",")
	}
	if dest == "" && kind != "registry" && kind != "image" {
		return nil, errors.New("no dest=…: where should it go?")
	}
	switch kind {
	case "oci":
		if m["tar"] == "true" || m["tar"] == "" && strings.HasSuffix(dest, ".tar") {
			return []image.Sink{archive.OCI(dest, names...)}, nil
		}
		return []image.Sink{layout.Dir(dest, names...)}, nil
	case "docker":
		return []image.Sink{archive.Docker(dest, names...)}, nil
	case "local":
		return []image.Sink{rootfs.DirWith(dest, rootfs.Options{Merge: true})}, nil
	case "tar":
		if dest == "-" {
			return []image.Sink{rootfs.TarTo(stdout)}, nil
		}
		return []image.Sink{rootfs.Tar(dest)}, nil
	case "image":
		if m["push"] != "true" {
			return nil, errors.New("there is no daemon that an image could stay in; add push=true, or use type=oci")
		}
		return f.pushes(names)
	case "registry":
		return f.pushes(names)
	}
	return nil, fmt.Errorf("unknown type %q; want %s", kind, outputTypes)
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
	var sinks []image.Sink
	for _, name := range names {
		sinks = append(sinks, registry.Push(name))
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
