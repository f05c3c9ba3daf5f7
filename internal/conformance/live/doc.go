// Package live runs the cases of package conformance through a real BuildKit, whose daemon and client are built from the modules that
// this module's go.mod names, and compares what comes out with the goldens and with stagewright's own images. README.md has the
// commands.
package live
