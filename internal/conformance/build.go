package conformance

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// Builder builds cases with stagewright. It is safe for concurrent use.
type Builder struct {
	Bases    http.Handler // what Bases.Serve returned
	CacheDir string
	Runner   sandbox.Runner // nil for the built-in one
	Dumper   *Dumper
}

// Dump builds a case that was written to dir and describes the images, files of the base left out. A build that fails is a Dump, too; the
// error is for what went wrong beside it.
func (b *Builder) Dump(ctx context.Context, c *Case, dir, base string) (dump *Dump, err error) {
	defer func() { // the other cases go on
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	target, options, err := b.stage(c, dir)
	if err != nil {
		return &Dump{Failure: err.Error()}, nil
	}
	res, err := stagewright.Build(ctx, target, options)
	if err != nil {
		return &Dump{Failure: err.Error()}, ctx.Err()
	}
	defer res.Close()
	var images []v1.Image
	for _, o := range res.Outputs() {
		images = append(images, o.Image)
	}
	dump, err = b.Dumper.Dump(images, base)
	return dump, errors.Join(err, res.Close())
}

// stage reads the Dockerfile of a case, and what docker build would have on its command line.
func (b *Builder) stage(c *Case, dir string) (stage.Stage, stagewright.Options, error) {
	file, path, err := c.parse(dir)
	if err != nil {
		return stage.Stage{}, stagewright.Options{}, err
	}
	target, err := file.Target(c.Target)
	if err != nil {
		return stage.Stage{}, stagewright.Options{}, err
	}
	options, err := b.options(c, dir)
	options.Context = c.context(dir, path)
	options.OnBuild = file.OnBuild
	return target, options, err
}

func (b *Builder) options(c *Case, dir string) (stagewright.Options, error) {
	platforms, err := platform.ParseSet(c.Platform)
	if err != nil {
		return stagewright.Options{}, err
	}
	o := stagewright.Options{
		Platforms: platforms, Args: arg.Values{}, Labels: map[string]string{}, Secrets: map[string]stage.Secret{},
		CacheDir: b.CacheDir, Runner: b.Runner,
		Registry: registry.Options{Transport: inProcess{b.Bases}},
	}
	for _, a := range c.Args {
		o.Args[a.Name] = a.Value
	}
	for _, l := range c.Labels {
		o.Labels[l.Name] = l.Value
	}
	for _, s := range c.Secrets {
		o.Secrets[s.Name] = stage.SecretValue(s.Value)
	}
	for _, h := range c.Hosts {
		o.Run = append(o.Run, stage.ExtraHost(h.Name, h.Value))
	}
	if c.Network != "" {
		o.Run = append(o.Run, stage.WithNetwork(stage.Network(c.Network)))
	}
	return o, nil
}

// parse reads the Dockerfile as it was written below dir.
func (c *Case) parse(dir string) (*dockerfile.File, string, error) {
	path := c.dockerfilePath(dir)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	o := dockerfile.Options{Contexts: map[string]stage.Source{}, ContextRefs: map[string]string{}}
	for _, named := range c.Contexts {
		if strings.Contains(named.Value, "://") || strings.HasPrefix(named.Value, Registry+"/") {
			o.ContextRefs[named.Name] = named.Value
			continue
		}
		o.Contexts[named.Name] = stage.Dir(filepath.Join(dir, filepath.FromSlash(named.Value)))
	}
	file, err := dockerfile.Parse(c.File, text, o)
	return file, path, err
}

// context is the build context with the ignore rules that count: those beside the Dockerfile, or else those of the context.
func (c *Case) context(dir, path string) stage.Source {
	root := stage.Dir(filepath.Join(dir, "context"))
	if rel, err := filepath.Rel(root.Path, path); err == nil && filepath.IsLocal(rel) {
		if _, ok := c.dir("context").content(c.File + ".dockerignore"); ok {
			root.IgnoreFile = rel + ".dockerignore"
		}
		return root
	}
	rules, ok := c.own[c.File+".dockerignore"]
	if !ok {
		return root
	}
	root.IgnoreFile = "-"
	for line := range strings.Lines(string(rules)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			root.Ignore = append(root.Ignore, line)
		}
	}
	return root
}
