package daemon_test

import (
	"context"
	"fmt"
	"log"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/daemon"
)

// Sinks go into the Options of a build: stagewright.Options{Sinks: …}.
func Example() {
	sinks := []image.Sink{
		daemon.Docker("app:1.0"),
		daemon.Podman("app:1.0", "app:latest"),
		daemon.Containerd("registry.example.com/app:1.0"),
		daemon.Kind("dev", "app:1.0"),
	}
	for _, s := range sinks {
		fmt.Println(s)
	}
	// Output:
	// docker
	// podman
	// containerd
	// kind cluster dev
}

// Only what is new travels, and the delivery says so.
func ExampleDockerWith() {
	host, stop := startDaemon() // "unix:///run/user/1000/docker.sock"
	defer stop()
	sink := daemon.DockerWith(daemon.Options{Host: host}, "app:1.0")
	for range 2 {
		d, err := image.Deliver(context.Background(), sink, small(), nil)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(d.How, d.Refs, d.Blobs)
	}
	// Output:
	// Docker pulled it from this process [docker.io/library/app:1.0] 2
	// there already [docker.io/library/app:1.0] 0
}

// A variable of the environment names the service. A program would give os.LookupEnv.
func ExamplePodmanWith() {
	env := func(name string) (string, bool) { return "unix:///run/nobody/podman.sock", name == "CONTAINER_HOST" }
	err := daemon.PodmanWith(daemon.Options{Env: env}, "app:1.0").Write(context.Background(), small())
	fmt.Println(err)
	// Output:
	// podman: no Podman daemon answers: unix:///run/nobody/podman.sock: no such socket; start its service (`systemctl --user start podman.socket`, or `podman system service --time=0`), or name its socket in Options.Host
}

// Kubernetes' images are in a namespace of their own.
func ExampleContainerdWith() {
	o := daemon.Options{Host: "/run/nobody/containerd.sock", Namespace: "k8s.io"}
	err := daemon.ContainerdWith(o, "app:1.0").Write(context.Background(), small())
	fmt.Println(err)
	// Output:
	// containerd unix:///run/nobody/containerd.sock namespace k8s.io: no containerd daemon answers: unix:///run/nobody/containerd.sock: no such socket; start it (`systemctl start containerd`), or name its socket in Options.Host
}

// The program need not be in PATH.
func ExampleKindWith() {
	err := daemon.KindWith("dev", daemon.Options{Program: "./tools/kind"}).Write(context.Background(), small())
	fmt.Println(err)
	// Output:
	// kind cluster dev: it knows images by their names alone; give one, like app:1.0
}

// startDaemon starts what answers like Docker.
func startDaemon() (host string, stop func()) {
	host = new(fake).start(func(f func()) { stop = f })
	return host, stop
}

func small() image.Artifact {
	img, err := image.New(image.Spec{File: image.File{OS: "linux", Architecture: "amd64"}})
	if err != nil {
		log.Fatal(err)
	}
	return image.Artifact{Image: img}
}
