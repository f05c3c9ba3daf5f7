package executortest_test

import (
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/executortest"
	"github.com/stagewright/stagewright/stage/local"
)

// onStore returns a maker of local executors.
func onStore(open func(t *testing.T) cache.Store) func(t *testing.T) stage.Executor {
	return func(t *testing.T) stage.Executor {
		e, err := local.New(local.Options{Store: open(t)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		return e
	}
}

func disk(t *testing.T) cache.Store {
	d, err := cache.OpenDisk(t.TempDir(), cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func memory(*testing.T) cache.Store { return cache.NewMemory() }

func TestLocalDisk(t *testing.T)   { executortest.Test(t, onStore(disk), executortest.Options{}) }
func TestLocalMemory(t *testing.T) { executortest.Test(t, onStore(memory), executortest.Options{}) }
