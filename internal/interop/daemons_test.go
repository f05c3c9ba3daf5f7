package interop

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	sinks "github.com/stagewright/stagewright/image/daemon"
)

// podmanSockets are the sockets of Podman's services, by the driver of their storage.
var podmanSockets = struct {
	sync.Mutex
	of map[string]string
}{of: map[string]string{}}

// service starts Podman as a daemon, on the storage that its program uses, too.
func (p *podman) service(t *testing.T) string {
	t.Helper()
	podmanSockets.Lock()
	defer podmanSockets.Unlock()
	if podmanSockets.of[p.driver] == "" {
		dir := filepath.Join(shared.dir, "service-"+p.driver)
		socket := "unix://" + filepath.Join(dir, "sock")
		start(t, dir, slices.Concat(p.program, []string{"system", "service", "--time=0", socket}),
			answers("podman", "--remote", "--url", socket, "version"))
		podmanSockets.of[p.driver] = socket
	}
	return podmanSockets.of[p.driver]
}

// sink returns the sink for an engine, and the beginning of what it says when the image was not there.
func sink(t *testing.T, e engine, o sinks.Options, refs ...string) (s image.Sink, how string) {
	t.Helper()
	switch e := e.(type) {
	case *docker:
		o.Host, how = "unix://"+e.socket, "Docker pulled it from this process"
		s = sinks.DockerWith(o, refs...)
	case *podman:
		o.Host, how = e.service(t), "Podman pulled it from this process"
		s = sinks.PodmanWith(o, refs...)
	case *containerd:
		o.Host, o.Namespace, o.Archive = e.socket, "interop", true
		s = sinks.ContainerdWith(o, refs...)
	default:
		t.Fatalf("no sink for %s", e)
	}
	if o.Archive {
		how = "streamed as an archive"
	}
	return s, how
}

func deliver(t *testing.T, s image.Sink, b *variant) image.Delivery {
	t.Helper()
	d, err := image.Deliver(t.Context(), s, b.artifact, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDaemons has the sinks for engines deliver the image: pulled from this process and as an archive; the second time nothing is sent, and
// another name is only given.
func TestDaemons(t *testing.T) {
	eachEngine(t, []string{"grouped", "docker", "zstd"}, func(t *testing.T, e engine, b *variant, i builtImage) {
		name := "example.org/interop/sink-" + b.name + ":1.0"
		for _, archive := range []bool{false, true} {
			o := sinks.Options{Platform: i.platform, Archive: archive}
			s, how := sink(t, e, o, name)
			d := deliver(t, s, b)
			_, isDocker := e.(*docker)
			if b.name == "zstd" && isDocker && !archive {
				how = "streamed as an archive: Docker cannot pull layers of zstd" // before version 23
			}
			if !strings.HasPrefix(d.How, how) || d.Blobs == 0 || d.Bytes == 0 {
				t.Errorf("%s: the first time: %+v, want %q", e, d, how)
			}
			if d := deliver(t, s, b); d.How != "there already" || d.Blobs != 0 {
				t.Errorf("%s: the second time: %+v", e, d)
			}
			second := "example.org/interop/sink-" + b.name + ":second"
			s, _ = sink(t, e, o, name, second)
			if d := deliver(t, s, b); d.How != "there already, named" || d.Blobs != 0 {
				t.Errorf("%s: a second name: %+v", e, d)
			}
			e.remove(t, second)
			if !archive {
				s, _ = sink(t, e, o, name) // what is there is compared once
				deliver(t, s, b)
				e.remove(t, name)
			}
		}
		s, how := sink(t, e, sinks.Options{Platform: i.platform}, name)
		deliver(t, s, b)
		if strings.Contains(how, "pulled") {
			onlyTheMissingLayer(t, e, b, i)
		}
		check(t, e, "image/daemon", name, "", b, i)
		compared(t, "image/daemon", e.String(), b.name+" "+i.platform.Architecture, "nothing the second time")
	})
}

// onlyTheMissingLayer delivers an image with one small layer more than what the engine has: beside it the manifest and the configuration travel.
func onlyTheMissingLayer(t *testing.T, e engine, b *variant, i builtImage) {
	t.Helper()
	if b.name != "grouped" {
		return
	}
	more := "example.org/interop/sink-more:1.0"
	s, _ := sink(t, e, sinks.Options{Platform: i.platform}, more)
	d, err := image.Deliver(t.Context(), s, image.Artifact{Image: oneMore(t, i.image)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.Blobs > 3 || d.Bytes > 64<<10 {
		t.Errorf("%s: one small layer more: %+v", e, d)
	}
	e.remove(t, more)
	compared(t, "image/daemon", e.String(), b.name+" "+i.platform.Architecture, "only the missing layer travels")
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

// TestDockerLayers: an image that Docker could not start is refused before a layer is sent.
func TestDockerLayers(t *testing.T) {
	b := only(fixtures(t), "deep")[0]
	d := startDocker(t)
	s, _ := sink(t, d, sinks.Options{}, "example.org/interop/deep:1.0")
	var e *sinks.LayersError
	if err := s.Write(t.Context(), b.artifact); !errors.As(err, &e) || e.Max != sinks.MaxDockerLayers {
		t.Errorf("an image with a layer for each step: %v", err)
	}
}
