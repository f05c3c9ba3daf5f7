package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"testing/fstest"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
)

// inMemory is a stage.Executor that knows inline files and copies between stages, and keeps everything in maps: enough to test stages
// that are made of those. What it cannot do it refuses before it does anything.
type inMemory struct{}

func (inMemory) Execute(ctx context.Context, g *stage.Graph, q stage.Request) (stage.Result, error) {
	r := &result{}
	var refused stage.Errors
	for _, s := range g.Steps() {
		files := fstest.MapFS{}
		if s.Parent >= 0 {
			maps.Copy(files, r.files[s.Parent]) // a step begins with the files of its parent
		}
		r.files = append(r.files, files)
		r.steps = append(r.steps, stage.StepReport{Step: s.ID, Stage: s.Stage, Text: s.Text, Status: stage.Ran})
		switch op := s.Op.(type) {
		case *stage.FileOp:
			files[strings.Trim(op.Path, "/")] = &fstest.MapFile{Data: op.Content, Mode: fs.FileMode(op.Mode).Perm()}
			continue
		case *stage.CopyOp:
			if len(s.Inputs) == 1 && len(op.Paths) == 1 && !strings.HasSuffix(op.Dest, "/") {
				if f := r.files[s.Inputs[0]][strings.Trim(op.Paths[0], "/")]; f != nil {
					files[strings.Trim(op.Dest, "/")] = f
					continue
				}
			}
		case *stage.BaseOp:
			if op.Ref == "" {
				continue
			}
		case *stage.ConfigOp, *stage.ArgOp, *stage.NeedsOp, *stage.WorkdirOp:
			continue // Step.Config has the outcome
		}
		refused = append(refused, s.Fail(stage.ErrUnsupported, "use inline files and copies of one file from a stage"))
	}
	if len(refused) > 0 {
		return nil, refused
	}
	for _, t := range g.Targets() {
		img, err := imageOf(r.files[t.Step], g.Steps()[t.Step], t)
		if err != nil {
			return nil, err
		}
		r.outputs = append(r.outputs, stage.Output{Target: t, Platform: t.Platform, Image: img})
	}
	return r, ctx.Err()
}

// imageOf packs the files into one layer.
func imageOf(files fstest.MapFS, s *stage.Step, t stage.Target) (v1.Image, error) {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := errors.Join(w.AddFS(files), w.Close()); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	file := image.File{OS: t.Platform.OS, Architecture: t.Platform.Architecture, Config: *s.Config, History: []image.History{{CreatedBy: "in memory"}}}
	return image.New(image.Spec{Layers: []v1.Layer{layer}, File: file})
}

// result is a stage.Result: the files after each step.
type result struct {
	files   []fstest.MapFS
	steps   []stage.StepReport
	outputs []stage.Output
}

func (r *result) Outputs() []stage.Output { return r.outputs }
func (r *result) Report() stage.Report    { return stage.Report{Steps: r.steps} }
func (r *result) Close() error            { return nil }
func (r *result) Files(step int) (fs.FS, error) {
	if step < 0 || step >= len(r.files) {
		return nil, fmt.Errorf("%w: step %d", stage.ErrUnknownStage, step)
	}
	return r.files[step], nil
}
