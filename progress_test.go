package stagewright_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/stage"
)

// talkative is a sink that tells of its progress in a goroutine of its own, and goes on until
// the build ends.
type talkative struct{}

func (s talkative) Write(ctx context.Context, a image.Artifact) error {
	_, err := s.Deliver(ctx, a, nil)
	return err
}

func (talkative) Deliver(ctx context.Context, _ image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	var wg sync.WaitGroup
	wg.Go(func() { tell(image.Transfer{What: "blob", Done: 1, Total: -1}) })
	wg.Wait()
	<-ctx.Done()
	return image.Delivery{}, context.Cause(ctx)
}

// Whatever goroutine Options.Progress panics in, the panic comes out of Build.
func TestProgressPanics(t *testing.T) {
	for name, on := range map[string]func(stage.Event) bool{
		"the start of a step":    func(ev stage.Event) bool { _, ok := ev.(stage.StepStarted); return ok },
		"the end of a step":      func(ev stage.Event) bool { _, ok := ev.(stage.StepFinished); return ok },
		"the progress of a sink": func(ev stage.Event) bool { _, ok := ev.(stage.SinkProgress); return ok },
	} {
		calls := 0
		func() {
			defer func() {
				if p, ok := recover().(*dag.PanicError); !ok || p.Value != "mine" {
					t.Errorf("%s: recovered %v, want the panic of the callback", name, p)
				}
			}()
			_, err := stagewright.Build(t.Context(), stage.Scratch().File("/f", "x").File("/g", "x"), stagewright.Options{
				Store: cache.NewMemory(), Sinks: []image.Sink{talkative{}},
				Progress: func(ev stage.Event) {
					if on(ev) {
						calls++
						panic("mine")
					}
				},
			})
			t.Errorf("%s: Build returned %v", name, err)
		}()
		if calls != 1 {
			t.Errorf("%s: the callback was called %d times after it had panicked", name, calls-1)
		}
	}
}
