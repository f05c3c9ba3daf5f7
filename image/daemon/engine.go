package daemon

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/platform"
)

// engine is a sink for Docker or Podman.
type engine struct {
	kind    flavour
	options Options
	refs    []string
}

// String says where the sink writes. Which of the standard places it is, only the delivery can tell.
func (s *engine) String() string {
	if s.options.Host == "" {
		return s.kind.name
	}
	if a, err := parseHost(s.options.Host); err == nil {
		return s.kind.name + " " + a.String()
	}
	return s.kind.name + " " + s.options.Host
}

// Check implements [image.Checker].
func (s *engine) Check() error {
	_, err := content.ParseNames(s.refs)
	_, err = finished(image.Delivery{Sink: s.String()}, err)
	return err
}

// Write implements [image.Sink].
func (s *engine) Write(ctx context.Context, a image.Artifact) error { return write(ctx, s, a) }

// Deliver implements [image.Reporter].
func (s *engine) Deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	d := image.Delivery{Sink: s.String()}
	err := s.deliver(ctx, a, telling(tell), &d)
	return finished(d, err)
}

// delivery is one image on its way into one daemon.
type delivery struct {
	*client
	image  v1.Image
	ids    []string // that the daemon may know the image by: the config's digest, and the manifest's in containerd's store
	digest v1.Hash  // of the manifest
	layers int
	zstd   bool // whether one is compressed with it
	names  []content.Name
	tell   func(image.Transfer)
	report *image.Delivery
}

func (s *engine) deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer), report *image.Delivery) error {
	names, err := content.ParseNames(s.refs)
	if err != nil {
		return err
	}
	c, err := connect(ctx, s.options, s.kind)
	if err != nil {
		return err
	}
	defer c.close()
	report.Sink = s.kind.name + " " + c.address.String()
	d := &delivery{client: c, names: names, tell: tell, report: report}
	if err := d.choose(a, func() (platform.Platform, error) {
		if !s.options.Platform.IsZero() {
			return s.options.Platform, nil
		}
		return c.platform(ctx)
	}); err != nil {
		return err
	}
	there, missing, err := d.look(ctx)
	if err != nil {
		return fmt.Errorf("looking for the image: %w", err)
	}
	report.Refs = full(names)
	switch {
	case there == "":
		return d.send(ctx, s.options.Archive)
	case len(missing) == 0:
		report.How, report.Skipped = "there already", d.layers+2
		return nil
	}
	report.How, report.Skipped = "there already, named", d.layers+2
	return d.name(ctx, there, missing)
}

// choose takes the image out of an artifact. It asks for a platform only when there are several.
func (d *delivery) choose(a image.Artifact, platformOf func() (platform.Platform, error)) error {
	var want platform.Platform
	var err error
	if a.Index != nil {
		if want, err = platformOf(); err != nil {
			return err
		}
	}
	if d.image, err = content.Pick(a, want); err != nil {
		return err
	}
	if err := content.Container(d.image); err != nil {
		return fmt.Errorf("%w; a daemon takes images alone", err)
	}
	config, err := d.image.ConfigName()
	if err != nil {
		return err
	}
	if d.digest, err = d.image.Digest(); err != nil {
		return err
	}
	m, err := d.image.Manifest()
	if err != nil {
		return err
	}
	d.ids, d.layers = []string{config.String(), d.digest.String()}, len(m.Layers)
	d.zstd = slices.ContainsFunc(m.Layers, func(l v1.Descriptor) bool { return l.MediaType == types.OCILayerZStd })
	return nil
}

// look returns by what the image can be found, or "", and the names that it has not.
func (d *delivery) look(ctx context.Context) (there string, missing []string, err error) {
	for _, n := range d.names {
		id, err := d.id(ctx, n.Full)
		switch {
		case err != nil:
			return "", nil, err
		case slices.Contains(d.ids, id):
			there = id
		default:
			missing = append(missing, n.Full)
		}
	}
	for _, id := range d.ids {
		if there != "" {
			break
		}
		if there, err = d.id(ctx, id); err != nil {
			return "", nil, err
		}
	}
	return there, missing, nil
}

func (d *delivery) name(ctx context.Context, id string, names []string) error {
	for _, n := range names {
		if err := d.tag(ctx, id, n); err != nil {
			return err
		}
	}
	return nil
}

// MaxDockerLayers is how many layers the images of Docker's own store can have (moby, layer.maxLayerDepth: two of overlay2's 127 are for
// the container). Its containerd image store has no such limit.
const MaxDockerLayers = 125

// LayersError says that an image has more layers than the daemon takes.
type LayersError struct{ Layers, Max int }

// Error says what to do.
func (e *LayersError) Error() string {
	return fmt.Sprintf("the image has %d layers and Docker takes %d; join steps with Stage.Layer or Stage.Squash, and set Options.MaxLayers to be told before the build is done", e.Layers, e.Max)
}

// checkLayers refuses what Docker would refuse after everything has travelled.
func (d *delivery) checkLayers(ctx context.Context) error {
	if d.libpod != "" || d.layers <= MaxDockerLayers || d.os == "windows" {
		return nil
	}
	var info struct{ DriverStatus [][2]string }
	if err := d.get(ctx, d.api+"/info", &info); err != nil {
		return err
	}
	if slices.Contains(info.DriverStatus, [2]string{"driver-type", "io.containerd.snapshotter.v1"}) {
		return nil
	}
	return &LayersError{d.layers, MaxDockerLayers}
}

// send brings the image there, in the way that moves least.
func (d *delivery) send(ctx context.Context, archive bool) error {
	if err := d.checkLayers(ctx); err != nil {
		return err
	}
	why := ""
	switch {
	case archive:
		why = ": Options.Archive is set"
	case len(d.names) == 0:
		why = ": it gets no name"
	default:
		err := d.pull(ctx)
		if err == nil || !cannotPull(err) {
			return err
		}
		why = ": " + oneLine(err.Error(), 300)
	}
	d.report.How = "streamed as an archive" + why
	return d.load(ctx)
}
