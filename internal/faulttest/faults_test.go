//go:build linux

package faulttest_test

import "testing"

// TestFaults is what can go wrong while a build is under way, and afterwards. Each part has cache directories of its own; the files, the
// registry and the golden digests they have together.
func TestFaults(t *testing.T) {
	w := newWorld(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *world)
	}{
		{"Undisturbed", testUndisturbed},
		{"Killed", testKilled},
		{"KilledAtCall", testKilledAtCall},
		{"Crowd", testCrowd},
		{"CrowdEvicted", testCrowdEvicted},
		{"Damage", testDamage},
		{"FailingCall", testFailingCall},
		{"DiskFull", testDiskFull},
		{"FileTooLarge", testFileTooLarge},
		{"ReadOnlyCache", testReadOnlyCache},
		{"SyncOrder", testSyncOrder},
		{"ClockSetBack", testClockSetBack},
		{"RegistryCache", testRegistryCache},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, w.of(t)) })
	}
}
