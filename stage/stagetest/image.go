package stagetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/report"
)

// Built is an image of a test: the Result of its build, and Checks of what is in it. Of several platforms the Checks are of the
// first; see [Built.For]. It is closed when the test ends.
type Built struct {
	*stagewright.Result
	*Checks

	tb       testing.TB
	inMemory bool // nothing was cached before it
	handle   *handle
}

// handle is what the end of a test needs of a build. The test may have forgotten the rest long before.
type handle struct {
	mu  sync.Mutex
	res *stagewright.Result // nil when it is closed
}

func (h *handle) close() error {
	h.mu.Lock()
	res := h.res
	h.res = nil
	h.mu.Unlock()
	if res == nil {
		return nil
	}
	return res.Close()
}

// Image builds a stage for this machine. When that fails, the test does: with every mistake of the stages, and with what the
// build did.
func Image(tb testing.TB, target stage.Stage) *Built {
	tb.Helper()
	return ImageWith(tb, target, stagewright.Options{})
}

// ImageWith is Image with options. Without CacheDir, Store and Executor it chooses where to build; see the package comment.
func ImageWith(tb testing.TB, target stage.Stage, o stagewright.Options) *Built {
	tb.Helper()
	b := &Built{tb: tb}
	if o.CacheDir == "" && o.Store == nil && o.Executor == nil && (o.Runner != nil || inMemory(tb.Context(), target, o)) {
		b.inMemory = true
		o.Store = cache.NewMemory()
	}
	p := &progress{}
	o.Progress = p.watch(o.Progress)
	res, err := stagewright.Build(tb.Context(), target, o)
	if err != nil {
		if did := p.String(); did != "" {
			tb.Logf("stagetest: what the build of %s did:\n%s", target, did)
		}
		tb.Fatalf("stagetest: the build failed: %s", mistakes(err))
	}
	b.Result = res
	b.Checks = b.checks(0)
	b.handle = &handle{res: res}
	did := ""
	if p.ranCommand() { // whose output may explain what the test finds
		did = p.String()
	}
	tb.Cleanup(atEnd(tb, target, b.handle, did))
	return b
}

// atEnd is what is done when the test has ended. It keeps nothing else alive.
func atEnd(tb testing.TB, target stage.Stage, h *handle, did string) func() {
	return func() {
		if err := h.close(); err != nil {
			tb.Errorf("stagetest: closing %s: %v", target, err)
		}
		if did != "" && tb.Failed() {
			tb.Logf("stagetest: the test has failed; what the build of %s did:\n%s", target, did)
		}
	}
}

// For returns the Checks of the image for a platform, "linux/arm64".
func (b *Built) For(p string) *Checks {
	b.tb.Helper()
	want, err := platform.Parse(p)
	if err != nil {
		b.tb.Fatalf("stagetest: %v", err)
	}
	var have []string
	for i, out := range b.Outputs() {
		if out.Platform == want {
			return b.checks(i)
		}
		have = append(have, out.Platform.String())
	}
	b.tb.Fatalf("stagetest: the build has no image for %s; it has %q", want, have)
	return nil
}

// checks are those of one output. Files are read from the build, which knows them without opening a layer.
func (b *Built) checks(output int) *Checks {
	out := b.Outputs()[output]
	return newChecks(b.tb, out.Image, func() (fs.FS, error) {
		files, err := b.Files(out.Target.Step)
		if err != nil {
			return nil, err
		}
		if root, err := fs.Stat(files, "."); err != nil || owner(root) == "" {
			return unpack(b.tb, out.Image) // the build's executor has no owners in its files
		}
		return files, nil
	})
}

// Close releases the image before the test's end: in a test that makes thousands, which then are no more than garbage. A second
// call does nothing.
func (b *Built) Close() error { return b.handle.close() }

// mistakes puts several errors below each other.
func mistakes(err error) string {
	if all, ok := errors.AsType[stage.Errors](err); ok && len(all) > 1 {
		return fmt.Sprintf("%d mistakes\n%v", len(all), err)
	}
	return err.Error()
}

// progress keeps what the plain renderer of package report says, of a long build the end.
type progress struct {
	mu       sync.Mutex
	renderer *report.Renderer
	text     tail
	ran      bool
}

// watch is a callback for events, which passes them on to the test's own.
func (p *progress) watch(next func(stage.Event)) func(stage.Event) {
	p.renderer = report.Plain(&p.text)
	return func(e stage.Event) {
		p.mu.Lock()
		if f, ok := e.(stage.StepFinished); ok && f.Status == stage.Ran {
			if _, command := f.Step.Op.(*stage.RunOp); command {
				p.ran = true
			}
		}
		p.renderer.Event(e)
		p.mu.Unlock()
		if next != nil {
			next(e)
		}
	}
}

// ranCommand reports whether a Run step was executed.
func (p *progress) ranCommand() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ran
}

func (p *progress) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// tail keeps the last bytes that were written to it, from the beginning of a line.
type tail struct {
	buf bytes.Buffer
	cut bool
}

const maxTail = 64 << 10

// Write implements io.Writer. It never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - 2*maxTail; over > 0 {
		t.cut = true
		t.buf.Next(over + maxTail)
		if i := bytes.IndexByte(t.buf.Bytes(), '\n'); i >= 0 {
			t.buf.Next(i + 1)
		}
	}
	return len(p), nil
}

func (t *tail) String() string {
	if t.cut {
		return "(the beginning is left out)\n" + t.buf.String()
	}
	return t.buf.String()
}
