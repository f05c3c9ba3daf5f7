package local_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// refusingStore takes no records while it is full.
type refusingStore struct {
	*cache.Memory
	full atomic.Bool
}

var errRefused = errors.New("the cache is full")

func (s *refusingStore) Put(ctx context.Context, key cache.Key, data []byte) error {
	if s.full.Load() {
		return errRefused
	}
	return s.Memory.Put(ctx, key, data)
}

// A record that could not be written, beside the steps that follow, ends the build all the same and says of which
// step it is; and nobody waits for it afterwards.
func TestUnwrittenRecord(t *testing.T) {
	base := shell(t)
	store := &refusingStore{Memory: cache.NewMemory()}
	e, err := local.New(local.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	build(t, e, base, stage.Request{})
	s := base.Run("echo 1 > /f").Run("cat /f > /g")
	store.full.Store(true)
	res, err := e.Execute(t.Context(), compile(t, s), stage.Request{})
	var at *stage.Error
	if !errors.Is(err, errRefused) || !errors.As(err, &at) || at.Pos.Line == 0 || at.Stage != "shell" {
		t.Errorf("got %v, %v", res, err)
	}
	store.full.Store(false)
	if got := read(t, build(t, e, s, stage.Request{}), "g"); got != "1\n" {
		t.Errorf("afterwards %q", got)
	}
}
