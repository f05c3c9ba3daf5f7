package local

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// maxCapture bounds what is kept of each output of a step, in bytes.
const maxCapture = 16 << 20

// outputRecord is what the cache remembers of the output of a step with stage.Capture. A
// zero digest stands for nothing written.
type outputRecord struct {
	Stdout cache.Digest `json:"stdout,omitzero"`
	Stderr cache.Digest `json:"stderr,omitzero"`
	Code   int          `json:"code"`
}

// capture keeps what a process writes.
type capture struct {
	stdout, stderr captureBuffer
}

type captureBuffer struct {
	bytes.Buffer
	name string
}

// Write keeps p, or fails when it is too much.
func (b *captureBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > maxCapture {
		return 0, fmt.Errorf("more than %s on its %s, which is the most that stage.Capture keeps", size(maxCapture), b.name)
	}
	return b.Buffer.Write(p)
}

// newCapture has spec's process write to a capture as well.
func newCapture(spec *sandbox.Spec) *capture {
	c := &capture{captureBuffer{name: "standard output"}, captureBuffer{name: "standard error"}}
	spec.Stdout = io.MultiWriter(spec.Stdout, &c.stdout)
	spec.Stderr = io.MultiWriter(spec.Stderr, &c.stderr)
	return c
}

// store puts the output into the cache.
func (c *capture) store(ctx context.Context, s *session, code int) (*outputRecord, error) {
	rec := &outputRecord{Code: code}
	for _, out := range []struct {
		from *captureBuffer
		to   *cache.Digest
	}{{&c.stdout, &rec.Stdout}, {&c.stderr, &rec.Stderr}} {
		if out.from.Len() == 0 {
			continue
		}
		var err error
		if *out.to, err = cache.PutBlob(ctx, s.opts.Store, out.from.Bytes()); err != nil {
			return nil, fmt.Errorf("local: cache: %w", err)
		}
	}
	return rec, nil
}

// hasOutput reports whether the cache has what a record says about output.
func (s *session) hasOutput(ctx context.Context, rec *outputRecord) bool {
	return rec == nil ||
		(rec.Stdout.IsZero() || s.holds(ctx, rec.Stdout)) && (rec.Stderr.IsZero() || s.holds(ctx, rec.Stderr))
}

var _ stage.OutputKeeper = (*result)(nil)

// RunOutput returns what a Run step wrote. See stage.OutputOf.
func (r *result) RunOutput(step int) (stage.RunOutput, error) {
	s := r.s
	leave, err := r.enter(step)
	if err != nil {
		return stage.RunOutput{}, err
	}
	defer leave()
	op, ok := s.steps[step].Op.(*stage.RunOp)
	if !ok || !op.Capture {
		return stage.RunOutput{}, fmt.Errorf("local: output of %s: %w: the step has not the option stage.Capture", s.steps[step].Text, stage.ErrUnsupported)
	}
	o, err := s.outcome(r.ctx, nil, step)
	if err != nil {
		return stage.RunOutput{}, err
	}
	out := stage.RunOutput{ExitCode: o.Output.Code}
	for _, part := range []struct {
		from cache.Digest
		to   *[]byte
	}{{o.Output.Stdout, &out.Stdout}, {o.Output.Stderr, &out.Stderr}} {
		if part.from.IsZero() {
			continue
		}
		if *part.to, err = cache.ReadBlob(r.ctx, s.opts.Store, part.from, maxCapture); err != nil {
			return stage.RunOutput{}, fmt.Errorf("local: output of %s: %w", s.steps[step].Text, err)
		}
	}
	return out, nil
}
