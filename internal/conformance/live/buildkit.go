package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagewright/stagewright/internal/conformance"
)

// buildError is a build that BuildKit refused or failed at.
type buildError struct{ message string }

func (e *buildError) Error() string { return e.message }

// build builds a case, which was written to dir, and returns its images, one a platform; they are valid as long as out is there. The error is a *buildError
// when BuildKit says so.
func (d *daemon) build(ctx context.Context, c *conformance.Case, dir, out string) ([]v1.Image, error) {
	args := []string{
		"--addr", d.address(), "build", "--progress=plain", "--frontend=dockerfile.v0",
		"--output=type=oci,tar=false,dest=" + out,
	}
	args = append(args, d.caseArgs(c, dir)...)
	secrets, err := secretArgs(c, dir)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, d.path("bin", "buildctl"), append(args, secrets...)...)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if message, ok := failure(log.String()); ok && errors.As(err, &exit) {
			return nil, &buildError{message}
		}
		return nil, fmt.Errorf("buildctl: %w\n%s", err, log.Bytes())
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

// failure finds the message behind the log of buildctl.
func failure(log string) (string, bool) {
	i := strings.LastIndex(log, "\nerror: ")
	if i < 0 {
		if !strings.HasPrefix(log, "error: ") {
			return "", false
		}
		return portable(strings.TrimPrefix(log, "error: ")), true
	}
	return portable(log[i+len("\nerror: "):]), true
}

var (
	refName  = regexp.MustCompile(`of ref [^ ]+: `)
	mountDir = regexp.MustCompile(`/[^ ]*/cachemounts/buildkit[0-9]+`)
)

// portable leaves out of a message what differs from build to build: the names of snapshots and the directories where they are mounted.
func portable(message string) string {
	return mountDir.ReplaceAllString(refName.ReplaceAllString(message, "of REF: "), "ROOT")
}

func (d *daemon) caseArgs(c *conformance.Case, dir string) []string {
	contextDir := filepath.Join(dir, "context")
	dockerfileDir := dir
	if _, err := os.Stat(filepath.Join(dir, c.File)); err != nil {
		dockerfileDir = contextDir
	}
	args := []string{"--local=context=" + contextDir, "--local=dockerfile=" + dockerfileDir}
	opt := func(name, value string) { args = append(args, "--opt="+name+"="+value) }
	opt("filename", c.File)
	opt("platform", c.Platform)
	if c.Target != "" {
		opt("target", c.Target)
	}
	if _, syntax, _, ok := parser.DetectSyntax(c.Dockerfile); ok {
		opt("cmdline", syntax) // the frontend inside the daemon takes it for what the syntax line names
	}
	for _, a := range c.Args {
		opt("build-arg:"+a.Name, a.Value)
	}
	for _, l := range c.Labels {
		opt("label:"+l.Name, l.Value)
	}
	if len(c.Hosts) > 0 {
		var hosts []string
		for _, h := range c.Hosts {
			hosts = append(hosts, h.Name+"="+h.Value)
		}
		opt("add-hosts", strings.Join(hosts, ","))
	}
	if c.Network != "" {
		opt("force-network-mode", c.Network)
	}
	for i, named := range c.Contexts {
		if strings.Contains(named.Value, "://") {
			opt("context:"+named.Name, named.Value)
			continue
		}
		if strings.HasPrefix(named.Value, conformance.Registry+"/") {
			opt("context:"+named.Name, "docker-image://"+named.Value)
			continue
		}
		local := fmt.Sprintf("named%d", i)
		opt("context:"+named.Name, "local:"+local)
		args = append(args, "--local="+local+"="+filepath.Join(dir, filepath.FromSlash(named.Value)))
	}
	return args
}

func secretArgs(c *conformance.Case, dir string) ([]string, error) {
	var args []string
	for i, s := range c.Secrets {
		path := filepath.Join(dir, fmt.Sprintf("secret%d", i))
		if err := os.WriteFile(path, []byte(s.Value), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--secret=id="+s.Name+",src="+path)
	}
	return args, nil
}
