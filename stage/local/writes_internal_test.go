package local

import (
	"errors"
	"slices"
	"testing"

	"github.com/stagewright/stagewright/internal/dag"
)

// Writes are done in their order, all of them, also when more come than may wait.
func TestWrites(t *testing.T) {
	var w writes
	first := make(chan struct{})
	var got, want []int
	for i := range maxWrites / 2 {
		want = append(want, i)
		if err := w.add(func() error { <-first; got = append(got, i); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	close(first)
	if err := w.settle(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	done := make(chan struct{}, 3*maxWrites)
	for range 3 * maxWrites {
		if err := w.add(func() error { done <- struct{}{}; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.settle(); err != nil || len(done) != cap(done) {
		t.Errorf("%d of %d were done, %v", len(done), cap(done), err)
	}
}

func TestWriteFails(t *testing.T) {
	var w writes
	full, later := errors.New("the disk is full"), errors.New("another")
	gate := make(chan struct{})
	if err := w.add(func() error { <-gate; return full }); err != nil {
		t.Error(err)
	}
	ran := false
	if err := w.add(func() error { ran = true; return later }); err != nil {
		t.Error(err)
	}
	close(gate)
	if err := w.settle(); err != full || !ran {
		t.Errorf("got %v, want the first error; the other one was done: %v", err, ran)
	}
	if err := w.settle(); err != nil {
		t.Errorf("told twice: %v", err)
	}
	_ = w.add(func() error { panic("a store") })
	func() {
		defer func() {
			if p, ok := recover().(*dag.PanicError); !ok || p.Value != "a store" {
				t.Errorf("got %v", p)
			}
		}()
		_ = w.settle()
		t.Error("a panic was lost")
	}()
}
