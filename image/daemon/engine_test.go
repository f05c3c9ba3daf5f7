package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/daemon"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/platform"
)

// app is an image of two layers, of which the lower is the same in every version.
func app(t *testing.T, opens *imagetest.Opens, version string) image.Artifact {
	t.Helper()
	return image.Artifact{Image: imagetest.Make(t, image.Spec{
		Layers: []v1.Layer{
			imagetest.Layer(t, opens, map[string]string{"base": strings.Repeat("base ", 1000)}),
			imagetest.Layer(t, opens, map[string]string{"version": version}),
		},
		File: imagetest.File("linux", "amd64"),
	})}
}

// sink returns a sink for the fake, which is of its kind.
func (f *fake) sink(o daemon.Options, refs ...string) image.Sink {
	o.Host = f.host
	if f.podman {
		return daemon.PodmanWith(o, refs...)
	}
	return daemon.DockerWith(o, refs...)
}

func deliver(t *testing.T, s image.Sink, a image.Artifact) image.Delivery {
	t.Helper()
	d, err := image.Deliver(t.Context(), s, a, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func id(t *testing.T, a image.Artifact, f *fake) string {
	t.Helper()
	h, err := a.Image.ConfigName()
	if f.containerdStore {
		h, err = a.Image.Digest()
	}
	if err != nil {
		t.Fatal(err)
	}
	return h.Hex[:6]
}

// kinds are the daemons that there are.
func kinds() map[string]*fake {
	return map[string]*fake{"docker": {}, "podman": {podman: true}, "containerd's store": {containerdStore: true}}
}

// TestWhatTravels counts requests, opened layers and bytes: everything once, then only what is new, and nothing for what is there.
func TestWhatTravels(t *testing.T) {
	for kind, f := range kinds() {
		t.Run(kind, func(t *testing.T) {
			f.start(t.Cleanup)
			var opens imagetest.Opens
			one, two := app(t, &opens, "1"), app(t, &opens, "2")
			step := func(what string, a image.Artifact, refs []string, how string, opened int64, blobs, skipped int, calls int, names string) {
				t.Helper()
				opens.Store(0)
				f.takeCalls()
				d := deliver(t, f.sink(daemon.Options{}, refs...), a)
				made := f.takeCalls()
				if !strings.Contains(d.How, how) || opens.Load() != opened || d.Blobs != blobs || d.Skipped != skipped {
					t.Errorf("%s: %+v, %d layers opened; want %q, %d, %d blobs, %d skipped", what, d, opens.Load(), how, opened, blobs, skipped)
				}
				if len(made) != calls {
					t.Errorf("%s: %d requests %q, want %d", what, len(made), made, calls)
				}
				if got := f.names(); got != names {
					t.Errorf("%s: the daemon has %s\nwant %s", what, got, names)
				}
				if !strings.HasSuffix(d.Sink, " "+f.host) || len(d.Refs) != len(refs) {
					t.Errorf("%s: %+v", what, d)
				}
			}
			id1, id2 := id(t, one, f), id(t, two, f)
			app1 := []string{"app:1"}
			tagged := 4 // ping, is it there under the name, under its ID, tag
			if f.containerdStore {
				tagged++ // its ID is the second that is tried
			}
			// ping, 3 times is it there, pull, what is it, tag, remove the temporary name
			step("first", one, app1, "pulled it from this process", 2, 4, 0, 8, "docker.io/library/app:1="+id1)
			step("again", one, app1, "there already", 0, 0, 4, 2, "docker.io/library/app:1="+id1)
			step("another name", one, []string{"app:1", "app"}, "there already, named", 0, 0, 4, 4, "docker.io/library/app:1="+id1+" docker.io/library/app:latest="+id1)
			step("a new version", two, []string{"app"}, "pulled it from this process", 1, 3, 1, 8, "docker.io/library/app:1="+id1+" docker.io/library/app:latest="+id2)
			step("names move", two, app1, "there already, named", 0, 0, 4, tagged, "<none>="+id1+" docker.io/library/app:1="+id2+" docker.io/library/app:latest="+id2)
		})
	}
}

// TestArchive: where the daemon cannot pull, or must not, everything is streamed, and the delivery says why.
func TestArchive(t *testing.T) {
	for what, test := range map[string]struct {
		fake    *fake
		options daemon.Options
		refs    []string
		how     string
	}{
		"unreachable":         {&fake{noPull: true}, daemon.Options{}, []string{"app:1", "b:2"}, "streamed as an archive: Docker cannot pull from this process: dial tcp 127.0.0.1: connect: connection refused"},
		"unreachable, podman": {&fake{noPull: true, podman: true}, daemon.Options{}, []string{"app:1", "b:2"}, "streamed as an archive: Podman cannot pull from this process: pinging container registry: connection refused"},
		"wanted":              {&fake{}, daemon.Options{Archive: true}, []string{"app:1", "b:2"}, "streamed as an archive: Options.Archive is set"},
		"no name":             {&fake{}, daemon.Options{}, nil, "streamed as an archive: it gets no name"},
	} {
		t.Run(what, func(t *testing.T) {
			f := test.fake
			f.start(t.Cleanup)
			var opens imagetest.Opens
			a := app(t, &opens, "1")
			s := f.sink(test.options, test.refs...)
			var told int64
			d, err := image.Deliver(t.Context(), s, a, func(tr image.Transfer) { told = tr.Done })
			if err != nil {
				t.Fatal(err)
			}
			if d.How != test.how || d.Blobs != 4 || d.Bytes <= f.sent || told != d.Bytes || opens.Load() != 2 {
				t.Errorf("%+v, %d layers opened, %d bytes told", d, opens.Load(), told)
			}
			want := "<none>=" + id(t, a, f)
			if len(test.refs) > 0 {
				want = "docker.io/library/app:1=" + id(t, a, f) + " docker.io/library/b:2=" + id(t, a, f)
			}
			if got := f.names(); got != want {
				t.Errorf("the daemon has %s, want %s", got, want)
			}
			if d := deliver(t, s, a); d.How != "there already" || opens.Load() != 2 {
				t.Errorf("again: %+v, %d layers opened", d, opens.Load())
			}
		})
	}
}

// TestZstd: a Docker that cannot pull such layers gets them in an archive.
func TestZstd(t *testing.T) {
	for _, noZstd := range []bool{false, true} {
		f := &fake{noZstd: noZstd}
		f.start(t.Cleanup)
		data := []byte("as if it were compressed")
		l := image.NewLayer(image.LayerInfo{
			Digest: imagetest.Digest(data), DiffID: imagetest.Digest(data), Size: int64(len(data)), MediaType: types.OCILayerZStd,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		})
		a := image.Artifact{Image: imagetest.Make(t, image.Spec{Layers: []v1.Layer{l}, File: imagetest.File("linux", "amd64")})}
		d := deliver(t, f.sink(daemon.Options{}, "app"), a)
		if archive := strings.HasPrefix(d.How, "streamed as an archive: Docker cannot pull layers of zstd: "); archive != noZstd {
			t.Errorf("%+v", d)
		}
		if got, want := f.names(), "docker.io/library/app:latest="+id(t, a, f); got != want {
			t.Errorf("the daemon has %s, want %s", got, want)
		}
	}
}

// TestFailures: what goes wrong is reported, and names stay as they were.
func TestFailures(t *testing.T) {
	var opens imagetest.Opens
	with := func(layers ...v1.Layer) image.Artifact {
		return image.Artifact{Image: imagetest.Make(t, image.Spec{Layers: layers, File: imagetest.File("linux", "amd64")})}
	}
	lying := with(imagetest.Lying(t, map[string]string{"f": "1"}))
	var many []v1.Layer
	for n := range daemon.MaxDockerLayers + 1 {
		many = append(many, imagetest.Layer(t, &opens, map[string]string{"f": strings.Repeat("x", n)}))
	}
	var content *image.ContentError
	var layers *daemon.LayersError
	for what, test := range map[string]struct {
		fake    *fake
		options daemon.Options
		image   image.Artifact
		refs    []string
		want    string
		as      any
	}{
		"pull":              {&fake{failPull: "no space left on device"}, daemon.Options{}, app(t, &opens, "1"), nil, "Docker pulls the image: no space left on device", nil},
		"load":              {&fake{failLoad: "no space left on device"}, daemon.Options{Archive: true}, app(t, &opens, "1"), nil, "loading the image: no space left on device", nil},
		"in lines":          {&fake{failLoad: "no format:\n * oci: none\n * dir: none\n"}, daemon.Options{Archive: true}, app(t, &opens, "1"), nil, "no format: * oci: none * dir: none", nil},
		"swallowed":         {&fake{swallow: true}, daemon.Options{Archive: true}, app(t, &opens, "1"), nil, "it took the archive, and has no image sha256:", nil},
		"lying layer":       {&fake{}, daemon.Options{}, lying, nil, "sending the image: content of sha256:", &content},
		"lying, in archive": {&fake{noPull: true, podman: true}, daemon.Options{}, lying, nil, "loading the image: docker archive: ", &content},
		"too many layers":   {&fake{}, daemon.Options{}, with(many...), nil, "126 layers and Docker takes 125; join steps with Stage.Layer or Stage.Squash", &layers},
		"other platform":    {&fake{arch: "s390x"}, daemon.Options{}, image.Artifact{Index: imagetest.Index(t, &opens, "x")}, nil, "no image for linux/s390x, only for [linux/amd64 linux/arm64]; choose one in Options.Platform", nil},
		"bad name":          {&fake{}, daemon.Options{}, app(t, &opens, "1"), []string{"App:1"}, `"App:1" is not an image name`, nil},
		"nothing":           {&fake{}, daemon.Options{}, image.Artifact{}, nil, image.ErrArtifact.Error(), nil},
	} {
		t.Run(what, func(t *testing.T) {
			f := test.fake
			f.start(t.Cleanup)
			f.images["sha256:old000000"] = []string{"docker.io/library/app:1"}
			refs := test.refs
			if refs == nil {
				refs = []string{"app:1"}
			}
			err := f.sink(test.options, refs...).Write(t.Context(), test.image)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), f.host) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v; want one line with %q", err, test.want)
			}
			if test.as != nil && !errors.As(err, test.as) {
				t.Errorf("error %v is no %T", err, test.as)
			}
			if got := f.names(); got != "docker.io/library/app:1=old000" {
				t.Errorf("the daemon has %s", got)
			}
		})
	}
	unlimited := &fake{containerdStore: true}
	unlimited.start(t.Cleanup)
	deliver(t, unlimited.sink(daemon.Options{}, "app:1"), with(many...))
}

func TestIndex(t *testing.T) {
	for _, podman := range []bool{false, true} {
		f := &fake{arch: "aarch64", podman: podman}
		f.start(t.Cleanup)
		var opens imagetest.Opens
		x := imagetest.Index(t, &opens, "text")
		m, _ := x.IndexManifest()
		for n, o := range []daemon.Options{{Platform: platform.MustParse("linux/amd64")}, {}} {
			d := deliver(t, f.sink(o, "app"), image.Artifact{Index: x})
			img, _ := x.Image(m.Manifests[n].Digest)
			if got, want := f.names(), "docker.io/library/app:latest="+id(t, image.Artifact{Image: img}, f); !strings.Contains(got, want) {
				t.Errorf("the daemon has %s, want %s: %+v", got, want, d)
			}
		}
		if opens.Load() != 2 {
			t.Errorf("%d layers were opened, want one of each image", opens.Load())
		}
	}
}

// TestCancel: the daemon's request ends with the context, whose cause is the error, and no name is left.
func TestCancel(t *testing.T) {
	for what, o := range map[string]daemon.Options{"pull": {}, "load": {Archive: true}} {
		t.Run(what, func(t *testing.T) {
			f := &fake{hang: make(chan struct{})}
			f.start(t.Cleanup)
			var opens imagetest.Opens
			ctx, cancel := context.WithCancelCause(t.Context())
			stopped := errors.New("stopped by the user")
			go func() { <-f.hang; cancel(stopped) }()
			a := image.Artifact{Image: imagetest.Big(t, &opens, 4<<20)}
			if err := f.sink(o, "app").Write(ctx, a); !errors.Is(err, stopped) {
				t.Errorf("error %v", err)
			}
			<-f.gone
			if got := f.names(); got != "" {
				t.Errorf("the daemon has %s", got)
			}
		})
	}
}

// TestTemporaryNameIsRemoved also after the end of the context, which must not leave it behind.
func TestTemporaryNameIsRemoved(t *testing.T) {
	f := &fake{hang: make(chan struct{})}
	f.start(t.Cleanup)
	var opens imagetest.Opens
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-f.hang; cancel() }()
	if err := f.sink(daemon.Options{}, "app").Write(ctx, app(t, &opens, "1")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	<-f.gone
	if !slices.ContainsFunc(f.takeCalls(), func(c string) bool { return strings.HasPrefix(c, "DELETE /images/127.0.0.1:") }) {
		t.Error("the temporary name was not removed")
	}
}

func TestNotRunning(t *testing.T) {
	var opens imagetest.Opens
	var e *daemon.NotRunningError
	dir := t.TempDir()
	err := daemon.PodmanWith(daemon.Options{Host: dir + "/none.sock"}, "app").Write(t.Context(), app(t, &opens, "1"))
	if !errors.As(err, &e) || len(e.Tried) != 1 || !strings.Contains(err.Error(), "no such socket; start its service") {
		t.Errorf("error %v", err)
	}
	if opens.Load() != 0 {
		t.Error("a layer was opened")
	}
}
