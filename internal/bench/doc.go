// Bench runs stagewright and BuildKit on the same work, side by side, as whole processes, and prints medians, ratios and peak memory, and
// which of the project's figures are met. README.md says how to run it and what it found.
//
//	go run .                       # everything, 5 pairs each
//	go run . -only '^files' -n 9   # some workloads, 9 pairs
//	go run . -list                 # what there is
//
// It needs Linux, root, the go command, and the programs runc and docker-registry in PATH (apt-get install -y runc docker-registry).
package main
