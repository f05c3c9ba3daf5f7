// Package faulttest holds no code: its tests build while something breaks, with real processes, files and registries, and then
// hold the cache to its promise. What it has is right or it is not there: every build afterwards yields the digest of a build in an
// undisturbed cache, needs no repair, and leaves no process, mount or temporary file behind.
//
//	go test ./internal/faulttest         a sample of each, some seconds for each part
//	make soak                            all of it, for hours; make soak SOAK=TestFaults/Damage one part
//	go test ./internal/faulttest -seed N the samples that a failure named; 0 for others than the last time
//
// What builds, and is killed, is the test binary itself, which main_test.go runs again as a child. One that does not end in its time fails the
// test with the stacks of its goroutines, and nothing of it goes on running; see bound_test.go.
//
// What of the whole a test takes is chosen by a seed: a run without -seed begins with the same samples as every other, -seed 0 and make
// soak with others each time, and each logs which. Moments of a kill by the clock are no more than likely to be the same again,
// those by an event or a system call are.
package faulttest
