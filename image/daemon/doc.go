// Package daemon gives images to what runs containers on this machine: Docker and Podman over their sockets, containerd and kind through
// their programs. No client module is needed.
//
// The calls to start with are [Docker] and [Podman], and [Containerd] and [Kind]; each returns an image.Sink that says what it did
// (image.Reporter).
//
// # What travels
//
// An image that is there under the wanted names is not touched, and one that is there under another name is only named; Docker and Podman
// know images by the digest of the config, containerd by that of the manifest. Otherwise Docker and Podman are asked to pull from this
// process, which serves the image on the loopback address for as long as that takes (package image/serve, under a name that nobody can
// guess): only the layers that the daemon does not know travel. Where it cannot reach this process (a daemon in a virtual machine or on
// another host, or this process in a container), and where it cannot pull layers of zstd, a whole archive is streamed to it. containerd and
// kind always get an archive. Delivery.How says which way it was, and why. No temporary file is written here.
//
// # Guarantees
//
//   - The wanted names are given when the whole image is there. A failure before leaves the daemon's images and names as they were; layers
//     that arrived stay with the daemon, which uses or removes them. A daemon that refuses one of several names has those before it.
//   - The temporary name of a pull is removed, also after a failure.
//   - Layers are verified while they are sent, and what arrived under a name is the image that was given.
//   - When the context ends, so does the request or the program. A daemon that is asked for an answer at once gets a minute; one that loads
//     or pulls gets until then.
//
// # Limits
//
// A daemon has one image for a name: of an index, that for the daemon's platform is taken, or Options.Platform. Docker's own store takes
// [MaxDockerLayers] layers, and more are refused before anything is sent. Names are as for `docker tag`.
//
// The package does not read the environment. Options.Env lets the sinks find what DOCKER_HOST, CONTAINER_HOST and XDG_RUNTIME_DIR name.
//
// Sinks may be used by several goroutines and processes at once.
package daemon
