//go:build !race

package hashpair

import (
	"crypto/sha256"
	"testing"
)

// TestNoAllocation: AllocsPerRun counts what the runtime allocates meanwhile, too, so that one round without any is the proof. (Compiled for
// the race detector, crypto/sha256 allocates for an encoding.)
func TestNoAllocation(t *testing.T) {
	w, data := New(sha256.New(), sha256.New()), make([]byte, 64<<10)
	least := testing.AllocsPerRun(10, func() { w.Write(data) })
	for range 20 {
		least = min(least, testing.AllocsPerRun(10, func() { w.Write(data) }))
	}
	if least != 0 {
		t.Errorf("a Write allocates %v times", least)
	}
}
