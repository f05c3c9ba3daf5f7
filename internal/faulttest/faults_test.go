//go:build linux

package faulttest_test

import "testing"

// TestFaults is what can go wrong while a build is under way, and afterwards. Each part has cache directories of its own; the files, the
// registry and the golden digests they have together.
func TestFaults(t *testing.T) {
	t.Logf("seed %d", *seed)
	w := newWorld(t)
	for _, part := range []struct {
		name  string
		test  func(*testing.T, *world)
		short bool // with -short, too: what is worth the time of a race detector
	}{
		{"Undisturbed", testUndisturbed, true},
		{"Killed", testKilled, true},
		{"KilledAtCall", testKilledAtCall, false},
		{"Crowd", testCrowd, true},
		{"CrowdEvicted", testCrowdEvicted, false},
		{"Damage", testDamage, false},
		{"FailingCall", testFailingCall, false},
		{"DiskFull", testDiskFull, false},
		{"FileTooLarge", testFileTooLarge, false},
		{"ReadOnlyCache", testReadOnlyCache, false},
		{"SyncOrder", testSyncOrder, false},
		{"ClockSetBack", testClockSetBack, false},
		{"RegistryCache", testRegistryCache, true},
	} {
		if testing.Short() && !part.short {
			continue
		}
		t.Run(part.name, func(t *testing.T) { part.test(t, w.of(t)) })
	}
}
