package executortest_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/executortest"
	"github.com/stagewright/stagewright/stage/source"
)

func TestFilesOnly(t *testing.T) {
	executortest.Test(t, func(*testing.T) stage.Executor { return filesOnly{} }, executortest.Options{FilesOnly: true, NoCache: true})
}

// filesOnly is an executor that makes files and runs nothing: each step is a
// fstest.MapFS, whose Sys has the owner. It keeps nothing between builds.
type filesOnly struct{}

type filesResult struct {
	graph   *stage.Graph
	files   []fstest.MapFS // after each step
	outputs []stage.Output
	failed  []stage.PlatformFailure
	errs    []error // why there is nothing after a step
	report  stage.Report
}

func (r *filesResult) Outputs() []stage.Output { return r.outputs }
func (r *filesResult) Report() stage.Report    { return r.report }
func (r *filesResult) Close() error            { return nil }

func (r *filesResult) Failed() []stage.PlatformFailure { return r.failed }

func (r *filesResult) Files(step int) (fs.FS, error) {
	if step < 0 || step >= len(r.files) || r.files[step] == nil {
		return nil, fmt.Errorf("%w: step %d", stage.ErrUnknownStage, step)
	}
	return r.files[step], nil
}

func (filesOnly) Execute(ctx context.Context, g *stage.Graph, q stage.Request) (stage.Result, error) {
	r := &filesResult{graph: g, errs: make([]error, len(g.Steps()))}
	for _, s := range g.Steps() {
		base, _ := s.Op.(*stage.BaseOp)
		if _, run := s.Op.(*stage.RunOp); run || base != nil && base.Ref != "" {
			r.errs[s.ID] = stage.Errors{s.Fail(stage.ErrUnsupported, "use an executor that runs programs and has base images")}
		}
		if err := r.errs[s.ID]; err != nil && !q.Partial {
			return nil, err
		}
	}
	tell := q.Progress
	if tell == nil {
		tell = func(stage.Event) {}
	}
	for _, s := range g.Steps() {
		err := r.below(s)
		if err == nil {
			err = r.step(ctx, s, q, tell)
		} else {
			r.files = append(r.files, nil)
		}
		if err != nil && (!q.Partial || ctx.Err() != nil) {
			return nil, err
		}
		if r.errs[s.ID] = err; err != nil {
			r.files[s.ID] = nil
		}
	}
	for _, t := range g.Targets() {
		if err := r.errs[t.Step]; err != nil {
			r.failed = append(r.failed, stage.PlatformFailure{Target: t, Platform: t.Platform, Err: err})
			continue
		}
		img, err := r.image(t)
		if err != nil {
			return nil, err
		}
		r.outputs = append(r.outputs, stage.Output{Target: t, Platform: t.Platform, Image: img})
	}
	if len(r.outputs) == 0 {
		return nil, r.failed[0].Err
	}
	return r, nil
}

// below is why a step cannot be done: it is refused, or something that it needs failed.
func (r *filesResult) below(s *stage.Step) error {
	needs := append([]int{s.ID}, s.Inputs...)
	if s.Parent >= 0 {
		needs = append(needs, s.Parent)
	}
	for _, id := range needs {
		if r.errs[id] != nil {
			return r.errs[id]
		}
	}
	return nil
}

// step adds the files after a step, and tells about it.
func (r *filesResult) step(ctx context.Context, s *stage.Step, q stage.Request, tell func(stage.Event)) error {
	start, files := time.Now(), fstest.MapFS{}
	if s.Parent >= 0 {
		files = maps.Clone(r.files[s.Parent])
	}
	r.files = append(r.files, files)
	switch s.Op.(type) {
	case *stage.BaseOp, *stage.ConfigOp, *stage.ArgOp, *stage.NeedsOp:
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	tell(stage.StepStarted{Step: s, Time: start})
	rep := stage.StepReport{Step: s.ID, Stage: s.Stage, Platform: s.Platform.String(), Text: s.Text, Status: stage.Ran}
	err := r.apply(ctx, s, q, files)
	rep.Duration = time.Since(start)
	if err != nil {
		failed := s.Fail(err, "")
		rep.Status = stage.Failed
		tell(stage.StepFinished{Step: s, StepReport: rep, Err: failed})
		return failed
	}
	for _, name := range r.changed(s) {
		if f := files[name]; f != nil {
			rep.Files, rep.Bytes = rep.Files+1, rep.Bytes+int64(len(f.Data))
		}
	}
	tell(stage.StepFinished{Step: s, StepReport: rep})
	r.report.Steps = append(r.report.Steps, rep)
	r.report.Duration += rep.Duration
	return nil
}

// apply does what a step asks for to the files.
func (r *filesResult) apply(ctx context.Context, s *stage.Step, q stage.Request, to fstest.MapFS) error {
	switch op := s.Op.(type) {
	case *stage.FileOp:
		return put(to, op.Path, &fstest.MapFile{Data: op.Content, Mode: mode(op.Mode), Sys: op.Owner})
	case *stage.SymlinkOp:
		return put(to, op.Path, &fstest.MapFile{Data: []byte(op.Target), Mode: fs.ModeSymlink | 0o777})
	case *stage.MkdirOp:
		return mkdir(to, follow(to, op.Path), &fstest.MapFile{Mode: fs.ModeDir | mode(op.Mode), Sys: op.Owner})
	case *stage.WorkdirOp:
		return mkdir(to, follow(to, op.Path), &fstest.MapFile{Mode: fs.ModeDir | 0o755, Sys: op.User})
	case *stage.RemoveOp:
		at := path.Join(follow(to, path.Dir(op.Path)), path.Base(op.Path))
		if to[at] == nil && !op.Optional {
			return fmt.Errorf("%s: %w", op.Path, fs.ErrNotExist)
		}
		maps.DeleteFunc(to, func(name string, _ *fstest.MapFile) bool { return name == at || strings.HasPrefix(name, at+"/") })
	case *stage.CopyOp:
		from, err := r.source(ctx, s, op.From, q)
		if err != nil {
			return err
		}
		for _, pattern := range op.Paths {
			if err := copyPath(to, from, cmp.Or(strings.Trim(pattern, "/"), "."), op); err != nil {
				return err
			}
		}
	}
	return nil
}

// source are the files that a copy reads: of a step, or of this machine with the
// modes that every image has.
func (r *filesResult) source(ctx context.Context, s *stage.Step, from stage.Source, q stage.Request) (fstest.MapFS, error) {
	if len(s.Inputs) > 0 {
		return r.files[s.Inputs[0]], nil
	}
	if _, ok := from.(stage.ContextSource); ok {
		from = q.Context
	}
	var files source.Files
	var err error
	switch from := from.(type) {
	case stage.DirSource:
		files, err = source.Dir(from.Path, source.DirOptions{IgnoreFile: from.IgnoreFile, Ignore: from.Ignore})
	case stage.FSSource:
		files = source.FS(from.FS, from.Name)
	default:
		err = fmt.Errorf("the build has no context")
	}
	if err != nil {
		return nil, err
	}
	list, err := files.List(ctx)
	if err != nil {
		return nil, err
	}
	m := fstest.MapFS{}
	for _, e := range list {
		f := &fstest.MapFile{Mode: e.Mode.Type() | 0o644, Data: []byte(e.Link)}
		if e.Mode.IsDir() || e.Mode&0o100 != 0 {
			f.Mode |= 0o111
		}
		if e.Mode.IsRegular() {
			rc, err := files.Open(e.Path)
			if err != nil {
				return nil, err
			}
			var b bytes.Buffer
			_, err = b.ReadFrom(rc)
			rc.Close()
			if f.Data = b.Bytes(); err != nil {
				return nil, err
			}
		}
		m[e.Path] = f
	}
	return m, nil
}
