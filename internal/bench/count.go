package main

import (
	"context"
	"fmt"
)

// countAll runs stagewright and BuildKit once more in every phase, through a proxy that stands where the registry was, and counts what is sent, what is
// asked, which files of the context stagewright opens, and how large the processes get that a side starts.
func (m *measurement) countAll(ctx context.Context) error {
	behind, err := freeAddress()
	if err != nil {
		return err
	}
	return m.withRegistry(ctx, behind, m.w.bases, func() error {
		c, err := count(m.registry, behind)
		if err != nil {
			return err
		}
		defer c.http.Close()
		for _, p := range m.w.phases {
			if p == edited || p == elsewhere {
				if err := m.edit(); err != nil {
					return err
				}
			}
			for _, s := range m.sides(p, -1) {
				if err := m.countOne(ctx, c, s, p); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// countOne counts one run of one side.
func (m *measurement) countOne(ctx context.Context, c *counter, s side, p phase) error {
	j := m.job(s, p, "counted")
	j.children = true
	c.take()
	var result sample
	run := func() (err error) {
		result, err = m.once(ctx, s, p, j)
		return err
	}
	r := m.rows[p]
	var err error
	if _, ok := m.w.opens[p]; (ok || p == cold && m.w.opens != nil) && s.name() == nameOurs {
		var n int
		n, err = opens(m.dirs[0], run)
		r.Opened = &n
	} else {
		err = run()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		m.fail(s, p, fmt.Errorf("counting: %w", err))
		return nil
	}
	seen := c.take()
	r.Moved[s.name()] = seen.moved
	r.Children[s.name()] = result.Children
	if s.name() == nameOurs {
		r.Requests, r.BaseRead = seen.requests, seen.blobs
	}
	m.tell("%s, %s, counted, %s: sent %d bytes, got %d, largest child %d MiB", m.w.name, p, s.name(), seen.moved.Up, seen.moved.Down, result.Children>>20)
	return nil
}
