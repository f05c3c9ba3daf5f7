package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// session is one evaluation of one graph. It lives as long as its result, whose
// files are read through it.
type session struct {
	*Executor
	opts    Options // those of the executor, but for the store of a session that only rehearses
	graph   *stage.Graph
	steps   []*stage.Step
	request stage.Request
	needed  []bool  // of each step: a target that is to be built needs it
	unbuilt []error // of each target: why it is not built; nil for the others
	sources *sources
	recipes []cache.Key // of each step: where its record is
	keys    []cache.Key // of the files after each step
	gates   [][]int     // of each step: steps that must have succeeded before
	follows []bool      // of each step: its files follow from its recipe
	quick   *quick      // nil for a session that is to do everything as a step of its own
	anew    []bool      // of each step: what the cache had of it before this build does not count
	ruled   bool        // a step that is needed is made anew, or has a limit of age
	sched   *dag.Scheduler[task, any]
	started time.Time
	// planning makes a step that would run fail with errWouldRun, and keeps what is
	// computed to itself.
	planning bool
	// cacheOnly makes a base layer that the cache does not have fail with errWouldRun.
	cacheOnly bool

	// apart is where the session runs steps whose results nobody keeps; nil for all but Verify.
	apart *apart

	events   sync.Mutex // serialises Request.Progress
	reportMu sync.Mutex
	reports  map[int]stage.StepReport
	made     []bool                         // of each step: its record was written
	missed   map[int]stage.Cause            // of steps whose record was there and did not count: why
	before   map[historyName][]historyEntry // of stages with such steps, as it was

	writes writes
	early  layersAhead

	doubted sync.Map // cache.Digest: packs that have been read as a whole

	lostMu sync.Mutex
	lost   map[cache.Digest]lostLayer // layers whose bytes the cache has not got

	exports atomic.Int64 // how many have begun

	marking sync.WaitGroup // see touch

	closing sync.Mutex
	lease   io.Closer // nil after close
	plains  []*plainTar
	release func() error
}

// kind is what a task of the scheduler makes of a step.
type kind uint8

const (
	kindOutcome     kind = iota // the step's record, from the cache or made now
	kindTree                    // the files after the step
	kindBranch                  // the same, demanded beside others
	kindGate                    // the outcome, demanded by a gate
	kindLower                   // the directory of the step's changes
	kindLayer                   // the compressed layer of the step's changes
	kindChanges                 // the compressed layer of changes that several steps can have made: one copy for two platforms
	kindImageLayer              // the same, demanded beside others
	kindLook                    // which quick steps were done before, up to one
	kindLookBelow               // the first half of them, beside
	kindSettle                  // quick steps, up to one
	kindSettleReady             // those of them that wait for no other, beside
	kindBase                    // the layers of a base image, indexed
	kindBaseLayer               // one of them
	kindExecute                 // one execution of a content key
	kindImage                   // the image of a target, by its place in Graph.Targets
	kindRecompress              // a layer of a base image in the form that Options.Compression asks for
	kindAgain                   // a step done again, to be compared
	kindBlob                    // the bytes of a layer that the cache has lost
	kindExport                  // the layers that an export lacks
)

// task names one value of the evaluation: of a step, or of a key that several
// steps can share.
type task struct {
	kind kind
	step int
	key  cache.Key
}

// openBuild is open with a look at what of the graph would have to run.
func (e *Executor) openBuild(ctx context.Context, g *stage.Graph, r stage.Request, targets []int) (*session, error) {
	s, err := e.open(ctx, g, r, targets)
	if err != nil {
		return nil, err
	}
	if err := s.checkPlatforms(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// open begins the evaluation of some targets of a graph, by their place in Graph.Targets; nil
// are all.
func (e *Executor) open(ctx context.Context, g *stage.Graph, r stage.Request, targets []int) (*session, error) {
	release, err := e.use()
	if err != nil {
		return nil, err
	}
	s := &session{
		Executor: e, opts: e.opts, graph: g, steps: g.Steps(), request: r, started: time.Now(),
		needed: reach(g, targets), unbuilt: make([]error, len(g.Targets())),
		sched: dag.New[task, any](e.opts.Parallel), made: make([]bool, len(g.Steps())), release: release,
	}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// prepare finds everything that can be wrong before a step runs: what this
// executor cannot do, and files that are not there.
func (s *session) prepare(ctx context.Context) error {
	if s.graph.Deferred() {
		return fmt.Errorf("local: the graph has unresolved base images; compile it with Options.Resolver")
	}
	lease, err := cache.Lease(ctx, s.opts.Store)
	if onlyRead(err) {
		// What it has can be used all the same, as long as nobody removes it.
		s.emit(stage.Notice{Text: fmt.Sprintf("the cache is only read: %v", err)})
	} else if err != nil {
		return fmt.Errorf("local: %w", err)
	}
	s.lease = lease
	s.leased()
	if err := s.prepareRules(); err != nil {
		return err
	}
	if err := s.checkSupport(); err != nil {
		return err
	}
	if s.sources, err = s.openSources(ctx); err != nil {
		return err
	}
	s.gates = gates(s.steps)
	if s.recipes, s.keys, err = s.recipeKeys(); err != nil {
		return err
	}
	s.findQuick()
	return nil
}

func (s *session) checkSupport() error {
	var errs stage.Errors
	for _, step := range s.steps {
		if !s.needed[step.ID] {
			continue
		}
		switch op := step.Op.(type) {
		case *stage.BaseOp:
			if op.Ref != "" && s.opts.Images == nil {
				errs = append(errs, step.Fail(fmt.Errorf("%w: it has no source of base images", stage.ErrUnsupported), "set Images in the executor's options"))
			}
		case *stage.RunOp:
			if step.Platform.OS != "linux" {
				errs = append(errs, step.Fail(fmt.Errorf("%w: it runs programs for linux, not for %s", stage.ErrUnsupported, step.Platform), "pin the stage with stage.OnBuildPlatform and cross-compile"))
			}
			if user, ok := s.otherUser(op); ok {
				errs = append(errs, step.Fail(fmt.Errorf("it runs as the user %s, but an ordinary user has only the id 0 in a sandbox", user), "build as root, or give Options.Runner one that has more ids"))
			}
			if err := sandbox.CheckLimits(s.opts.Runner, limits(op.Limits)); err != nil {
				errs = append(errs, step.Fail(err, ""))
			}
			for _, m := range op.Mounts {
				if m.Type == stage.MountSecret && !m.Optional && s.request.Secrets[m.ID] == nil {
					errs = append(errs, step.Fail(fmt.Errorf("the secret %q is required and was not given", m.ID), givenBy(op, "Options.Secrets", "--secret id="+m.ID+",src=FILE")))
				}
				if _, ok := s.request.SSH[m.ID]; m.Type == stage.MountSSH && !m.Optional && !ok {
					errs = append(errs, step.Fail(fmt.Errorf("ssh mount: the SSH agent %q is required and was not given", m.ID), givenBy(op, "Options.SSH", "--ssh "+m.ID)))
				}
			}
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// givenBy says how a value that a mount requires is given, in the words of who asks: of
// Go, or of a Dockerfile.
func givenBy(op *stage.RunOp, field, flag string) string {
	if op.Compatible {
		return fmt.Sprintf("give it (%s; in docker build's words %s), or write required=false", field, flag)
	}
	return "set it in " + field + ", or mark it with stage.OptionalSecret"
}

// otherUser reports a user that the built-in sandbox of an ordinary user, which has
// one id, cannot have.
func (s *session) otherUser(op *stage.RunOp) (string, bool) {
	if _, builtIn := s.opts.Runner.(*namespaces.Runner); !builtIn || os.Geteuid() == 0 {
		return "", false
	}
	user, _, _ := strings.Cut(op.User, ":")
	switch user {
	case "", "0", "root":
		return "", false
	}
	return op.User, true
}

// gates collects, for each step, what NeedsOps below it ask for.
func gates(steps []*stage.Step) [][]int {
	all := make([][]int, len(steps))
	for i, step := range steps {
		var g []int
		if step.Parent >= 0 {
			g = all[step.Parent]
		}
		for _, in := range step.Inputs {
			if _, ok := step.Op.(*stage.NeedsOp); ok {
				g = append(g[:len(g):len(g)], in)
			}
			if len(all[in]) > 0 {
				g = append(g[:len(g):len(g)], all[in]...)
			}
		}
		all[i] = unique(g)
	}
	return all
}

func unique(list []int) []int {
	if len(list) < 2 {
		return list
	}
	seen := make(map[int]bool, len(list))
	out := make([]int, 0, len(list))
	for _, x := range list {
		if !seen[x] {
			seen[x] = true
			out = append(out, x)
		}
	}
	return out
}

func (s *session) close() error {
	s.early.stop()
	s.marking.Wait() // under the lease
	if s.quick != nil {
		s.quick.records.wait()
	}
	s.closing.Lock()
	defer s.closing.Unlock()
	s.mu.Lock()
	delete(s.results, s)
	s.mu.Unlock()
	err := s.writes.settle() // those of what a reader of the result had done
	if s.lease != nil {
		err = errors.Join(err, s.lease.Close())
		s.lease = nil
	}
	if s.sources != nil {
		err = errors.Join(err, s.sources.close())
	}
	for _, p := range s.plains {
		p.close()
	}
	return errors.Join(err, s.release())
}

func (s *session) emit(e stage.Event) {
	if s.request.Progress == nil {
		return
	}
	s.events.Lock()
	defer s.events.Unlock()
	s.request.Progress(e)
}

// finish records how a step ended and tells it, once a step: what a later look at
// the same step finds does not count.
func (s *session) finish(step *stage.Step, status stage.Status, since time.Time, rec record, err error) {
	if !reported(step.Op) {
		return
	}
	report := stage.StepReport{
		Step: step.ID, Stage: step.Stage, Platform: step.Platform.String(), Text: step.Text,
		Status: status, Files: rec.Files, Bytes: rec.Bytes,
	}
	if !since.IsZero() {
		report.Duration = time.Since(since)
	}
	s.reportMu.Lock()
	_, again := s.reports[step.ID]
	if s.reports == nil {
		s.reports = make(map[int]stage.StepReport, len(s.steps))
	}
	if !again {
		s.reports[step.ID] = report
	}
	s.reportMu.Unlock()
	if !again {
		s.emit(stage.StepFinished{Step: step, StepReport: report, Err: err})
	}
}

// get evaluates one task, from outside of any task or from within one.
func get[V any](ctx context.Context, s *session, d *dag.Demand[task, any], t task, f func(context.Context, *dag.Demand[task, any]) (V, error)) (V, error) {
	run := func(ctx context.Context, d *dag.Demand[task, any]) (any, error) { return f(ctx, d) }
	var v any
	var err error
	if d == nil {
		v, err = s.sched.Do(ctx, t, run)
	} else {
		v, err = d.Get(ctx, t, run)
	}
	if err != nil {
		var zero V
		return zero, err
	}
	return v.(V), nil
}

// changesFiles reports whether an operation can change files. The others only
// change the configuration, or nothing.
func changesFiles(op stage.Op) bool {
	switch op.(type) {
	case *stage.ConfigOp, *stage.ArgOp, *stage.NeedsOp, *stage.LayerOp:
		return false
	}
	return true
}

// reported reports whether an operation is work that a report lists: beginning with
// nothing is none.
func reported(op stage.Op) bool {
	base, ok := op.(*stage.BaseOp)
	return changesFiles(op) && !(ok && base.Ref == "")
}

// below is the nearest step at or below id that can have changed files.
func (s *session) below(id int) int {
	for !changesFiles(s.steps[id].Op) {
		id = s.steps[id].Parent
	}
	return id
}

// emptyRoot is the root directory that scratch begins with.
var emptyRoot = tree.Edit(nil).Tree()
