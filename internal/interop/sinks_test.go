package interop

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/daemon"
)

// sinks are those that give an image to an engine of this machine.
var sinks = map[string]struct {
	start func(t *testing.T) (engine, daemon.Options)
	sink  func(o daemon.Options, refs ...string) image.Sink
	pulls bool // the engine pulls from us, and so gets only the layers that it has not
}{
	"docker": {func(t *testing.T) (engine, daemon.Options) {
		d := startDocker(t)
		return d, daemon.Options{Host: "unix://" + d.socket}
	}, daemon.DockerWith, true},
	"docker-archive": {func(t *testing.T) (engine, daemon.Options) {
		d := startDocker(t)
		return d, daemon.Options{Host: "unix://" + d.socket, Archive: true}
	}, daemon.DockerWith, false},
	"podman": {func(t *testing.T) (engine, daemon.Options) {
		p, socket := startPodmanService(t)
		return p, daemon.Options{Host: "unix://" + socket}
	}, daemon.PodmanWith, true},
	"containerd": {func(t *testing.T) (engine, daemon.Options) {
		c := startContainerd(t)
		return c, daemon.Options{Host: c.socket, Namespace: "interop"}
	}, daemon.ContainerdWith, false},
}

// TestSinks gives the image to each engine, twice, then one with a layer more, and counts what travelled.
func TestSinks(t *testing.T) {
	b := only(fixtures(t), "grouped")[0]
	for name, use := range sinks {
		t.Run(name, func(t *testing.T) {
			e, options := use.start(t)
			for _, i := range b.images {
				t.Run(i.platform.Architecture, func(t *testing.T) {
					options.Platform = i.platform
					ref, more := "example.org/sink/"+name+":1.0", "example.org/sink/"+name+":more"
					deliver := func(ref string, a image.Artifact) image.Delivery {
						d, err := image.Deliver(t.Context(), use.sink(options, ref), a, nil)
						if err != nil {
							t.Fatal(err)
						}
						t.Logf("%+v", d)
						return d
					}
					what := []string{"nothing the second time"}
					if d := deliver(ref, b.artifact); d.Blobs == 0 || d.Bytes == 0 {
						t.Errorf("the first time: %+v", d)
					}
					if d := deliver(ref, b.artifact); d.Blobs != 0 || d.Bytes != 0 {
						t.Errorf("the second time: %+v", d)
					}
					d := deliver(more, image.Artifact{Image: oneMore(t, i.image)})
					if use.pulls {
						if d.Bytes > 64<<10 {
							t.Errorf("with one small layer more: %+v", d)
						}
						what = append(what, "only missing layers")
					}
					e.remove(t, more)
					check(t, e, "daemon sink, "+name, ref, "", b, i)
					compared(t, "daemon sink, "+name, e.String(), b.name+" "+i.platform.Architecture, what...)
				})
			}
		})
	}
}

// TestSinkRefusesTooManyLayers: Docker would find out in the middle.
func TestSinkRefusesTooManyLayers(t *testing.T) {
	b := only(fixtures(t), "deep")[0]
	d := startDocker(t)
	err := daemon.DockerWith(daemon.Options{Host: "unix://" + d.socket}, "example.org/sink/deep:1.0").Write(t.Context(), b.artifact)
	var layers *daemon.LayersError
	if !errors.As(err, &layers) {
		t.Errorf("error %v, want a *daemon.LayersError", err)
	}
}

// oneMore is an image with one small layer on top of another image.
func oneMore(t *testing.T, base v1.Image) v1.Image {
	t.Helper()
	l, err := zipped([]entry{text("more", 0o644, "one more\n")})
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.FileOf(base)
	if err != nil {
		t.Fatal(err)
	}
	file.History = append(file.History, image.History{CreatedBy: "one more"})
	img, err := image.New(image.Spec{Base: base, Layers: []v1.Layer{l}, File: file})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

var podmanOnce struct {
	sync.Once
	engine *podman
	socket string
}

// startPodmanService starts Podman's API, on a store of its own.
func startPodmanService(t *testing.T) (p *podman, socket string) {
	t.Helper()
	podmanOnce.Do(func() {
		dir := filepath.Join(shared.dir, "service")
		p := newPodman(t, "overlay", dir)
		socket := filepath.Join(dir, "podman.sock")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		service := append(p.program[:len(p.program):len(p.program)], "system", "service", "--time", "0", "unix://"+socket)
		start(t, dir, service, func(ctx context.Context) error {
			c, err := new(net.Dialer).DialContext(ctx, "unix", socket)
			if err != nil {
				return err
			}
			return c.Close()
		})
		podmanOnce.engine, podmanOnce.socket = p, socket
	})
	if podmanOnce.engine == nil {
		t.Fatal("the podman service was not started; see the first test that needs it")
	}
	return podmanOnce.engine, podmanOnce.socket
}
