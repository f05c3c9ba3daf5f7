package registry

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// Push returns a sink that pushes to the registry, under the name ref: "registry.example.com/app:1.0". The registry defaults to docker.io
// and the tag to latest; a name that ends in a digest pushes without moving a tag, and fails unless the image has that digest. Further tags
// ("1", "latest") name the same image in the same repository.
//
// What the registry has is neither sent nor opened; layers of a base in the same registry are mounted. What breaks is taken up where it
// stopped (see [Options.Retries]). The names are moved last, one after the other, when everything that they refer to is there.
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

// Write implements [image.Sink].
func (s *sink) Write(ctx context.Context, a image.Artifact) error {
	_, err := s.Deliver(ctx, a, nil)
	return err
}

// Deliver implements [image.Reporter].
func (s *sink) Deliver(ctx context.Context, a image.Artifact, tell func(image.Transfer)) (image.Delivery, error) {
	d := image.Delivery{Sink: s.String()}
	refs, err := s.refs()
	if err != nil {
		return d, &Error{Op: "push", Ref: s.ref, Reason: ErrBadReference, Err: err}
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
	p := &push{client: s.client, repo: s.client.pushing(refs[0].Context(), nil), tell: tell, to: &d}
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

// manifest is that of an image or of an index.
type manifest struct {
	raw  []byte
	desc v1.Descriptor
}

// push is one run of a sink.
type push struct {
	client *Client
	repo   *repo

	mu sync.Mutex
	to *image.Delivery

	telling sync.RWMutex // for reading: somebody is being told
	tell    func(image.Transfer)
}

// say tells how far a blob has come.
func (p *push) say(t image.Transfer) {
	p.telling.RLock()
	defer p.telling.RUnlock()
	if p.tell != nil {
		p.tell(t)
	}
}

// silence ends it: net/http may read the body of a request a little longer than the request lasts.
func (p *push) silence() {
	p.telling.Lock()
	defer p.telling.Unlock()
	p.tell = nil
}

func (p *push) run(ctx context.Context, a image.Artifact, m manifest, refs []name.Reference) error {
	named, err := p.named(ctx, refs)
	if err != nil {
		return err
	}
	known := slices.Contains(named, m.desc.Digest)
	p.to.How = "there already"
	if !known {
		p.to.How = "pushed"
		// Where no name is, no manifest is expected either.
		fresh := !slices.ContainsFunc(named, func(h v1.Hash) bool { return h != v1.Hash{} })
		if err := p.content(ctx, a, refs[0], fresh); err != nil {
			return err
		}
	} else if slices.ContainsFunc(named, func(h v1.Hash) bool { return h != m.desc.Digest }) {
		p.to.How = "there already, under another name"
	}
	for n, ref := range refs {
		if named[n] != m.desc.Digest {
			if err := p.put(ctx, ref.Identifier(), m); err != nil {
				return newError(ctx, "push", ref, p.moved(err))
			}
		}
		if n == 0 && !known {
			p.sent(m.desc.Size)
		}
		p.to.Refs = append(p.to.Refs, display(ref))
	}
	return nil
}

// moved adds to the failure of a name which others were moved before it.
func (p *push) moved(err error) error {
	if len(p.to.Refs) == 0 {
		return err
	}
	return &movedError{err, slices.Clone(p.to.Refs)}
}

type movedError struct {
	err  error
	refs []string
}

func (e *movedError) Error() string {
	return fmt.Sprintf("%v; it is there as %s", e.err, strings.Join(e.refs, ", "))
}
func (e *movedError) Unwrap() error { return e.err }

// named asks what each of the names is now; the zero hash is nothing.
func (p *push) named(ctx context.Context, refs []name.Reference) ([]v1.Hash, error) {
	named := make([]v1.Hash, len(refs))
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(p.client.options.jobs())
	for n, ref := range refs {
		g.Go(func() (err error) {
			if named[n], err = p.repo.head(inner, ref.Identifier()); err != nil {
				return newError(ctx, "push", ref, err)
			}
			return nil
		})
	}
	return named, g.Wait()
}

// content sends everything that the manifest of a refers to. In a fresh repository no manifest is looked for.
func (p *push) content(ctx context.Context, a image.Artifact, ref name.Reference, fresh bool) error {
	l := &listing{push: p, fresh: fresh, seen: map[v1.Hash]bool{}}
	if err := l.children(ctx, a, 0); err != nil {
		return newError(ctx, "push", ref, err)
	}
	if from := mountable(l.blobs); len(from) > 0 {
		p.repo = p.client.pushing(p.repo.name, from)
	}
	// The largest first: then the small ones fill the gaps.
	slices.SortStableFunc(l.blobs, func(a, b blob) int { return cmp.Compare(b.size, a.size) })
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(p.client.options.jobs())
	for _, b := range l.blobs {
		g.Go(func() error { return p.blob(inner, b) })
	}
	if err := g.Wait(); err != nil {
		return newError(ctx, "push", ref, err)
	}
	if err := p.manifests(ctx, l.manifests); err != nil {
		return newError(ctx, "push", ref, err)
	}
	return nil
}

// manifests puts those of images side by side, and then those of indexes, each of which stands after what it refers to.
func (p *push) manifests(ctx context.Context, list []manifest) error {
	put := func(ctx context.Context, m manifest) error {
		err := p.put(ctx, m.desc.Digest.String(), m)
		if err == nil {
			p.sent(m.desc.Size)
		}
		return err
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(p.client.options.jobs())
	for _, m := range list {
		if m.desc.MediaType.IsImage() {
			g.Go(func() error { return put(inner, m) })
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, m := range list {
		if !m.desc.MediaType.IsImage() {
			if err := put(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// put puts a manifest under a name.
func (p *push) put(ctx context.Context, ref string, m manifest) error {
	_, err := p.repo.put(ctx, ref, m, nil)
	return err
}

// put puts a manifest under a tag or its digest, with further headers, and returns those of the answer.
func (r *repo) put(ctx context.Context, ref string, m manifest, header http.Header) (http.Header, error) {
	u, err := r.url(ctx, "manifests/"+ref, nil)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, u.String(), bytes.NewReader(m.raw))
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", string(m.desc.MediaType))
	resp, err := r.do(req, http.StatusCreated, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	return resp.Header, stored(resp, m.desc.Digest)
}

func (p *push) sent(size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to.Blobs++
	p.to.Bytes += size
}

func (p *push) skipped() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to.Skipped++
}
