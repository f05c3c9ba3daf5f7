package namespaces

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

func (r *Runner) run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	return launch(ctx, spec, &r.spares, false)
}

// launch runs spec's process, or with dryRun does everything but execute it. With nil spares
// its helper is started for it alone.
func launch(ctx context.Context, spec *sandbox.Spec, ahead *spares, dryRun bool) (sandbox.Status, error) {
	m := thisMachine()
	foreign, err := emulate(spec)
	if err != nil {
		return sandbox.Status{}, err
	}
	if len(foreign.mounts) > 0 {
		with := *spec
		with.Mounts = slices.Concat(spec.Mounts, foreign.mounts)
		spec = &with
	}
	id := identify(m, &spec.Root, len(foreign.own) > 0)
	if err := cmp.Or(id.check(spec), mayIdmap(m, spec)); err != nil {
		return sandbox.Status{}, err
	}
	filter, err := dockerFilter()
	if err != nil {
		return sandbox.Status{}, err
	}
	config := configure(spec, m, &id, filter)
	config.DryRun, config.Emulators = dryRun, foreign.own
	if err := ctx.Err(); err != nil {
		return sandbox.Status{}, cancelled(ctx, spec)
	}
	p := &process{spec: spec, machine: m, id: &id, config: config, ahead: ahead}
	if err := p.prepare(); err != nil {
		return sandbox.Status{}, err
	}
	status, err := p.run(ctx)
	if err == nil {
		status.Exceeded = p.groups.exceeded()
	}
	err = errors.Join(err, p.groups.remove())
	if spec.Root.Upper != "" {
		if rmErr := removeMountPoints(ctx, p); rmErr != nil {
			err = errors.Join(err, fmt.Errorf("sandbox: remove mount points from %s: %w", spec.Root.Upper, rmErr))
		}
	}
	return status, err
}

// process is one started child.
type process struct {
	spec    *sandbox.Spec
	machine machine
	id      *identity
	config  *child.Config

	groups  *groups
	sockets *sockets
	given   []*os.File // what the child inherits beside the sockets: the root as a mount, where it does not make it
	ahead   *spares    // nil for none

	helper  *helper
	ready   bool // the root was complete
	created []child.Created
	failure *child.Failure
}

// prepare makes what limits, sockets and a root of the caller's need. It makes nothing when there are none.
func (p *process) prepare() (err error) {
	if p.groups, p.config.Rlimits, err = prepareLimits(p.id, &p.spec.Limits); err != nil {
		return err
	}
	p.config.Await = p.groups != nil
	if p.sockets, err = openSockets(p.spec.Mounts, p.config); err != nil {
		return errors.Join(err, p.groups.remove())
	}
	switch volatile := p.spec.Features&sandbox.FeatureVolatile == 0; {
	case p.id.idmapped:
		err = p.giveIdmapped(volatile)
	case p.id.rootOutside:
		var root *os.File
		if root, err = detachedRoot(&p.spec.Root, p.machine.initial, volatile); err == nil {
			p.config.RootFD = p.give(root)
		}
	}
	if err != nil {
		p.sockets.close()
		p.closeGiven()
		return errors.Join(err, p.groups.remove())
	}
	return nil
}

// give has the child inherit a file, which is closed with the process, and returns its descriptor there.
func (p *process) give(f *os.File) int {
	p.given = append(p.given, f)
	p.config.Inherited++
	return child.FirstSocketFD + p.config.Inherited - 1
}

func (p *process) closeGiven() {
	for _, f := range p.given {
		_ = f.Close()
	}
}

// descriptors are what the child inherits from child.FirstSocketFD on.
func (p *process) descriptors() []*os.File {
	return slices.Concat(p.sockets.descriptors(), p.given)
}

// run has a helper become the command and waits until it and all that it started have ended.
func (p *process) run(ctx context.Context) (sandbox.Status, error) {
	defer p.sockets.close()
	defer p.closeGiven()
	origin := originOf(p.machine, p.id, p.spec)
	var err error
	if p.ahead != nil {
		p.helper, err = p.ahead.helper(&origin, p.config, p.descriptors())
	} else {
		p.helper, err = startHelper(&origin, p.descriptors())
	}
	if err != nil {
		return sandbox.Status{}, err
	}
	defer p.helper.close()
	st := connect(p.spec, p.helper.streams, p.config)
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	st.start(p.kill)

	talkErr := p.talk(p.helper.config, p.helper.report)
	if talkErr != nil {
		p.kill()
	}
	state, waitErr := p.helper.wait()
	ioErr := st.finish()
	switch {
	case waitErr != nil:
		return sandbox.Status{}, fmt.Errorf("sandbox: wait for the process: %w", waitErr)
	case p.failure != nil:
		return sandbox.Status{}, explain(p, p.failure)
	case ctx.Err() != nil && (!p.ready || killed(state)):
		return sandbox.Status{}, cancelled(ctx, p.spec)
	case talkErr != nil:
		return sandbox.Status{}, talkErr
	case !p.ready:
		return sandbox.Status{}, fmt.Errorf("sandbox: the helper process ended before it could start %q: %v", p.spec.Args[0], state)
	case ioErr != nil:
		return sandbox.Status{}, ioErr
	}
	return statusOf(state), nil
}

func (p *process) kill() { _ = p.helper.proc.Kill() } // an error means that it has ended

// talk gives the child its configuration and reads its reports until it is the
// command or has failed.
func (p *process) talk(config io.Writer, report io.Reader) error {
	sendErr := child.Send(config, p.config)
	for {
		var r child.Report
		err := child.Receive(report, &r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("sandbox: read the helper's report: %w", err)
		}
		p.created = r.Created
		if p.failure = r.Failure; p.failure != nil {
			return nil
		}
		p.ready = true
		if err := p.release(config); err != nil {
			return err
		}
	}
	if p.ready {
		// One that is given its root, or registers emulators, cannot be started ahead.
		if p.ahead != nil && len(p.given) == 0 && len(p.config.Emulators) == 0 && !p.config.DryRun {
			p.ahead.prepare(&p.helper.origin, p.config.System)
		}
		if err := p.groups.close(); err != nil {
			return err
		}
	}
	if sendErr != nil && !p.ready && !errors.Is(sendErr, unix.EPIPE) {
		return fmt.Errorf("sandbox: configure the helper: %w", sendErr)
	}
	return nil
}

// release lets the child, whose root is complete, become the command.
func (p *process) release(config io.Writer) error {
	if err := p.sockets.start(); err != nil {
		return err
	}
	if p.groups == nil {
		return nil
	}
	if err := p.groups.join(p.helper.proc.Pid); err != nil {
		return err
	}
	_, err := config.Write([]byte{1})
	if errors.Is(err, unix.EPIPE) {
		return nil // it has been killed, and Wait tells how
	}
	return err
}

func killed(state *os.ProcessState) bool {
	ws, ok := state.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

func cancelled(ctx context.Context, spec *sandbox.Spec) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("sandbox: run %q: %w: %w", spec.Args[0], err, cause)
	}
	return fmt.Errorf("sandbox: run %q: %w", spec.Args[0], err)
}

func statusOf(state *os.ProcessState) sandbox.Status {
	s := sandbox.Status{Code: state.ExitCode(), User: state.UserTime(), System: state.SystemTime()}
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		s.Code = 128 + int(ws.Signal())
		if s.Signal = unix.SignalName(ws.Signal()); s.Signal == "" {
			s.Signal = fmt.Sprintf("signal %d", int(ws.Signal()))
		}
	}
	return s
}

// removeMountPoints takes what the child made for its mounts out of the upper
// directory. Directories of other mapped ids can be entered only by a process
// that has the same map.
func removeMountPoints(ctx context.Context, p *process) error {
	err := child.RemoveCreated(p.spec.Root.Upper, p.created)
	if p.id.viaHelpers && errors.Is(err, unix.EACCES) {
		return removeMapped(context.WithoutCancel(ctx), p)
	}
	return err
}
