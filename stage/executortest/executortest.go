package executortest

import (
	"slices"
	"testing"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// Options say what an executor is for. The zero Options are those of one that
// runs programs and has a cache.
type Options struct {
	// FilesOnly is an executor that refuses Run steps with stage.ErrUnsupported.
	FilesOnly bool
	// NoCache is an executor for which each Execute begins anew: the tests that
	// count hits are left out.
	NoCache bool
}

// Test runs the suite on executors from newExecutor, which is called once or more
// in each subtest. What an executor needs is released with t.Cleanup. Executors
// must not share a cache.
func Test(t *testing.T, newExecutor func(t *testing.T) stage.Executor, o Options) {
	t.Helper()
	cases := slices.Concat(fileCases, imageCases, eventCases, failureCases, partialCases)
	if o.FilesOnly {
		cases = append(cases, suiteCase{"RunRefused", testRunRefused})
	} else {
		cases = slices.Concat(cases, runCases, runOptionCases)
	}
	if !o.NoCache {
		cases = append(cases, cacheCases...)
		if !o.FilesOnly {
			cases = slices.Concat(cases, runCacheCases, runOptionCacheCases)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.run(&fixture{T: t, newExecutor: newExecutor, o: o})
		})
	}
}

// suiteCase is one subtest of the suite.
type suiteCase struct {
	name string
	run  func(*fixture)
}

// fixture is what one subtest works with.
type fixture struct {
	*testing.T
	newExecutor func(t *testing.T) stage.Executor
	o           Options
	first       stage.Executor
}

// executor is the subtest's executor.
func (f *fixture) executor() stage.Executor {
	f.Helper()
	if f.first == nil {
		f.first = f.newExecutor(f.T)
	}
	return f.first
}

// compile compiles one target for this machine.
func (f *fixture) compile(target stage.Stage, more ...stage.Stage) *stage.Graph {
	f.Helper()
	return f.compileFor(nil, append([]stage.Stage{target}, more...)...)
}

func (f *fixture) compileFor(platforms platform.Set, targets ...stage.Stage) *stage.Graph {
	f.Helper()
	g, err := stage.Compile(f.Context(), targets, stage.Options{Platforms: platforms})
	if err != nil {
		f.Fatalf("compile: %v", err)
	}
	return g
}

// execute builds a graph that must succeed. The result is closed with the test.
func (f *fixture) execute(e stage.Executor, g *stage.Graph, r stage.Request) stage.Result {
	f.Helper()
	res, err := e.Execute(f.Context(), g, r)
	if err != nil {
		f.Fatalf("Execute: %v", err)
	}
	f.Cleanup(func() {
		if err := res.Close(); err != nil {
			f.Errorf("Close: %v", err)
		}
	})
	return res
}

// build compiles and executes one target.
func (f *fixture) build(target stage.Stage, r stage.Request) (*stage.Graph, stage.Result) {
	f.Helper()
	g := f.compile(target)
	return g, f.execute(f.executor(), g, r)
}

// fails executes a graph that must fail and returns the error.
func (f *fixture) fails(target stage.Stage, r stage.Request) error {
	f.Helper()
	res, err := f.executor().Execute(f.Context(), f.compile(target), r)
	if err == nil {
		res.Close()
		f.Fatal("Execute succeeded, want an error")
	}
	return err
}

// digest is the digest of the first image.
func (f *fixture) digest(res stage.Result) string {
	f.Helper()
	d, err := res.Outputs()[0].Image.Digest()
	if err != nil {
		f.Fatalf("Digest: %v", err)
	}
	return d.String()
}

// changesFiles reports whether a step can change files: those are the steps that
// a report must have. Beginning with nothing is none.
func changesFiles(s *stage.Step) bool {
	switch op := s.Op.(type) {
	case *stage.ConfigOp, *stage.ArgOp, *stage.NeedsOp:
		return false
	case *stage.BaseOp:
		return op.Ref != ""
	}
	return true
}
