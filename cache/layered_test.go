package cache_test

import (
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/cachetest"
)

// TestLayeredConformance: nothing behind changes what a store promises.
func TestLayeredConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) cache.Store{
		"nothing behind": func(*testing.T) cache.Store { return cache.NewLayered(cache.NewMemory()) },
		"memory behind memory": func(*testing.T) cache.Store {
			return cache.NewLayered(cache.NewMemory(), cache.NewMemory(), cache.NewMemory())
		},
		"disk behind memory": func(t *testing.T) cache.Store {
			return cache.NewLayered(cache.NewMemory(), openDisk(t, t.TempDir()))
		},
		"memory behind disk": func(t *testing.T) cache.Store {
			return cache.NewLayered(openDisk(t, t.TempDir()), cache.NewMemory())
		},
	} {
		t.Run(name, func(t *testing.T) { cachetest.Test(t, open) })
	}
}
