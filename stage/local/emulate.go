package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// checkEmulators finds what is wrong with Options.Emulators before they are used.
func checkEmulators(emulators map[string]string) error {
	for _, arch := range slices.Sorted(maps.Keys(emulators)) {
		p, err := platform.Parse("linux/" + arch)
		if err != nil {
			return fmt.Errorf("local: Options.Emulators[%q]: %w", arch, err)
		}
		if p.Architecture != arch {
			return fmt.Errorf("local: Options.Emulators[%q]: write %q, as GOARCH", arch, p.Architecture)
		}
		if path := emulators[arch]; !filepath.IsAbs(path) {
			return fmt.Errorf("local: Options.Emulators[%q] is %q; want the absolute path of a static program such as qemu-aarch64-static", arch, path)
		}
	}
	return nil
}

// checkPlatform asks whether programs for p can be run here. What was seen to run once
// runs; what does not is asked anew, since somebody may install it meanwhile.
func (e *Executor) checkPlatform(ctx context.Context, p platform.Platform) error {
	p = p.Normalize()
	if native(p) {
		return nil
	}
	if _, ok := e.runnable.Load(p); ok {
		return nil
	}
	if err := sandbox.CheckPlatform(ctx, e.opts.Runner, p, e.opts.Emulators); err != nil {
		return err
	}
	e.runnable.Store(p, true)
	return nil
}

// native reports whether this machine runs the programs of a normalized platform for
// certain.
func native(p platform.Platform) bool { return p.Architecture == runtime.GOARCH && p.Variant == "" }

// checkPlatforms finds the Run steps that would have to run and cannot, for want of an
// emulator, before anything runs and before a layer of a base is read. Steps whose result is in the cache need none,
// and where every target is finished nobody is asked: an unchanged build starts no process.
func (s *session) checkPlatforms(ctx context.Context) error {
	missing := map[platform.Platform]error{}
	var needed []bool
	for i, step := range s.steps {
		if _, ok := step.Op.(*stage.RunOp); !ok || !s.needed[i] || native(step.Platform.Normalize()) {
			continue
		}
		if needed == nil {
			var err error
			if needed, err = s.unfinished(ctx); err != nil {
				return err
			}
		}
		if !needed[i] {
			continue
		}
		if _, asked := missing[step.Platform]; !asked {
			missing[step.Platform] = s.checkPlatform(ctx, step.Platform)
		}
	}
	maps.DeleteFunc(missing, func(_ platform.Platform, err error) bool { return err == nil })
	if len(missing) == 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	plans, err := s.look().plan(ctx)
	if err != nil {
		return err
	}
	var errs stage.Errors
	last := map[platform.Platform]*stage.Error{}
	for i, step := range s.steps {
		op, ok := step.Op.(*stage.RunOp)
		if err := missing[step.Platform]; ok && err != nil && needed[i] && plans[i].Status != stage.Hit {
			if e := last[step.Platform]; e != nil {
				e.Fix = "" // it is the same for all of a platform, and long
			}
			last[step.Platform] = fail(step, noEmulator(op, err))
			errs = append(errs, last[step.Platform])
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// noEmulator adds what else than to install one can be done.
func noEmulator(op *stage.RunOp, err error) error {
	e, ok := errors.AsType[*sandbox.PlatformError](err)
	if !ok {
		return err
	}
	pin := "pin the stage with stage.OnBuildPlatform and cross-compile"
	if op.Compatible {
		pin = "pin the stage with FROM --platform=$BUILDPLATFORM and cross-compile"
	}
	bare := *e
	bare.Fix = ""
	if e.Fix != "" {
		pin = e.Fix + "; or " + pin
	}
	return &fixError{fmt.Errorf("%w: %w", stage.ErrUnsupported, &bare), pin}
}

// look is a session on the same graph that plans, without a word and without reading layers
// of a base that are not in the cache: what stands on them has not run yet.
func (s *session) look() *session {
	look := &session{
		Executor: s.Executor, opts: s.opts, graph: s.graph, steps: s.steps, needed: s.needed, unbuilt: s.unbuilt, sources: s.sources, recipes: s.recipes, keys: s.keys, gates: s.gates,
		request: stage.Request{Context: s.request.Context, Secrets: s.request.Secrets, SSH: s.request.SSH}, anew: s.anew, ruled: s.ruled,
		sched: dag.New[task, any](s.opts.Parallel), started: s.started, reports: map[int]stage.StepReport{}, made: s.made, cacheOnly: true,
	}
	look.findQuick()
	return look
}

// unfinished marks the steps that a build looks at: those of targets whose layers the cache does
// not have all, and what must have succeeded before the others.
func (s *session) unfinished(ctx context.Context) ([]bool, error) {
	needed := make([]bool, len(s.steps))
	for _, t := range s.graph.Targets() {
		if !s.needed[t.Step] {
			continue
		}
		for _, gate := range s.gates[t.Step] {
			needed[gate] = true
		}
		chain, _ := s.chain(t.Step)
		layers, _, err := s.knownLayers(ctx, t.Step, s.units(chain))
		if err != nil {
			return nil, err
		}
		needed[t.Step] = needed[t.Step] || layers == nil
	}
	markBelow(s.steps, needed)
	return needed, nil
}
