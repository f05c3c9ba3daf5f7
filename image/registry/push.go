package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// Push returns a sink that pushes to the registry, under the name ref: "registry.example.com/app:1.0". The registry defaults to docker.io
// and the tag to latest; a name that ends in a digest pushes without moving a tag, and fails unless the image has that digest. Further tags
// ("1", "latest") name the same image in the same repository.
//
// What the registry has is neither sent nor opened, but for blobs of at most 4 KiB in a repository that had none of the first eight, which are not
// asked for; layers of a base in the same registry are mounted. What breaks is taken up where it
// stopped (see [Options.Retries]). As an [image.Ahead] it sends large layers while a build makes them, unless the registry may have them: those
// that were edited here, and those of a name that is not there yet. So bytes of a build that fails later may have been sent: they are an upload without a
// digest, which nobody can read, and the registry is told to drop it. The names are moved last, one after the other, when everything that they refer to
// is there.
//
// The sink is an [image.Reporter]. Errors are of type [*Error]; when one tag of several is refused, Delivery.Refs has those that were moved.
func Push(ref string, tags ...string) image.Sink {
	s := NewClient(Options{}).Push(ref, tags...).(*sink)
	s.plain = true
	return s
}

// PushWith is [Push] with options.
func PushWith(ref string, o Options, tags ...string) image.Sink {
	return NewClient(o).Push(ref, tags...)
}

// Push is the function [Push] with the options, connections and tokens of c: several sinks of one client shake hands with a host once, and
// send a blob that two of them need to the same repository once.
func (c *Client) Push(ref string, tags ...string) image.Sink {
	return &sink{client: c, ref: ref, tags: slices.Clone(tags)}
}

// Adopt returns s as a sink of c when it was made by the function [Push], which leaves the options to whoever uses the sink. Any other sink
// is returned as it is.
func (c *Client) Adopt(s image.Sink) image.Sink {
	if own, ok := s.(*sink); ok && own.plain {
		return c.Push(own.ref, own.tags...)
	}
	return s
}

type sink struct {
	client *Client
	ref    string
	tags   []string
	plain  bool // made by Push
}

// String says where the sink writes.
func (s *sink) String() string {
	return strings.Join(append([]string{"registry " + s.ref}, s.tags...), ", ")
}

// Check implements [image.Checker].
func (s *sink) Check() error {
	if _, err := s.refs(); err != nil {
		return &Error{Op: "push", Ref: s.ref, Reason: ErrBadReference, Err: err}
	}
	return nil
}

// Pushes implements [image.Pusher].
func (s *sink) Pushes() string {
	r, err := s.client.options.parse(s.ref)
	if err != nil {
		return s.ref
	}
	return displayHost(r)
}

// Write implements [image.Sink].
func (s *sink) Write(ctx context.Context, a image.Artifact) error {
	_, err := s.Deliver(ctx, a, nil)
	return err
}

// Deliver implements [image.Reporter].
func (s *sink) Deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	d := image.Delivery{Sink: s.String()}
	if err := s.Check(); err != nil {
		return d, err
	}
	refs, err := s.refs()
	if err != nil {
		return d, err
	}
	raw, desc, err := a.Manifest()
	if err != nil {
		return d, newError(ctx, "push", refs[0], err)
	}
	if want, ok := refs[0].(name.Digest); ok && want.DigestStr() != desc.Digest.String() {
		return d, newError(ctx, "push", refs[0], &digestError{desc.Digest})
	}
	if err := context.Cause(ctx); err != nil {
		return d, newError(ctx, "push", refs[0], err)
	}
	p := &push{op: "push", client: s.client, repo: s.client.pushing(refs[0].Context(), nil), tell: tell, to: &d}
	defer p.silence()
	err = p.run(ctx, a, manifest{raw, desc}, refs)
	return d, err
}

// refs are the names, each once.
func (s *sink) refs() ([]name.Reference, error) {
	first, err := s.client.options.parse(s.ref)
	if err != nil {
		return nil, err
	}
	refs := []name.Reference{first}
	for _, tag := range s.tags {
		t, err := name.NewTag(first.Context().Name()+":"+tag, name.WeakValidation)
		if err != nil || t.TagStr() != tag {
			return nil, fmt.Errorf("%q is not a tag of %s; further names are tags alone, like \"1.0\", and another repository is another sink", tag, content.DockerName(first.Context().Name()))
		}
		ref := first.Context().Tag(tag)
		if !slices.ContainsFunc(refs, func(r name.Reference) bool { return r.Name() == ref.Name() }) {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

type digestError struct{ got v1.Hash }

func (e *digestError) Error() string {
	return "the image has the digest " + e.got.String() + "; push under a tag, or under that digest"
}
