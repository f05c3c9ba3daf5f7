package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// bench is what all workloads share.
type bench struct {
	dir      string
	registry string // address
	bases    *bases
	ours     *ours
	theirs   side // nil when nothing is compared
	limit    side
	close    func()
	tell     func(format string, args ...any)
}

// A row is one phase of a workload, measured.
type row struct {
	Workload string              `json:"workload"`
	Title    string              `json:"title"`
	Phase    phase               `json:"phase"`
	Runs     int                 `json:"runs"`
	Samples  map[string][]sample `json:"samples"` // by the names of the sides, in the order of the runs
	Pushed   map[string]int64    `json:"pushed"`  // bytes of the image's layers, by the names of the sides
	Requests map[string]int      `json:"requests,omitempty"`
	BaseRead int64               `json:"baseRead"`         // bytes of blobs that stagewright read from the registry, when requests were counted
	Opened   *int                `json:"opened,omitempty"` // files of the context that stagewright opened, when that was counted

	budget   budget
	requests map[string]int // that Requests must be
	noRead   bool           // BaseRead must be at most maxConfig
	opens    int            // that Opened may be at most
}

// run measures one workload n times.
func (b *bench) run(ctx context.Context, w workload, n int) ([]*row, error) {
	m := &measurement{bench: b, w: w, rows: map[phase]*row{}}
	var err error
	if m.dirs, err = m.contexts(filepath.Join(b.dir, "context"), b.registry); err != nil {
		return nil, err
	}
	for i := range n {
		if err := b.withRegistry(ctx, w.bases, func() error { return m.round(ctx, i) }); err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if w.counted() {
		if err := b.withRegistry(ctx, w.bases, func() error { return m.count(ctx) }); err != nil {
			return nil, fmt.Errorf("%s, counting: %w", w.name, err)
		}
	}
	if w.opens != nil {
		if err := b.withRegistry(ctx, w.bases, func() error { return m.countOpens(ctx) }); err != nil {
			return nil, fmt.Errorf("%s, counting opened files: %w", w.name, err)
		}
	}
	var rows []*row
	for _, p := range w.phases {
		rows = append(rows, m.rows[p])
	}
	return rows, nil
}

// withRegistry calls do while a registry runs that has the bases and nothing else.
func (b *bench) withRegistry(ctx context.Context, bases []string, do func() error) error {
	server, err := serve(ctx, b.registry)
	if err != nil {
		return err
	}
	defer server.stop()
	for _, base := range bases {
		if err := b.bases.push(ctx, base, b.registry); err != nil {
			return err
		}
	}
	return do()
}

// measurement is one workload on its way.
type measurement struct {
	*bench
	w     workload
	dirs  []string
	rows  map[phase]*row
	edits int
}

// contexts writes the build contexts anew.
func (m *measurement) contexts(dir, registry string) ([]string, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	goroot, err := goRoot()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for i := range max(m.w.builds, 1) {
		one := filepath.Join(dir, fmt.Sprint(i))
		if err := os.MkdirAll(one, 0o755); err != nil {
			return nil, err
		}
		if err := m.w.make(one, inputs{registry, goroot}); err != nil {
			return nil, err
		}
		dirs = append(dirs, one)
	}
	return dirs, nil
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

// row returns the row of a phase.
func (m *measurement) row(p phase) *row {
	if m.rows[p] == nil {
		m.rows[p] = &row{Workload: m.w.name, Title: m.w.title, Phase: p, Samples: map[string][]sample{}, Pushed: map[string]int64{},
			budget: m.w.budgets[p], requests: m.w.requests[p], noRead: m.w.noRead[p], opens: m.w.opens[p]}
	}
	return m.rows[p]
}

// sides are those that take part in a phase.
func (m *measurement) sides(p phase) []side {
	sides := []side{m.ours}
	if m.theirs != nil && !m.w.oursOnly {
		sides = []side{m.theirs, m.ours}
	}
	if m.w.limit && p == cold {
		sides = append(sides, m.limit)
	}
	return sides
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
	r := m.row(p)
	r.Runs++
	for _, s := range m.sides(p) {
		if p == cold {
			if err := s.reset(ctx); err != nil {
				return err
			}
		}
		j := m.job(s, p, fmt.Sprint(i), m.registry)
		result, err := s.run(ctx, j)
		if err != nil {
			return err
		}
		r.Samples[s.name()] = append(r.Samples[s.name()], result)
		m.tell("%s, %s, run %d, %s: %v, %d MiB", m.w.name, p, i+1, s.name(), result.Wall, result.Peak>>20)
		if i == 0 && s != m.limit {
			if r.Pushed[s.name()], err = j.bytes(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// job is what a side is to do: each round goes to a repository of its own.
func (m *measurement) job(s side, p phase, round, registry string) job {
	repo := fmt.Sprintf("%s/%s/%s", m.w.name, round, map[bool]string{true: "ours", false: "theirs"}[s == m.ours])
	if p == elsewhere {
		repo += "/elsewhere"
	}
	j := job{workload: m.w, dirs: m.dirs, push: fmt.Sprintf("%s/%s:1.0", registry, repo)}
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
		j.base = fmt.Sprintf("%s/bases/%s:latest", registry, m.w.bases[0])
	}
	return j
}

// count runs stagewright once more, through a proxy that counts requests.
func (m *measurement) count(ctx context.Context) error {
	c, err := count(m.registry)
	if err != nil {
		return err
	}
	defer c.http.Close()
	if m.dirs, err = m.contexts(filepath.Join(m.dir, "counted"), c.address); err != nil {
		return err
	}
	if err := m.ours.reset(ctx); err != nil {
		return err
	}
	for _, p := range m.w.phases {
		if p == edited || p == elsewhere {
			if err := m.edit(); err != nil {
				return err
			}
		}
		if _, err := m.ours.run(ctx, m.job(m.ours, p, "counted", c.address)); err != nil {
			return err
		}
		m.rows[p].Requests, m.rows[p].BaseRead = c.take()
	}
	return nil
}

// countOpens runs stagewright once more and counts which files of the context it opens.
func (m *measurement) countOpens(ctx context.Context) error {
	if err := m.ours.reset(ctx); err != nil {
		return err
	}
	for _, p := range m.w.phases {
		if p == edited || p == elsewhere {
			if err := m.edit(); err != nil {
				return err
			}
		}
		n, err := opens(m.dirs[0], func() error {
			_, err := m.ours.run(ctx, m.job(m.ours, p, "opens", m.registry))
			return err
		})
		if err != nil {
			return err
		}
		m.rows[p].Opened = &n
	}
	return nil
}

// bytes is the size of what a build has written.
func (j job) bytes(ctx context.Context) (int64, error) {
	if j.tar == "" {
		return pushedBytes(ctx, j.ref(0))
	}
	info, err := os.Stat(j.tar)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// pushedBytes is the size of the layers of an image, or of all images of an index.
func pushedBytes(ctx context.Context, ref string) (int64, error) {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return 0, err
	}
	descriptor, err := remote.Get(parsed, remote.WithContext(ctx))
	if err != nil {
		return 0, err
	}
	var images []v1.Image
	if descriptor.MediaType.IsIndex() {
		index, err := descriptor.ImageIndex()
		if err != nil {
			return 0, err
		}
		manifest, err := index.IndexManifest()
		if err != nil {
			return 0, err
		}
		for _, m := range manifest.Manifests {
			img, err := index.Image(m.Digest)
			if err != nil {
				return 0, err
			}
			images = append(images, img)
		}
	} else {
		img, err := descriptor.Image()
		if err != nil {
			return 0, err
		}
		images = append(images, img)
	}
	sizes := map[v1.Hash]int64{}
	for _, img := range images {
		manifest, err := img.Manifest()
		if err != nil {
			return 0, err
		}
		for _, l := range manifest.Layers {
			sizes[l.Digest] = l.Size
		}
	}
	var total int64
	for _, size := range sizes {
		total += size
	}
	return total, nil
}
