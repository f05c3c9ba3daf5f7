package local

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// result is a finished build. Its files are read through the session, which the
// result keeps open.
type result struct {
	s       *session
	ctx     context.Context // ends with Close: what Files still has to do stops then
	cancel  context.CancelCauseFunc
	outputs []stage.Output
	built   []bool // of each step: an output stands on it
	failed  []stage.PlatformFailure
	report  stage.Report

	closing sync.Mutex
	closed  bool
	uses    sync.WaitGroup // what Close waits for
}

func (r *result) Outputs() []stage.Output { return append([]stage.Output(nil), r.outputs...) }
func (r *result) Report() stage.Report    { return r.report }

var _ stage.PartialResult = (*result)(nil)

// Failed returns the targets that could not be built. See stage.FailedOf.
func (r *result) Failed() []stage.PlatformFailure { return slices.Clone(r.failed) }

// errResultClosed is found in the errors of a result that was closed, before a call or during it.
var errResultClosed = fmt.Errorf("local: the result: %w", fs.ErrClosed)

// Close ends what is still done for the result, such as a process, and waits for it.
func (r *result) Close() error {
	r.closing.Lock()
	r.closed = true
	r.closing.Unlock()
	r.cancel(errResultClosed)
	r.uses.Wait()
	return r.s.close()
}

// enter begins a use of a step, which Close waits for. It fails when there is nothing of
// the step.
func (r *result) enter(step int) (leave func(), err error) {
	r.closing.Lock()
	defer r.closing.Unlock()
	switch {
	case r.closed:
		return nil, errResultClosed
	case step < 0 || step >= len(r.s.steps):
		return nil, fmt.Errorf("%w: step %d of %d", stage.ErrUnknownStage, step, len(r.s.steps))
	case !r.built[step]:
		return nil, fmt.Errorf("%w: step %d is of a target that could not be built", stage.ErrUnknownStage, step)
	}
	r.uses.Add(1)
	return r.uses.Done, nil
}

// ContextOrigin tells the commit of a git context. See stage.ContextOrigin.
func (r *result) ContextOrigin() (stage.Origin, bool) {
	git := r.s.sources.origin
	if git == nil {
		return stage.Origin{}, false
	}
	return stage.Origin{URL: git.Remote(), Revision: git.Commit()}, true
}

// Files returns the files after a step as an fs.FS. Bytes are found when a file
// is opened.
func (r *result) Files(step int) (fs.FS, error) {
	leave, err := r.enter(step)
	if err != nil {
		return nil, err
	}
	defer leave()
	root, err := r.s.tree(r.ctx, nil, step)
	if err != nil {
		return nil, err
	}
	return tree.FS(root, func(digest tree.Digest) (io.ReadCloser, error) {
		leave, err := r.enter(step)
		if err != nil {
			return nil, err
		}
		defer leave()
		open, err := r.s.locate(r.ctx, nil, step, digest)
		if err != nil {
			return nil, err
		}
		return open()
	}), nil
}

// build evaluates the targets.
func (s *session) build(ctx context.Context) (*result, error) {
	targets := s.graph.Targets()
	inputs := make([]dag.Input[task, any], 0, len(targets))
	for i, t := range targets {
		inputs = append(inputs, dag.Input[task, any]{
			Key:  task{kind: kindImage, step: i},
			Task: func(ctx context.Context, d *demand) (any, error) { return s.target(ctx, d, i, t) },
		})
	}
	// The scheduler's root task joins the targets, so that the first failure
	// ends the others, unless a partial result is wanted.
	all, err := s.sched.Do(ctx, task{kind: kindImage, step: -1}, func(ctx context.Context, d *demand) (any, error) {
		return d.All(ctx, inputs...)
	})
	if err != nil {
		return nil, err
	}
	r := &result{s: s}
	r.ctx, r.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	good := []int{}
	for i, made := range all.([]any) {
		made := made.(built)
		if s.unbuilt[i] = made.err; made.err == nil {
			r.outputs = append(r.outputs, stage.Output{Target: targets[i], Platform: targets[i].Platform, Image: made.img})
			good = append(good, i)
		}
	}
	r.built = reach(s.graph, good)
	if r.failed, err = s.failures(); err != nil {
		r.cancel(nil)
		return nil, err
	}
	r.report = s.makeReport(r.built)
	return r, nil
}

// built is what became of a target.
type built struct {
	img v1.Image
	err error // why there is none, where others are wanted all the same
}

func (s *session) target(ctx context.Context, d *demand, i int, t stage.Target) (built, error) {
	if s.unbuilt[i] != nil {
		return built{err: s.unbuilt[i]}, nil
	}
	img, err := s.image(ctx, d, t)
	if err != nil && s.request.Partial && ctx.Err() == nil {
		return built{err: err}, nil
	}
	return built{img: img}, err
}

// makeReport lists every step that can have something to do. One that nothing asked for
// was covered by a later hit, or only a target that failed needs it.
func (s *session) makeReport(covered []bool) stage.Report {
	report := stage.Report{Duration: time.Since(s.started)}
	for _, step := range s.steps {
		if !reported(step.Op) {
			continue
		}
		s.reportMu.Lock()
		_, ok := s.reports[step.ID]
		s.reportMu.Unlock()
		if !ok && !covered[step.ID] {
			continue
		}
		if !ok {
			s.finish(step, stage.Hit, time.Time{}, record{}, nil)
		}
		s.reportMu.Lock()
		report.Steps = append(report.Steps, s.reports[step.ID])
		s.reportMu.Unlock()
	}
	return report
}

// imageRecord lists the layers of a stage, from the base up: nil for a unit without one.
// It lets an unchanged build look at nothing else.
type imageRecord struct {
	Layers []*layerRecord `json:"layers"`
	// Ran is when the steps with a limit of age ran that it stands on.
	Ran []int64 `json:"ran,omitempty"`
	// Keys are where the records of the layers are, by their changes.
	Keys []cache.Key `json:"keys,omitempty"`
}

// unit is what one line of an image's history tells: a step, or a group of steps.
type unit struct {
	step  int // the last step
	since int // of a group the step below it, else -1
}

// units cuts the steps of a target, from the first above its base, into what has a line
// of history each. Of groups inside each other the outermost counts.
func (s *session) units(chain []int) []unit {
	var list []unit
	for i := len(chain) - 1; i >= 0; i-- {
		step := s.steps[chain[i]]
		op, ok := step.Op.(*stage.LayerOp)
		if !ok {
			if step.History != "" {
				list = append(list, unit{step: step.ID, since: -1})
			}
			continue
		}
		list = append(list, unit{step: step.ID, since: op.Since})
		for i > 0 && chain[i-1] != op.Since {
			i--
		}
	}
	slices.Reverse(list)
	return list
}

// alwaysLayer reports whether an operation has a layer also when it changes nothing: as
// with BuildKit, of what is written as in a Dockerfile.
func alwaysLayer(op stage.Op) bool {
	switch op := op.(type) {
	case *stage.CopyOp:
		return op.Compatible
	case *stage.RunOp:
		return op.Compatible
	case *stage.WorkdirOp:
		return op.Compatible && op.Path != "/"
	}
	return false
}

// historyText is the line of a unit's history: marked when it has a layer, which
// BuildKit does not do with WORKDIR.
func (s *session) historyText(u unit, layer *layerRecord) string {
	step := s.steps[u.step]
	if op, ok := step.Op.(*stage.WorkdirOp); layer == nil || ok && op.Compatible {
		return step.History
	}
	return step.History + " # buildkit"
}

// hasLayer reports whether a unit can have a layer.
func (s *session) hasLayer(u unit) bool { return u.since >= 0 || changesFiles(s.steps[u.step].Op) }

// image makes the image of a target.
func (s *session) image(ctx context.Context, d *demand, t stage.Target) (v1.Image, error) {
	id := t.Step
	if err := s.pass(ctx, d, s.gates[id]); err != nil {
		return nil, err
	}
	chain, base := s.chain(id)
	units := s.units(chain)
	layers, err := s.imageLayers(ctx, d, id, units)
	if err != nil {
		return nil, err
	}
	baseImg, file, err := s.baseFile(ctx, s.steps[base])
	if err != nil {
		return nil, err
	}
	switch {
	case baseImg == nil:
	case s.opts.Compression.Force:
		if baseImg, err = s.recompressed(ctx, d, s.steps[base], baseImg); err != nil {
			return nil, s.steps[base].Fail(err, "")
		}
	default:
		baseImg = &storedBase{baseImg, s}
	}
	epoch := s.opts.Epoch
	file.Created = &epoch
	file.Config = s.steps[id].Config.Clone()
	declare(&file, t.Declared)
	file.Author = cmp.Or(s.steps[id].Author, file.Author)
	var list []v1.Layer
	for i, u := range units {
		if layers[i] != nil {
			list = append(list, s.layerImage(layers[i]))
		}
		by := s.historyText(u, layers[i])
		file.History = append(file.History, image.History{Created: &epoch, CreatedBy: by, Comment: "buildkit.dockerfile.v0", EmptyLayer: layers[i] == nil})
	}
	return image.New(image.Spec{Base: baseImg, Layers: list, File: file})
}

// declare makes a file say that its image is for a platform, by the rule of BuildKit: what
// the base says of variant and version stays where the platform leaves it open.
func declare(file *image.File, p platform.Platform) {
	if p.IsZero() {
		return
	}
	same := file.OS == p.OS && file.Architecture == p.Architecture
	file.OS, file.Architecture = p.OS, p.Architecture
	if p.Variant != "" || !same {
		file.Variant = p.Variant
	}
	if p.OSVersion != "" || !same {
		file.OSVersion = p.OSVersion
	}
}

// chain lists the steps of a target from the first above its base to the last, and
// names the base.
func (s *session) chain(id int) (chain []int, base int) {
	for ; s.steps[id].Parent >= 0; id = s.steps[id].Parent {
		chain = append(chain, id)
	}
	slices.Reverse(chain)
	return chain, id
}

// knownLayers returns the layer of each unit, nil for one without, when the cache has all of
// them, and else nothing; and the key under which it would.
func (s *session) knownLayers(ctx context.Context, id int, units []unit) ([]*layerRecord, cache.Key, error) {
	key := s.imageKey(id, units)
	if !slices.ContainsFunc(units, s.hasLayer) {
		return make([]*layerRecord, len(units)), key, nil // the configuration alone: of a base nothing is read
	}
	rec, ok, err := load[imageRecord](ctx, s, key)
	ruled, anew := s.rulesOf(id)
	if err == nil && ok && !anew && s.allFresh(ruled, rec.Ran) && len(rec.Layers) == len(units) && s.complete(ctx, rec) {
		return rec.Layers, key, nil
	}
	return nil, key, err
}

// imageKey is where the record of the layers is.
func (s *session) imageKey(id int, units []unit) cache.Key {
	key := cache.NewKey("image", 2).Key("files", s.keys[id]).String("compressor", s.opts.compressor().Name())
	for _, u := range units {
		key.Bool("layer", s.hasLayer(u)).Key("step", s.keys[u.step])
		if u.since >= 0 {
			key.Key("since", s.keys[u.since])
		}
	}
	ruled, _ := s.rulesOf(id)
	for _, step := range ruled {
		key.Key("limited", s.recipes[step.ID])
	}
	return key.Sum()
}

// imageLayers returns the layer of each unit, nil for one without.
func (s *session) imageLayers(ctx context.Context, d *demand, id int, units []unit) ([]*layerRecord, error) {
	known, key, err := s.knownLayers(ctx, id, units)
	if known != nil || err != nil {
		return known, err
	}
	// The stage is evaluated first, then its layers, side by side: those that were not begun when their steps were done.
	s.early.want(ctx, units)
	if _, err := s.outcome(ctx, d, id); err != nil {
		return nil, err
	}
	var inputs []dag.Input[task, any]
	var at []int
	for i, u := range units {
		if !s.hasLayer(u) {
			continue
		}
		at = append(at, i)
		inputs = append(inputs, dag.Input[task, any]{
			Key: task{kind: kindImageLayer, step: u.step},
			Task: func(ctx context.Context, d *demand) (any, error) {
				if u.since >= 0 {
					return s.groupLayer(ctx, d, u)
				}
				return s.layer(ctx, d, u.step)
			},
		})
	}
	all, err := d.All(ctx, inputs...)
	if err != nil {
		return nil, err
	}
	rec := imageRecord{Layers: make([]*layerRecord, len(units))}
	for i, l := range all {
		made := l.(*layerRecord)
		if rec.Layers[at[i]] = made; made != nil {
			rec.Keys = append(rec.Keys, made.key)
		}
	}
	ruled, _ := s.rulesOf(id)
	if rec.Ran, err = s.whenRan(ctx, d, ruled); err != nil {
		return nil, err
	}
	return rec.Layers, save(ctx, s, key, rec)
}

func (s *session) complete(ctx context.Context, rec imageRecord) bool {
	for _, l := range rec.Layers {
		if l != nil && !s.has(ctx, l) {
			return false
		}
	}
	return true
}
