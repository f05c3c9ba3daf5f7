// Package interop has the tests that hand one image to every medium and ask the programs of other people what they read there: skopeo, umoci,
// Podman, Docker, containerd, Debian's registry. See README.md for how to run them.
package interop
