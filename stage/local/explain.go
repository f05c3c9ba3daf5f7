package local

import (
	"context"
	"errors"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

var _ stage.Explainer = (*Executor)(nil)

// Explain tells why Execute would do the steps of g that it would do. See stage.Explain.
// Sources are read as Execute reads them, downloads of URLs and git repositories included.
// The nearest earlier step is, of those of the stage's earlier builds that did the same, stood
// on the same step or at the same place, the one with the fewest differing fields.
func (e *Executor) Explain(ctx context.Context, g *stage.Graph, r stage.Request) (list []stage.Explanation, err error) {
	r.Progress = nil
	s, err := e.open(ctx, g, r, nil)
	if err != nil {
		return nil, err
	}
	store := s.rehearse()
	defer func() { err = errors.Join(err, s.close(), store.close()) }()
	s.cacheOnly = true
	return newExplainer(s).explain(ctx)
}

// rehearse makes the session one that runs nothing and keeps what it computes to itself.
func (s *session) rehearse() *scratch {
	store := &scratch{below: s.opts.Store}
	s.opts.Store = store
	s.planning = true
	return store
}

// explainer explains the steps of a graph in their order, so that of each the steps below are
// explained.
type explainer struct {
	*session
	after   bool // the build is done: it says what it made
	found   []finding
	names   []historyName // of each step: whose history it is in
	places  []int         // and where, among those of the stage that change files
	infos   map[int]*recipeInfo
	records map[cache.Key]*earlier
	stages  map[historyName]*earlierStage
	others  *earlierStage // of all other histories; nil before it is needed
	claims  map[historyName]map[string]int
	guesses map[int]*tree.Node // of steps whose files are not known: what is
}

// finding is what there is to say of a step.
type finding struct {
	stage.Explanation
	changed bool // its result is another than that of earlier builds, or is made again
	runs    bool // something would run before its files are known
}

func newExplainer(s *session) *explainer {
	x := &explainer{
		session: s, found: make([]finding, len(s.steps)), infos: map[int]*recipeInfo{}, records: map[cache.Key]*earlier{},
		stages: map[historyName]*earlierStage{}, claims: map[historyName]map[string]int{}, guesses: map[int]*tree.Node{},
	}
	x.names, x.places = s.historyPlaces()
	return x
}

func (x *explainer) explain(ctx context.Context) ([]stage.Explanation, error) {
	looked, err := x.unfinished(ctx)
	if err != nil {
		return nil, err
	}
	for i, step := range x.steps {
		f := &x.found[i]
		f.Step, f.Status = step, stage.Hit
		switch {
		case !x.needed[i] || !looked[i]:
		case !changesFiles(step.Op):
			below := &x.found[step.Parent]
			f.changed, f.runs = below.changed, below.runs
		default:
			if err := x.step(ctx, step, f); err != nil {
				return nil, err
			}
		}
	}
	if err := x.layers(ctx); err != nil {
		return nil, err
	}
	return x.results(), nil
}

func (x *explainer) results() []stage.Explanation {
	list := []stage.Explanation{}
	above := x.graph.Above()
	for i, step := range x.steps {
		if x.needed[i] && reported(step.Op) {
			id := above[i]
			for id >= 0 && !reported(x.steps[id].Op) {
				id = above[id]
			}
			if id >= 0 {
				x.found[i].Above = x.steps[id]
			}
			list = append(list, x.found[i].Explanation)
		}
	}
	return list
}

func (x *explainer) step(ctx context.Context, step *stage.Step, f *finding) error {
	for _, id := range standing(step) {
		f.runs = f.runs || x.found[id].runs
	}
	rec, ok, err := load[record](ctx, x.session, x.recipes[step.ID])
	if err != nil {
		return err
	}
	op, isBase := step.Op.(*stage.BaseOp)
	switch {
	case isBase && (ok || op.Ref == ""):
		return nil
	case isBase:
		f.changed = true
		return x.compare(ctx, step, f)
	case ok:
		err = x.recorded(ctx, step, f, rec)
	default:
		f.changed = true
		if f.Status, err = x.byContents(ctx, step, f); err == nil {
			err = x.compare(ctx, step, f)
		}
	}
	if x.anew[step.ID] {
		f.Cause, f.changed, f.Differences, f.More, f.Local = stage.CauseBypassed, true, nil, 0, false
	}
	f.runs = f.Status != stage.Hit && (f.runs || byContent(step.Op))
	return err
}

// standing are the steps whose files a step continues or reads.
func standing(step *stage.Step) []int {
	if step.Parent < 0 {
		return nil
	}
	return append([]int{step.Parent}, step.Inputs...)
}

// byContents tells what becomes of a step that its recipe does not find.
func (x *explainer) byContents(ctx context.Context, step *stage.Step, f *finding) (stage.Status, error) {
	switch {
	case !byContent(step.Op) || x.anew[step.ID]:
		return stage.Ran, nil
	case f.runs:
		return "", nil
	}
	return x.planRun(ctx, step)
}

// recorded explains a step whose recipe has a record.
func (x *explainer) recorded(ctx context.Context, step *stage.Step, f *finding, rec record) (err error) {
	if x.isQuick(step.ID) {
		return nil // whatever the cache has lost of it, it is done
	}
	f.Earlier = &stage.EarlierStep{Text: shortened(step.Text, maxText), Made: madeAt(rec)}
	switch lost := x.lostOf(ctx, rec); {
	case !x.fresh(step, time.Unix(0, rec.Ran)):
		f.Cause = stage.CauseExpired
	case len(lost) > 0:
		f.Cause, f.Differences = stage.CauseLost, lost
	case f.runs:
		f.Cause = stage.CauseBelow
		x.standOn(ctx, step, f, nil)
	default:
		if f.Cause, f.Differences, err = x.onOthers(ctx, step, rec); err != nil {
			return err
		}
	}
	if f.Cause == "" {
		f.Earlier = nil
		return nil
	}
	f.changed = true
	f.Status, err = x.byContents(ctx, step, f)
	if f.Cause == stage.CauseBelow {
		f.Status = "" // whatever it does, its record counts when the files are the same
	}
	return err
}

// onOthers checks a record by the files that the step stands on.
func (x *explainer) onOthers(ctx context.Context, step *stage.Step, rec record) (stage.Cause, []stage.Difference, error) {
	on, parent, err := x.standsOn(ctx, nil, step)
	if errors.Is(err, errWouldRun) {
		return "", nil, nil // a base image that the cache has not got
	}
	if err != nil {
		return "", nil, err
	}
	if on != rec.On {
		return stage.CauseFiles, nil, nil // for example when the cache lost a step's result, and got another
	}
	changes, err := x.changes(ctx, rec)
	if err != nil {
		return "", nil, err
	}
	if !x.intact(ctx, &outcome{record: rec, changes: changes}, parent) {
		return stage.CauseLost, []stage.Difference{{Kind: stage.Lost, What: "directory", Aspect: "damaged"}}, nil
	}
	return "", nil, nil
}

func madeAt(rec record) time.Time {
	if rec.Ran == 0 {
		return time.Time{}
	}
	return time.Unix(0, rec.Ran).UTC()
}

// notFetched is what became of the layer of a record that was imported when nobody read the layer, and the cache that has it is not asked now.
const notFetched = "left in the cache that its record is from, which is not asked now"

// lostOf names what a record names and the cache has not got.
func (x *explainer) lostOf(ctx context.Context, rec record) []stage.Difference {
	lost := func(what string) []stage.Difference {
		return []stage.Difference{{Kind: stage.Lost, What: what, Aspect: "removed from the cache"}}
	}
	switch ok, _ := x.hasBytes(ctx, rec); {
	case ok:
	case rec.Layer != nil && rec.Layer.Imported:
		return []stage.Difference{{Kind: stage.Lost, What: "layer", Aspect: notFetched}}
	case rec.Snapshot.IsZero():
		return lost("files")
	default:
		return lost("directory")
	}
	if !x.hasOutput(ctx, rec.Output) {
		return lost("output")
	}
	if _, err := x.changes(ctx, rec); err != nil {
		return lost("list of changes")
	}
	return nil
}
