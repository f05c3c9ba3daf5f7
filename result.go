package stagewright

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// Result is a finished build: an image or an index, the files of every stage, and
// a report. It holds a lease on the cache until Close; what it handed out is valid
// until then.
type Result struct {
	stage.Result
	graph      *stage.Graph
	outputs    []stage.Output
	failed     []stage.PlatformFailure
	artifact   image.Artifact
	deliveries []image.Delivery
	delivered  []bool // of each sink: it has the image
	exports    []CacheDelivery
	close      func() error
}

// assemble joins the outputs to the image or index that the sinks get.
func (r *Result) assemble(o Options) error {
	r.outputs = slices.Clone(r.Result.Outputs())
	origin := o.originAnnotations(r.Result)
	bases := make([]map[string]string, len(r.outputs))
	for i, out := range r.outputs {
		var base map[string]string
		base, bases[i] = baseAnnotations(r.graph, out.Target)
		var err error
		if r.outputs[i].Image, err = o.manifest(out.Image, annotate(base, origin)); err != nil {
			return err
		}
	}
	if len(r.outputs)+len(r.failed) == 1 {
		r.artifact.Image = r.outputs[0].Image
		return nil
	}
	children := make([]image.Child, len(r.outputs))
	for i, out := range r.outputs {
		children[i] = image.Child{Image: out.Image, Platform: out.Platform}
	}
	index, err := image.NewIndex(children, o.indexAnnotations(annotate(common(bases), origin)))
	r.artifact.Index = index
	return err
}

// Outputs returns the images, one for each platform that was built.
func (r *Result) Outputs() []stage.Output { return slices.Clone(r.outputs) }

// Failed returns the platforms that could not be built, in the order of
// Options.Platforms. It is empty without Options.Partial.
func (r *Result) Failed() []stage.PlatformFailure { return slices.Clone(r.failed) }

// Artifact returns what sinks are given: the image, or the index of several
// platforms.
func (r *Result) Artifact() image.Artifact { return r.artifact }

// Image returns the image of a build for one platform. For an index it is an
// error: use Outputs or Artifact.
func (r *Result) Image() (v1.Image, error) {
	if r.artifact.Image == nil {
		return nil, fmt.Errorf("stagewright: the build has %d platforms; use Result.Outputs or Result.Artifact", len(r.outputs)+len(r.failed))
	}
	return r.artifact.Image, nil
}

// Digest returns the digest of the image or index: "sha256:…".
func (r *Result) Digest() (string, error) {
	d, err := r.artifact.Digest()
	return d.String(), err
}

// Graph returns what was built.
func (r *Result) Graph() *stage.Graph { return r.graph }

// Config returns the configuration of the first output's image. Changing it changes
// nothing else.
func (r *Result) Config() image.Config { return r.graph.Steps()[r.target()].Config.Clone() }

// FS returns the files of the first output.
func (r *Result) FS() (fs.FS, error) { return r.Files(r.target()) }

// target is the last step of the first output.
func (r *Result) target() int { return r.outputs[0].Target.Step }

// FilesOf returns the files at the end of any stage of the build, on the platform
// of the first output. Reading one file out of a stage is fs.ReadFile of it. The error wraps
// stage.ErrUnknownStage when the build did not need the stage.
func (r *Result) FilesOf(s stage.Stage) (fs.FS, error) {
	step, err := r.step(s)
	if err != nil {
		return nil, err
	}
	return r.Files(step)
}

// OutputOf returns what the last Run step of a stage wrote; the step must have the option
// stage.Capture. Configuration steps after it do not matter.
func (r *Result) OutputOf(s stage.Stage) (stage.RunOutput, error) {
	id, err := r.step(s)
	if err != nil {
		return stage.RunOutput{}, err
	}
	steps := r.graph.Steps()
	for at := id; at >= 0; at = steps[at].Parent {
		if _, ok := steps[at].Op.(*stage.RunOp); ok {
			return stage.OutputOf(r.Result, at)
		}
	}
	return stage.RunOutput{}, fmt.Errorf("%w: %s has no Run step", stage.ErrUnknownStage, s)
}

// Explain tells why the steps of the build were done: what differs from the nearest steps of
// earlier builds. See stage.ExplainResult, and [Explain], which tells it without building.
func (r *Result) Explain(ctx context.Context) ([]stage.Explanation, error) {
	return stage.ExplainResult(ctx, r.Result)
}

func (r *Result) step(s stage.Stage) (int, error) {
	step, ok := r.graph.Step(s, r.Platform())
	if !ok {
		return 0, fmt.Errorf("%w: %s is no part of this build", stage.ErrUnknownStage, s)
	}
	return step, nil
}

// Platform returns the platform of the first output.
func (r *Result) Platform() platform.Platform { return r.outputs[0].Platform }

// Run runs the image's own command, or another one, in a sandbox on top of the
// files of the first output. Its writes are thrown away. The error is a
// *stage.ExitError when the command fails, and wraps stage.ErrUnsupported when the
// executor cannot run programs.
func (r *Result) Run(ctx context.Context, p stage.Process) error {
	return stage.RunProcess(ctx, r.Result, r.target(), p)
}

// Close releases the result and what was opened for it.
func (r *Result) Close() error {
	err := r.Result.Close()
	if r.close != nil {
		err = errors.Join(err, r.close())
	}
	return err
}
