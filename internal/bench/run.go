package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bench is what all workloads share.
type bench struct {
	dir      string
	registry string // address
	bases    *bases
	ours     *ours
	theirs   *buildKit // nil when nothing is compared
	buildah  *buildah  // nil when it takes no part
	limit    *limit
	rounds   plan
	close    func()
	tell     func(format string, args ...any)
}

// plan says how often each side runs.
type plan struct {
	pairs   int // of BuildKit and stagewright
	buildah int
	count   bool // stagewright and BuildKit once more, through a proxy that counts
}

// run measures one workload. What a side cannot do is in its rows; the error is of what all sides need, and comes with the rows so far.
func (b *bench) run(ctx context.Context, w workload) ([]*row, error) {
	m := &measurement{bench: b, w: w, rows: map[phase]*row{}, failed: map[string]bool{}}
	var rows []*row
	for _, p := range w.phases {
		m.rows[p] = newRow(w, p)
		rows = append(rows, m.rows[p])
	}
	context := filepath.Join(b.dir, "context")
	if err := m.contexts(context); err != nil {
		return nil, err
	}
	for i := range w.rounds(b.rounds.pairs) {
		if err := b.withRegistry(ctx, b.registry, w.bases, func() error { return m.round(ctx, i) }); err != nil {
			return rows, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if w.counted() && b.rounds.count {
		if err := m.countAll(ctx); err != nil {
			return rows, fmt.Errorf("%s, counting: %w", w.name, err)
		}
	}
	return rows, os.RemoveAll(context)
}

// withRegistry calls do while a registry runs at an address that has the bases and nothing else.
func (b *bench) withRegistry(ctx context.Context, address string, bases []string, do func() error) error {
	server, err := serve(ctx, address)
	if err != nil {
		return err
	}
	defer server.stop()
	for _, base := range bases {
		if err := b.bases.push(ctx, base, address); err != nil {
			return err
		}
	}
	return do()
}

// measurement is one workload on its way.
type measurement struct {
	*bench
	w      workload
	dirs   []string
	rows   map[phase]*row
	edits  int
	failed map[string]bool // sides that take no further part
}

// contexts writes the build contexts anew.
func (m *measurement) contexts(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	goroot, err := goRoot()
	if err != nil {
		return err
	}
	for i := range max(m.w.builds, 1) {
		one := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(one, 0o755); err != nil {
			return err
		}
		if err := m.w.make(one, inputs{m.registry, goroot}); err != nil {
			return err
		}
		m.dirs = append(m.dirs, one)
	}
	return nil
}

func (m *measurement) edit() error {
	m.edits++
	for _, dir := range m.dirs {
		if err := m.w.edit(dir, m.edits); err != nil {
			return err
		}
	}
	return nil
}

// sides are those that take part in a phase of the i-th round; in the one that counts, which is -1, stagewright and BuildKit.
func (m *measurement) sides(p phase, i int) (sides []side) {
	if m.theirs != nil && !m.w.oursOnly && i < m.rounds.pairs {
		sides = append(sides, m.theirs)
	}
	if m.buildah != nil && !m.w.oursOnly && m.w.noBuildah == "" && i >= 0 && i < m.rounds.buildah {
		sides = append(sides, m.buildah)
	}
	sides = append(sides, m.ours)
	if m.w.limitForm != "" && slices.Contains(m.w.limits, p) && i >= 0 {
		sides = append(sides, m.limit)
	}
	return slices.DeleteFunc(sides, func(s side) bool { return m.failed[s.name()] })
}

// round runs each side once in every phase.
func (m *measurement) round(ctx context.Context, i int) error {
	for _, p := range m.w.phases {
		if err := m.pair(ctx, p, i); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// pair runs each side once in one phase.
func (m *measurement) pair(ctx context.Context, p phase, i int) error {
	if p == edited || p == elsewhere {
		if err := m.edit(); err != nil {
			return err
		}
	}
	r := m.rows[p]
	for _, s := range m.sides(p, i) {
		j := m.job(s, p, fmt.Sprint(i))
		result, err := m.once(ctx, s, p, j)
		if err == nil && i == 0 {
			r.Layers[s.name()], err = m.size(ctx, s, j)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			m.fail(s, p, err)
			continue
		}
		r.Samples[s.name()] = append(r.Samples[s.name()], result)
		m.tell("%s, %s, run %d, %s: %v, %d MiB", m.w.name, p, i+1, s.name(), result.Wall, result.Peak>>20)
	}
	return nil
}

// once runs a side, on nothing where the phase is cold.
func (m *measurement) once(ctx context.Context, s side, p phase, j job) (sample, error) {
	if p == cold {
		if err := s.reset(ctx); err != nil {
			return sample{}, err
		}
	}
	return s.run(ctx, j)
}

// fail leaves a side out from now on.
func (m *measurement) fail(s side, p phase, err error) {
	m.failed[s.name()] = true
	m.rows[p].Failed[s.name()] = err.Error()
	m.tell("%s, %s, %s: %v", m.w.name, p, s.name(), err)
}

// size is the size of the layers of what a side has just made.
func (m *measurement) size(ctx context.Context, s side, j job) (int64, error) {
	switch {
	case s.name() != nameLimit:
		return j.bytes(ctx)
	case m.w.limitForm == "limit":
		return m.limit.blob()
	}
	return 0, nil
}

// job is what a side is to do: each round goes to a repository of its own.
func (m *measurement) job(s side, p phase, round string) job {
	repo := fmt.Sprintf("%s/%s/%s", m.w.name, round, strings.ToLower(s.name()))
	if p == elsewhere {
		repo += "/elsewhere"
	}
	j := job{workload: m.w, dirs: m.dirs, push: fmt.Sprintf("%s/%s:1.0", m.registry, repo)}
	if m.w.local {
		j.tar = filepath.Join(m.ours.out(), "image.tar")
	}
	if p == again {
		j.again = 20
	}
	if m.w.tar {
		j.tar = filepath.Join(m.dir, "image.tar")
	}
	if len(m.w.bases) > 0 {
		j.base = fmt.Sprintf("%s/bases/%s:latest", m.registry, m.w.bases[0])
	}
	return j
}
