package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/stagewright/stagewright/image"
)

// kind is a sink that uses the program of that name.
type kind struct {
	cluster string
	options Options
	refs    []string
}

// String says where the sink writes.
func (s *kind) String() string { return "kind cluster " + s.name() }

// name of the cluster. That of kind itself is its DefaultName.
func (s *kind) name() string { return cmp.Or(s.cluster, "kind") }

// Check implements [image.Checker].
func (s *kind) Check() error {
	_, err := named(s.refs)
	_, err = finished(image.Delivery{Sink: s.String()}, err)
	return err
}

// Write implements [image.Sink].
func (s *kind) Write(ctx context.Context, a image.Artifact) error { return write(ctx, s, a) }

// Deliver implements [image.Reporter].
func (s *kind) Deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	d := image.Delivery{Sink: s.String()}
	err := s.deliver(ctx, a, telling(tell), &d)
	return finished(d, err)
}

func (s *kind) deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer), report *image.Delivery) error {
	if runtime.GOOS == "windows" {
		return errors.New("kind reads an archive from a file, and Windows has no file that is a pipe; write archive.Docker and run kind load image-archive")
	}
	names, err := named(s.refs)
	if err != nil {
		return err
	}
	d, err := s.options.pick(a)
	if err != nil {
		return err
	}
	program := program{path: cmp.Or(s.options.Program, "kind"), install: "install it (https://kind.sigs.k8s.io), or name it in Options.Program"}
	out, err := program.run(ctx, nil, "get", "nodes", "--name", s.name())
	if err != nil {
		return err
	}
	nodes := strings.Fields(out)
	if len(nodes) == 0 {
		return fmt.Errorf("there is no cluster %q; make it with `kind create cluster --name %s`, or name another: `kind get clusters` lists them", s.name(), s.name())
	}
	for _, node := range nodes { // one at a time: kind opens its file once a node, and a pipe can be read once
		tar := newStream(ctx, d.image, names, tell)
		_, err := program.run(ctx, tar, "load", "image-archive", "--name", s.name(), "--nodes", node, "/dev/stdin")
		if err := tar.finish(ctx, err); err != nil {
			return fmt.Errorf("node %s: %w", node, err)
		}
		report.Blobs += d.layers + 2
		report.Bytes += tar.bytes
	}
	report.Refs = full(names)
	report.How = fmt.Sprintf("streamed as an archive to %d node%s: kind takes nothing else", len(nodes), map[bool]string{true: "s"}[len(nodes) > 1])
	return nil
}
