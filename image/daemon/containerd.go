package daemon

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// containerd is a sink that uses ctr.
type containerd struct {
	options Options
	refs    []string
}

// String says where the sink writes.
func (s *containerd) String() string {
	text := "containerd"
	if socket := s.socket(); socket != "" {
		text += " unix://" + socket
	}
	if s.options.Namespace != "" {
		text += " namespace " + s.options.Namespace
	}
	return text
}

// Check implements [image.Checker].
func (s *containerd) Check() error {
	_, err := named(s.refs)
	_, err = finished(image.Delivery{Sink: s.String()}, err)
	return err
}

// Write implements [image.Sink].
func (s *containerd) Write(ctx context.Context, a image.Artifact) error { return write(ctx, s, a) }

// Deliver implements [image.Reporter].
func (s *containerd) Deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	d := image.Delivery{Sink: s.String()}
	err := s.deliver(ctx, a, telling(tell), &d)
	return finished(d, err)
}

// socket is the path that Options names, or empty for ctr's own: CONTAINERD_ADDRESS, or /run/containerd/containerd.sock.
func (s *containerd) socket() string { return strings.TrimPrefix(s.options.Host, "unix://") }

const startContainerd = "start it (`systemctl start containerd`), or name its socket in Options.Host"

func (s *containerd) ctr() program {
	p := program{path: cmp.Or(s.options.Program, "ctr"), install: "install containerd (Debian: apt-get install containerd), or name its program ctr in Options.Program"}
	if socket := s.socket(); socket != "" {
		p.args = append(p.args, "--address", socket)
	}
	if s.options.Namespace != "" {
		p.args = append(p.args, "--namespace", s.options.Namespace)
	}
	return p
}

func (s *containerd) deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer), report *image.Delivery) error {
	names, err := named(s.refs)
	if err != nil {
		return err
	}
	d, err := s.options.pick(a)
	if err != nil {
		return err
	}
	ctr, socket := s.ctr(), address{"unix", s.socket()}
	if socket.addr != "" { // ctr takes ten seconds to find that nothing listens
		if conn, err := socket.dial(ctx); err == nil {
			conn.Close()
		} else if context.Cause(ctx) == nil {
			return &NotRunningError{Engine: "containerd", Tried: []Place{{socket.String(), err}}, start: startContainerd}
		}
	}
	have, err := list(ctx, ctr, d.digest.String())
	if err != nil {
		if strings.Contains(err.Error(), "failed to dial") { // ctr names the socket, which was its own choice
			err = fmt.Errorf("no containerd answers: %w; %s", err, startContainerd)
		}
		return fmt.Errorf("looking for the image: %w", err)
	}
	var missing []content.Name
	source := ""
	for name := range have {
		source = max(source, name)
	}
	for _, n := range names {
		if !have[n.Full] {
			missing = append(missing, n)
		}
	}
	report.Refs = full(names)
	switch {
	case len(missing) == 0:
		report.How, report.Skipped = "there already", d.layers+2
		return nil
	case source != "":
		report.How, report.Skipped = "there already, named", d.layers+2
		_, err = ctr.run(ctx, nil, append([]string{"images", "tag", "--force", source}, full(missing)...)...)
		return err
	}
	args := []string{"images", "import"}
	if p := s.options.Platform; !p.IsZero() {
		args = append(args, "--platform", p.String())
	}
	tar := newStream(ctx, d.image, names, tell)
	_, err = ctr.run(ctx, tar, append(args, "-")...)
	if err := tar.finish(ctx, err); err != nil {
		return err
	}
	report.How, report.Blobs, report.Bytes = "streamed as an archive: ctr takes nothing else", d.layers+2, tar.bytes
	return nil
}

// list returns the names of the images that have a digest.
func list(ctx context.Context, ctr program, digest string) (map[string]bool, error) {
	out, err := ctr.run(ctx, nil, "images", "list", "target.digest=="+digest)
	if err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for line := range strings.Lines(out) { // REF TYPE DIGEST SIZE PLATFORMS LABELS
		if f := strings.Fields(line); len(f) > 2 && f[2] == digest {
			have[f[0]] = true
		}
	}
	return have, nil
}
