package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

// GoSource writes the stages of a case, which was written to dir, as Go source.
func (b *Builder) GoSource(ctx context.Context, c *Case, dir string, o dockerfile.GoOptions) ([]byte, error) {
	target, options, err := b.stage(c, dir)
	if err != nil {
		return nil, err
	}
	g, err := stage.Compile(ctx, []stage.Stage{target}, stage.Options{
		Args: options.Args, Platforms: options.Platforms, Run: options.Run, Labels: options.Labels, OnBuild: options.OnBuild,
		Resolver: resolver{registry.NewClient(options.Registry)},
	})
	if err != nil {
		return nil, err
	}
	return dockerfile.GoSource(g, o)
}

// Digest builds a case and returns the digests of its images. The stages are those of the Dockerfile, or target when it is given.
func (b *Builder) Digest(ctx context.Context, c *Case, dir string, target func() stage.Stage) (string, error) {
	s, options, err := b.stage(c, dir)
	if err != nil {
		return "", err
	}
	if target != nil {
		s = target()
		options.OnBuild = dockerfile.OnBuild
	}
	res, err := stagewright.Build(ctx, s, options)
	if err != nil {
		return "", err
	}
	var digests []string
	for _, o := range res.Outputs() {
		d, err := o.Image.Digest()
		if err != nil {
			return "", errors.Join(err, res.Close())
		}
		digests = append(digests, d.String())
	}
	return strings.Join(digests, " "), res.Close()
}

// Program is what the program that is made of generated source does: it builds each case, written to dir by another process, from the Go stages and writes a line "NAME
// DIGEST", or "NAME error: MESSAGE".
func Program(ctx context.Context, w io.Writer, data, dir, cache string, targets map[string]func() stage.Stage) error {
	cases, err := LoadCases(filepath.Join(data, "cases"))
	if err != nil {
		return err
	}
	bases, err := LoadBases(ctx, filepath.Join(data, "bases"), "")
	if err != nil {
		return err
	}
	handler, err := bases.Serve(ctx)
	if err != nil {
		return err
	}
	b := &Builder{Bases: handler, CacheDir: cache, Dumper: &Dumper{Bases: bases}}
	for _, c := range cases {
		target := targets[c.Name]
		if target == nil {
			continue
		}
		result, err := b.Digest(ctx, c, filepath.Join(dir, c.Dir()), target)
		if err != nil {
			result = "error: " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		if _, err := fmt.Fprintf(w, "%s %s\n", c.Name, result); err != nil {
			return err
		}
	}
	return nil
}

// Dir is the name of a directory for the case.
func (c *Case) Dir() string { return strings.ReplaceAll(c.Name, "/", "-") }

type resolver struct{ client *registry.Client }

// Resolve asks the registry.
func (r resolver) Resolve(ctx context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	found, err := r.client.Resolve(ctx, ref, p)
	if err != nil {
		return stage.BaseImage{}, err
	}
	file, err := image.FileOf(found.Image)
	return stage.BaseImage{Name: found.Ref, Digest: digest.Digest(found.Digest.String()), File: file}, err
}
