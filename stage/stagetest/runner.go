package stagetest

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// Recorder is a sandbox.Runner that keeps what it was asked to run, and has another Runner run it, or nobody: then every command
// succeeds, says nothing and changes nothing. It may be used by several builds at once.
type Recorder struct {
	inner sandbox.Runner
	mu    sync.Mutex
	specs []sandbox.Spec
}

var (
	_ sandbox.Runner       = (*Recorder)(nil)
	_ sandbox.Prober       = (*Recorder)(nil)
	_ sandbox.LimitChecker = (*Recorder)(nil)
)

// NewRecorder returns a Recorder in front of a Runner: a [Script], namespaces.New. Nil runs nothing.
func NewRecorder(inner sandbox.Runner) *Recorder { return &Recorder{inner: inner} }

// Run implements sandbox.Runner. It keeps the Spec before the process begins.
func (r *Recorder) Run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	r.mu.Lock()
	r.specs = append(r.specs, clone(spec))
	r.mu.Unlock()
	if r.inner != nil {
		return r.inner.Run(ctx, spec)
	}
	return sandbox.Status{}, check(ctx, spec)
}

// Probe implements sandbox.Prober: it asks the other Runner.
func (r *Recorder) Probe(ctx context.Context) error {
	if r.inner == nil {
		return nil
	}
	return sandbox.Probe(ctx, r.inner)
}

// CheckLimits implements sandbox.LimitChecker: it asks the other Runner.
func (r *Recorder) CheckLimits(l sandbox.Limits) error {
	if r.inner == nil {
		return nil
	}
	return sandbox.CheckLimits(r.inner, l)
}

// Specs returns what was asked for, in the order in which it began, without the streams. The directories of a Root are those of
// the build: they may be gone.
func (r *Recorder) Specs() []sandbox.Spec {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]sandbox.Spec, len(r.specs))
	for i := range r.specs {
		list[i] = clone(&r.specs[i])
	}
	return list
}

// Commands returns the command lines of Specs: of a shell's ("/bin/sh -c …") what the shell is given, else the arguments with
// spaces between them.
func (r *Recorder) Commands() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]string, len(r.specs))
	for i := range r.specs {
		list[i] = commandLine(r.specs[i].Args)
	}
	return list
}

// clone copies a Spec without its streams.
func clone(s *sandbox.Spec) sandbox.Spec {
	c := *s
	c.Args, c.Env, c.Mounts = slices.Clone(s.Args), slices.Clone(s.Env), slices.Clone(s.Mounts)
	for i := range c.Mounts {
		c.Mounts[i].Data = slices.Clone(c.Mounts[i].Data)
	}
	c.Root.Lowers = slices.Clone(s.Root.Lowers)
	c.User.Groups = slices.Clone(s.User.Groups)
	c.Stdin, c.Stdout, c.Stderr = nil, nil, nil
	return c
}

// commandLine is how a Script and a Recorder name a command.
func commandLine(args []string) string {
	if n := len(args); n >= 3 && args[n-2] == "-c" {
		return args[n-1]
	}
	return strings.Join(args, " ")
}

// check does what every Runner does before a process begins.
func check(ctx context.Context, spec *sandbox.Spec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stagetest: %s: %w", commandLine(spec.Args), err)
	}
	return nil
}

// say writes to a stream of a Spec.
func say(w io.Writer, text string) error {
	if w == nil || text == "" {
		return nil
	}
	_, err := io.WriteString(w, text)
	return err
}
