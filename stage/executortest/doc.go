// Package executortest is the conformance suite for implementations of
// [stage.Executor]. Call [Test] from a test of the implementation; what it checks
// is what package stage promises.
//
// The suite looks only at what every user can see: the files of each step, the
// images that come out, the report, the events and the errors. How an executor
// caches, schedules and packs layers is its own affair, as long as the same graph
// and files give the same digest.
//
// Stages that run programs use a small static program as their only file. It is
// compiled by the go command when the suite needs it; where there is none, or the
// executor's sandbox does not work on this machine, those tests skip with the
// reason.
package executortest
