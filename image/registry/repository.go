package registry

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagewright/stagewright/image"
)

// Repository is one repository of a registry, for who keeps something else in it than images: manifests under tags, and the blobs that they
// name. Everything that the package promises of a [Client] holds: tokens, retries, resumption, bounded answers. Mirrors are not asked.
//
// Its methods may be called at the same time. Their errors are of type [*Error]; what is not there wraps [ErrNotFound].
type Repository struct {
	client *Client
	ref    name.Reference
}

// Repository returns the repository of a reference, which is written as for an image: "registry.example.com/team/cache:main". Nothing is
// sent. The error is an [*Error] that wraps [ErrBadReference].
func (c *Client) Repository(ref string) (*Repository, error) {
	r, err := c.options.parse(ref)
	if err != nil {
		return nil, &Error{Op: "resolve", Ref: ref, Reason: ErrBadReference, Err: err}
	}
	return &Repository{c, r}, nil
}

// String returns the whole name: "docker.io/library/app:latest".
func (r *Repository) String() string { return display(r.ref) }

// Name returns the name without a tag, as [image.LayerInfo] has it: "registry.example.com/team/cache".
func (r *Repository) Name() string { return r.ref.Context().Name() }

// Tag returns the tag or the digest of the reference: "latest" where it has none.
func (r *Repository) Tag() string { return r.ref.Identifier() }

func (r *Repository) pull() *repo { return r.client.pulling(r.ref.Context()) }

// maxTags bounds the names in a list of tags.
const maxTags = 100_000

// pageOfTags is how many tags are asked for at once.
const pageOfTags = 1000

// Tags lists the tags for which keep is true, at most 100,000, in the registry's order. A repository that does not exist has none. Long lists come in pages (OCI
// distribution specification, "Listing Tags"), also from a registry that cuts them off without a word of it.
func (r *Repository) Tags(ctx context.Context, keep func(tag string) bool) ([]string, error) {
	tags, err := r.tags(ctx, keep)
	if err != nil {
		return nil, newError(ctx, "list tags", r.ref, err)
	}
	return tags, nil
}

func (r *Repository) tags(ctx context.Context, keep func(string) bool) ([]string, error) {
	from := r.pull()
	u, err := from.url(ctx, "tags/list", url.Values{"n": {strconv.Itoa(pageOfTags)}})
	if err != nil {
		return nil, err
	}
	var kept []string
	seen := map[string]bool{}
	for range maxPages {
		page, next, err := from.tagsPage(ctx, u)
		if hasStatus(err, http.StatusNotFound) {
			return kept, nil
		}
		if err != nil {
			return nil, err
		}
		before := len(seen)
		for _, tag := range page {
			if !seen[tag] && keep(tag) {
				kept = append(kept, tag)
			}
			seen[tag] = true
		}
		if len(seen) > maxTags {
			return nil, fmt.Errorf("it has more than %d tags", maxTags)
		}
		switch {
		case len(seen) == before:
			return kept, nil // the end, or a registry that runs in a circle
		case next != nil:
			u = next
		case len(page) < pageOfTags:
			return kept, nil
		default:
			u.RawQuery = url.Values{"n": {strconv.Itoa(pageOfTags)}, "last": {page[len(page)-1]}}.Encode()
		}
	}
	return nil, fmt.Errorf("the list of its tags has more than %d pages", maxPages)
}

func (r *repo) tagsPage(ctx context.Context, u *url.URL) (tags []string, next *url.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := r.do(req, http.StatusOK)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	var page struct {
		Tags []string `json:"tags"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		return nil, nil, fmt.Errorf("the list of its tags: %w", err)
	}
	return page.Tags, nextPage(resp), nil
}

// Manifest reads what a tag or a digest names, which must be an image manifest or an index. A digest is verified.
func (r *Repository) Manifest(ctx context.Context, ref string) ([]byte, v1.Descriptor, error) {
	raw, d, err := r.manifest(ctx, ref)
	if err != nil {
		return nil, v1.Descriptor{}, newError(ctx, "pull", r.at(ref), err)
	}
	return raw, d, nil
}

func (r *Repository) manifest(ctx context.Context, ref string) ([]byte, v1.Descriptor, error) {
	want, err := v1.NewHash(ref)
	if err != nil {
		want = v1.Hash{} // a tag
	}
	raw, header, err := r.pull().manifest(ctx, ref)
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	d, err := describeAnswer(raw, header, want)
	return raw, d, err
}

// at is the reference of something in the repository, for messages.
func (r *Repository) at(ref string) name.Reference {
	if _, err := v1.NewHash(ref); err == nil {
		return r.ref.Context().Digest(ref)
	}
	return r.ref.Context().Tag(ref)
}

// Blob opens a blob. Its reader goes on over another connection when one breaks, and fails at its end, with an [*image.ContentError], unless
// the bytes have the digest and the size of d. A registry that sends a byte now and then is read as long as ctx lasts.
func (r *Repository) Blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	rc, err := r.pull().blob(ctx, d)
	if err != nil {
		return nil, newError(ctx, "pull", r.at(d.Digest.String()), err)
	}
	verified, err := image.Verify(rc, d.Digest, d.Size)
	if err != nil {
		rc.Close()
		return nil, newError(ctx, "pull", r.at(d.Digest.String()), err)
	}
	return verified, nil
}

// Send has the repository have the blobs: those that it does not have are sent, the largest first, side by side, and never at the same time
// twice by one [Client]. The repositories in from, of the same registry, are those that a blob may be mounted from instead. Blobs that no
// manifest names are collected by the registry some time; see [Repository.Put].
func (r *Repository) Send(ctx context.Context, blobs []image.Blob, from ...string) (image.Delivery, error) {
	sent := image.Delivery{Sink: "registry " + r.String()}
	mount, err := r.siblings(from)
	if err != nil {
		return sent, &Error{Op: "push", Ref: r.String(), Host: displayHost(r.ref), Reason: ErrBadReference, Err: err}
	}
	p := &push{op: "push", client: r.client, repo: r.client.pushing(r.ref.Context(), mount), to: &sent}
	list := slices.SortedStableFunc(slices.Values(blobs), func(a, b image.Blob) int { return cmp.Compare(b.Size, a.Size) })
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(r.client.options.jobs())
	seen := map[v1.Hash]bool{}
	for _, b := range list {
		if !seen[b.Digest] {
			seen[b.Digest] = true
			g.Go(func() error { return p.blob(inner, blob{b.Digest, b.Size, b.Open, mount}) })
		}
	}
	if err := g.Wait(); err != nil {
		return sent, newError(ctx, "push", r.ref, err)
	}
	return sent, nil
}

// siblings reads the names of repositories of the same registry; the repository itself and those of other registries are left out.
func (r *Repository) siblings(refs []string) ([]name.Repository, error) {
	own := r.ref.Context()
	var list []name.Repository
	for _, ref := range refs {
		n, err := r.client.options.parse(ref)
		if err != nil {
			return nil, err
		}
		other := n.Context()
		same := func(o name.Repository) bool { return o.Name() == other.Name() }
		if other.RegistryStr() == own.RegistryStr() && !same(own) && !slices.ContainsFunc(list, same) {
			list = append(list, other)
		}
	}
	return list, nil
}

// Put puts a manifest, whose blobs are there, under a tag. d.MediaType is what it is sent as.
func (r *Repository) Put(ctx context.Context, tag string, d v1.Descriptor, raw []byte) error {
	if _, err := r.client.pushing(r.ref.Context(), nil).put(ctx, tag, manifest{bytes.Clone(raw), d}, nil); err != nil {
		return newError(ctx, "push", r.at(tag), err)
	}
	return nil
}

// Delete removes a tag and the manifest that it names, with every other tag of that manifest. Registries differ in what they let one delete: by tag, by
// digest, nothing at all. false says that this one does not delete, or not for this user, and is no error; neither is what is gone already.
func (r *Repository) Delete(ctx context.Context, tag string, h v1.Hash) (bool, error) {
	n := r.ref.Context()
	from := r.client.repo(n, n.Scope(transport.PushScope), n.Scope(transport.DeleteScope))
	deleted := false
	for _, ref := range []string{h.String(), tag} {
		ok, err := from.delete(ctx, ref)
		if err != nil {
			return deleted, newError(ctx, "delete", r.at(ref), err)
		}
		deleted = deleted || ok
	}
	return deleted, nil
}

// delete reports whether the registry lets it be deleted.
func (r *repo) delete(ctx context.Context, ref string) (bool, error) {
	resp, err := r.ask(ctx, http.MethodDelete, "manifests/"+ref, nil, nil, http.StatusAccepted, http.StatusOK, http.StatusNoContent, http.StatusNotFound)
	if hasStatus(err, http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotImplemented) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}

// Has asks whether a blob is in the repository.
func (r *Repository) Has(ctx context.Context, h v1.Hash) (bool, error) {
	ok, err := r.pull().has(ctx, h)
	if err != nil {
		return false, newError(ctx, "pull", r.at(h.String()), err)
	}
	return ok, nil
}
