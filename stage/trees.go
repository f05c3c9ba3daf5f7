package stage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
)

// Merge lays the files of other stages over the files of this one, in order: what
// comes later replaces what was there, and directories are joined. Of the others only
// the files count.
func (s Stage) Merge(others ...Stage) Stage {
	at := here()
	if len(others) == 0 {
		return s.then(at, &badOp{"MERGE", errors.New("no stage to merge"), ""})
	}
	if slices.ContainsFunc(others, func(o Stage) bool { return o.last == nil }) {
		return s.then(at, &badOp{"MERGE", errZeroStage, ""})
	}
	return s.then(at, &MergeOp{slices.Clone(others)})
}

// Apply makes the changes that lead from the files of lower to those of upper: what
// upper added or changed is put here, and what it removed is removed. With a lower that
// upper was built from, it carries what upper did over to this stage.
func (s Stage) Apply(lower, upper Stage) Stage {
	at := here()
	if lower.last == nil || upper.last == nil {
		return s.then(at, &badOp{"APPLY", errZeroStage, ""})
	}
	return s.then(at, &ApplyOp{lower, upper})
}

// Writer takes what a [Stage.Func] changes. Paths are absolute in the stage or
// relative to its root; directories above them are made; everything belongs to 0:0.
type Writer interface {
	WriteFile(path string, mode fs.FileMode, content io.Reader) error
	Mkdir(path string, mode fs.FileMode) error
	Symlink(target, path string) error
	Remove(path string) error
}

// Func changes the files by a Go function: do reads them as they are before the step
// and writes to out, from one goroutine. It is a step like any other: when the files
// are those of an earlier build, the function is not called and its result is used
// again. So it must depend on nothing but its input; name and version say which function
// it is, and version must change with what the function does.
func (s Stage) Func(name, version string, do func(ctx context.Context, in fs.FS, out Writer) error, opts ...CacheOption) Stage {
	at := here()
	if name == "" || do == nil {
		return s.then(at, &badOp{"FUNC", errors.New("a function step without a name or a function"), ""})
	}
	if err := checkOptions(opts); err != nil {
		return s.then(at, &badOp{"FUNC", err, leaveAway})
	}
	op := &FuncOp{Name: name, Version: version, Do: do}
	for _, o := range opts {
		o(&op.Cache)
	}
	if err := op.Cache.check(); err != nil {
		return s.then(at, &badOp{"FUNC", err, ""})
	}
	return s.then(at, op)
}

// Layer groups what a fragment does: the image gets one layer and one line of history
// for all of it. text is that line; without it the line has the texts of the steps. The
// steps are cached one by one all the same. Of groups inside each other the outermost
// counts.
func (s Stage) Layer(fragment func(Stage) Stage, text ...string) Stage {
	at := here()
	if s.last == nil || fragment == nil {
		return s.then(at, &badOp{"LAYER", errors.New("a layer without operations"), ""})
	}
	grouped := fragment(s)
	for l := grouped.last; l != s.last; l = l.prev {
		if l == nil {
			return s.then(at, &badOp{"LAYER", errors.New("the fragment returned a stage that does not continue the one that it was given"), ""})
		}
	}
	op := &LayerOp{below: s.last}
	if len(text) > 0 {
		op.Text = text[0]
	}
	return grouped.then(at, op)
}

// Squash joins the layers of this stage so far to one. Those of what the stage stands
// on stay as they are.
func (s Stage) Squash() Stage {
	return s.then(here(), &LayerOp{below: s.Beginning().last})
}
