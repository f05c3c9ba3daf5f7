package live

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/tonistiigi/fsutil"

	"github.com/stagewright/stagewright/internal/conformance"
	"github.com/stagewright/stagewright/internal/conformance/live/buildkitd"
)

// buildError is a build that BuildKit refused or failed at.
type buildError struct{ message string }

func (e *buildError) Error() string { return e.message }

// build builds a case, which was written to dir, and returns its images, one a platform; they are valid as long as out is there. The error is
// a *buildError when BuildKit says so.
func build(ctx context.Context, d *buildkitd.Daemon, c *conformance.Case, dir, out string) ([]v1.Image, error) {
	conn, err := client.New(ctx, d.Address())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	options := client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: map[string]string{},
		LocalMounts:   map[string]fsutil.FS{},
		// BuildKit updates what it has of the context of an earlier build with the same key: cases must not share it.
		SharedKey: dir,
		Exports:   []client.ExportEntry{{Type: client.ExporterOCI, Attrs: map[string]string{"tar": "false"}, OutputDir: out}},
	}
	if err := addCase(&options, c, dir); err != nil {
		return nil, err
	}
	progress := make(chan *client.SolveStatus)
	go func() {
		for range progress {
		}
	}()
	if _, err := conn.Solve(ctx, nil, options, progress); err != nil {
		if strings.HasPrefix(err.Error(), "failed to solve") && ctx.Err() == nil {
			return nil, &buildError{portable(err.Error())}
		}
		return nil, err
	}
	index, err := layout.ImageIndexFromPath(out)
	if err != nil {
		return nil, err
	}
	return imagesOf(index)
}

// imagesOf returns the images of an index, and of the indexes in it, in their order.
func imagesOf(index v1.ImageIndex) ([]v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	var images []v1.Image
	for _, m := range manifest.Manifests {
		if m.MediaType.IsIndex() {
			inner, err := index.ImageIndex(m.Digest)
			if err != nil {
				return nil, err
			}
			more, err := imagesOf(inner)
			if err != nil {
				return nil, err
			}
			images = append(images, more...)
			continue
		}
		img, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	if len(images) == 0 {
		return nil, errors.New("an index without images")
	}
	return images, nil
}

var (
	refName  = regexp.MustCompile(`of ref [^ ]+: `)
	mountDir = regexp.MustCompile(`/[^ ]*/cachemounts/buildkit[0-9]+`)
)

// portable leaves out of a message what differs from build to build: the names of snapshots and the directories where they are mounted.
func portable(message string) string {
	return mountDir.ReplaceAllString(refName.ReplaceAllString(message, "of REF: "), "ROOT")
}

// addCase adds what a case asks for.
func addCase(options *client.SolveOpt, c *conformance.Case, dir string) error {
	contextDir := filepath.Join(dir, "context")
	dockerfileDir := dir
	if _, err := os.Stat(filepath.Join(dir, c.File)); err != nil {
		dockerfileDir = contextDir
	}
	mounts := map[string]string{"context": contextDir, "dockerfile": dockerfileDir}
	attrs := options.FrontendAttrs
	attrs["filename"] = c.File
	attrs["platform"] = c.Platform
	if c.Target != "" {
		attrs["target"] = c.Target
	}
	if _, syntax, _, ok := parser.DetectSyntax(c.Dockerfile); ok {
		attrs["cmdline"] = syntax // the frontend inside the daemon takes it for what the syntax line names
	}
	for _, a := range c.Args {
		attrs["build-arg:"+a.Name] = a.Value
	}
	for _, l := range c.Labels {
		attrs["label:"+l.Name] = l.Value
	}
	if len(c.Hosts) > 0 {
		var hosts []string
		for _, h := range c.Hosts {
			hosts = append(hosts, h.Name+"="+h.Value)
		}
		attrs["add-hosts"] = strings.Join(hosts, ",")
	}
	if c.Network != "" {
		attrs["force-network-mode"] = c.Network
	}
	for i, named := range c.Contexts {
		switch {
		case strings.Contains(named.Value, "://"):
			attrs["context:"+named.Name] = named.Value
		case strings.HasPrefix(named.Value, conformance.Registry+"/"):
			attrs["context:"+named.Name] = "docker-image://" + named.Value
		default:
			local := fmt.Sprintf("named%d", i)
			attrs["context:"+named.Name] = "local:" + local
			mounts[local] = filepath.Join(dir, filepath.FromSlash(named.Value))
		}
	}
	for name, path := range mounts {
		mount, err := fsutil.NewFS(path)
		if err != nil {
			return err
		}
		options.LocalMounts[name] = mount
	}
	secrets := map[string][]byte{}
	for _, s := range c.Secrets {
		secrets[s.Name] = []byte(s.Value)
	}
	options.Session = append(options.Session, secretsprovider.FromMap(secrets))
	return nil
}
