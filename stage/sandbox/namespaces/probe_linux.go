package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// probe walks the whole way of a Run up to execve, in an empty root.
func (r *Runner) probe(ctx context.Context) (err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.probed {
		return r.probeErr
	}
	err = probeOnce(ctx, r.opts.Dir, nil)
	if ctx.Err() == nil {
		r.probed, r.probeErr = true, err
	}
	return err
}

// probeOnce runs nothing in an empty root, whose files keep their ids where idmapped is not nil.
func probeOnce(ctx context.Context, dir string, idmapped *sandbox.IDs) (err error) {
	tmp, err := os.MkdirTemp(dir, "sandbox-probe-")
	if err != nil {
		return fmt.Errorf("sandbox: probe: %w", err)
	}
	defer func() { err = errors.Join(err, removeProbe(tmp)) }()
	sub := func(name string) string { return filepath.Join(tmp, name) }
	for _, d := range []string{"lower", "upper", "work"} {
		if err := os.Mkdir(sub(d), 0o755); err != nil {
			return fmt.Errorf("sandbox: probe: %w", err)
		}
	}
	root := sandbox.Root{Lowers: []string{sub("lower")}}
	if dir != "" {
		root.Upper, root.Work = sub("upper"), sub("work")
	}
	if idmapped != nil {
		root.IDs, root.Idmapped = *idmapped, true
	}
	_, err = launch(ctx, &sandbox.Spec{Root: root, Args: []string{"probe"}}, nil, true)
	return err
}

// removeProbe removes the directories of a probe. The kernel leaves directories
// of mode 000 in the work directory, which their owner must open first.
func removeProbe(tmp string) error {
	work := filepath.Join(tmp, "work")
	for _, d := range []string{"work", "work/incompat", "work/incompat/volatile"} {
		_ = os.Chmod(filepath.Join(work, d), 0o700) // not all of them exist
	}
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("sandbox: probe: %w", err)
	}
	return nil
}

// removeMapped removes mount points with the ids of the sandbox.
func removeMapped(ctx context.Context, p *process) error {
	q := &process{spec: &sandbox.Spec{Args: p.spec.Args}, machine: p.machine, id: p.id,
		config: &child.Config{Upper: p.spec.Root.Upper, Remove: p.created}}
	_, err := q.run(ctx)
	return err
}
