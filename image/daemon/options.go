package daemon

import (
	"context"
	"fmt"
	"slices"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/platform"
)

// Options say where a daemon is and what it gets. The zero value looks in the standard places.
type Options struct {
	// Host is the daemon's address: for Docker and Podman "unix:///run/docker.sock", the path of a socket, or "tcp://127.0.0.1:2375", which
	// is plain HTTP; for containerd the path of its socket. Empty looks in the standard places; the error of a daemon that is not running
	// lists them. kind does not use it.
	Host string

	// Env looks up a variable of the environment; give os.LookupEnv. With it, DOCKER_HOST names Docker's address and CONTAINER_HOST
	// Podman's, and XDG_RUNTIME_DIR and HOME say where daemons of ordinary users have their sockets. Nil looks at none. The programs of
	// containerd and kind have the environment of this process anyway.
	Env func(name string) (value string, ok bool)

	// Platform is the one whose image is taken out of an index. Zero is the daemon's, and for programs that of containers on this machine.
	// An index of a single image needs no match.
	Platform platform.Platform

	// Archive has a whole archive sent in any case, to a Docker or a Podman that must not open connections to this process.
	Archive bool

	// Program is the path of ctr or kind. Empty is the one in PATH.
	Program string

	// Namespace is that of containerd. Empty is ctr's own: CONTAINERD_NAMESPACE, or "default". Kubernetes has its images in "k8s.io".
	Namespace string
}

// Docker returns a sink that gives the image to the Docker daemon of this machine, under names like "app:1.0".
//
// Without a name it is there under its ID alone, and always sent as an archive when it is not there.
func Docker(refs ...string) image.Sink { return DockerWith(Options{}, refs...) }

// DockerWith is [Docker] with options.
func DockerWith(o Options, refs ...string) image.Sink {
	return &engine{kind: docker, options: o, refs: slices.Clone(refs)}
}

// Podman returns a sink that gives the image to the Podman service of this machine, like [Docker].
func Podman(refs ...string) image.Sink { return PodmanWith(Options{}, refs...) }

// PodmanWith is [Podman] with options.
func PodmanWith(o Options, refs ...string) image.Sink {
	return &engine{kind: podman, options: o, refs: slices.Clone(refs)}
}

// Containerd returns a sink that imports the image into containerd with the program ctr, under names like "app:1.0", which containerd knows
// as "docker.io/library/app:1.0". There must be one.
func Containerd(refs ...string) image.Sink { return ContainerdWith(Options{}, refs...) }

// ContainerdWith is [Containerd] with options.
func ContainerdWith(o Options, refs ...string) image.Sink {
	return &containerd{options: o, refs: slices.Clone(refs)}
}

// Kind returns a sink that loads the image into every node of a kind cluster with the program kind; an empty name is that of the cluster
// that kind makes by default. There must be a name for the image. kind cannot say which images a node has, so they are sent every time.
func Kind(cluster string, refs ...string) image.Sink { return KindWith(cluster, Options{}, refs...) }

// KindWith is [Kind] with options.
func KindWith(cluster string, o Options, refs ...string) image.Sink {
	return &kind{cluster: cluster, options: o, refs: slices.Clone(refs)}
}

var (
	_ image.Reporter = (*engine)(nil)
	_ image.Reporter = (*containerd)(nil)
	_ image.Reporter = (*kind)(nil)
)

// telling is tell, or what does nothing.
func telling(tell func(image.Transfer)) func(image.Transfer) {
	if tell == nil {
		return func(image.Transfer) {}
	}
	return tell
}

// write is the Write of a reporter.
func write(ctx context.Context, r image.Reporter, a image.Artifact) error {
	_, err := image.Deliver(ctx, r, a, nil)
	return err
}

// finished is what Deliver returns: what was done, or where it failed.
func finished(d image.Delivery, err error) (image.Delivery, error) {
	if err != nil {
		return image.Delivery{Sink: d.Sink}, fmt.Errorf("%s: %w", d.Sink, err)
	}
	return d, nil
}

// full lists names as the daemons spell them.
func full(names []content.Name) []string {
	var list []string
	for _, n := range names {
		list = append(list, n.Full)
	}
	return list
}
