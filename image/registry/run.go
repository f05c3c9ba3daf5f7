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
)

// manifest is that of an image or of an index.
type manifest struct {
	raw  []byte
	desc v1.Descriptor
}

// push is one run of a sink.
type push struct {
	op     string // for errors
	client *Client
	repo   *repo

	mu      sync.Mutex
	to      *image.Delivery
	missing int // how many blobs were asked for and not there; far below zero once one was

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
	var answer http.Header
	for n, ref := range refs {
		if named[n] != m.desc.Digest {
			if answer, err = p.repo.put(ctx, ref.Identifier(), m, nil); err != nil {
				return newError(ctx, p.op, ref, p.moved(err))
			}
		}
		if n == 0 && !known {
			p.sent(m.desc.Size)
		}
		p.to.Refs = append(p.to.Refs, display(ref))
	}
	if err := p.list(ctx, m, answer); err != nil {
		return newError(ctx, p.op, refs[0], err)
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
				return newError(ctx, p.op, ref, err)
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
		return newError(ctx, p.op, ref, err)
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
		return newError(ctx, p.op, ref, err)
	}
	if err := p.manifests(ctx, l.manifests); err != nil {
		return newError(ctx, p.op, ref, err)
	}
	return nil
}

// manifests puts those of images side by side, and then those of indexes, each of which stands after what it refers to.
func (p *push) manifests(ctx context.Context, list []manifest) error {
	put := func(ctx context.Context, m manifest) error {
		_, err := p.repo.put(ctx, m.desc.Digest.String(), m, nil)
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
