package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
)

// maxPages bounds a list of referrers that a registry gives in pages.
const maxPages = 100

// Referrers lists what is attached to the image or index that ref names: the descriptors of the manifests whose subject it is, with
// artifactType and annotations. artifactType keeps one kind; empty is all. It asks the referrers API, and reads the list under the tag
// "sha256-…" where a registry does not have it (OCI distribution specification 1.1). An image with nothing attached has an empty list, and a
// tag that does not exist is an error that wraps [ErrNotFound].
//
// Errors are of type [*Error].
func (c *Client) Referrers(ctx context.Context, ref, artifactType string) ([]v1.Descriptor, error) {
	n, err := c.options.parse(ref)
	if err != nil {
		return nil, &Error{Op: "list referrers", Ref: ref, Reason: ErrBadReference, Err: err}
	}
	r := c.pulling(n.Context())
	subject, err := r.digest(ctx, n)
	if err == nil {
		var list []v1.Descriptor
		if list, err = r.referrers(ctx, subject, artifactType); err == nil {
			return list, nil
		}
	}
	return nil, newError(ctx, "list referrers", n, err)
}

// digest is that of what a reference names.
func (r *repo) digest(ctx context.Context, n name.Reference) (v1.Hash, error) {
	if d, ok := n.(name.Digest); ok {
		return v1.NewHash(d.DigestStr())
	}
	if h, err := r.head(ctx, n.Identifier()); err != nil || h != (v1.Hash{}) {
		return h, err
	}
	d, err := r.descriptor(ctx, n) // some do not tell before they give it
	return d.Digest, err
}

// descriptor is that of what a reference names.
func (r *repo) descriptor(ctx context.Context, n name.Reference) (v1.Descriptor, error) {
	want := v1.Hash{}
	if d, ok := n.(name.Digest); ok {
		var err error
		if want, err = v1.NewHash(d.DigestStr()); err != nil {
			return v1.Descriptor{}, err
		}
	}
	raw, header, err := r.manifest(ctx, n.Identifier())
	if err != nil {
		return v1.Descriptor{}, err
	}
	return describeAnswer(raw, header, want)
}

func (r *repo) referrers(ctx context.Context, subject v1.Hash, artifactType string) ([]v1.Descriptor, error) {
	list, ok, err := r.listed(ctx, subject, artifactType)
	if err == nil && !ok {
		var old *referrersList
		if old, err = r.fallback(ctx, subject); err == nil {
			list = old.index.Manifests
		}
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(d v1.Descriptor) bool { return artifactType != "" && d.ArtifactType != artifactType }), nil
}

// listed asks the referrers API; false is a registry without it.
func (r *repo) listed(ctx context.Context, subject v1.Hash, artifactType string) ([]v1.Descriptor, bool, error) {
	query := url.Values{}
	if artifactType != "" {
		query.Set("artifactType", artifactType)
	}
	u, err := r.url(ctx, "referrers/"+subject.String(), query)
	if err != nil {
		return nil, false, err
	}
	var list []v1.Descriptor
	for range maxPages {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			return nil, false, err
		}
		req.Header.Set("Accept", string(types.OCIImageIndex))
		resp, err := r.do(req, http.StatusOK)
		if hasStatus(err, http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		page, err := readIndex(resp.Body)
		resp.Body.Close()
		if err != nil {
			return nil, false, fmt.Errorf("the list of referrers of %s: %w", subject, err)
		}
		list = append(list, page.Manifests...)
		next := nextPage(resp)
		if next == nil {
			return list, true, nil
		}
		u = next
	}
	return nil, false, fmt.Errorf("the list of referrers of %s has more than %d pages", subject, maxPages)
}

var nextPattern = regexp.MustCompile(`<([^>]*)>\s*;\s*rel="?next"?`)

// nextPage reads the header Link (RFC 8288). The next page is at the same host, or there is none.
func nextPage(resp *http.Response) *url.URL {
	m := nextPattern.FindStringSubmatch(resp.Header.Get("Link"))
	if m == nil {
		return nil
	}
	u, err := resp.Request.URL.Parse(m[1])
	if err != nil || u.Host != resp.Request.URL.Host {
		return nil
	}
	u.Scheme = resp.Request.URL.Scheme
	return u
}

func readIndex(r io.Reader) (*v1.IndexManifest, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err == nil && !(m.MediaType == "" || m.MediaType.IsIndex()) {
		err = fmt.Errorf("it is no index but %q", m.MediaType)
	}
	return m, err
}

// referrersList is what a registry without the API has under a tag made of the subject's digest.
type referrersList struct {
	tag   string
	index *v1.IndexManifest
	etag  string
}

func (r *repo) fallback(ctx context.Context, subject v1.Hash) (*referrersList, error) {
	l := &referrersList{
		tag:   subject.Algorithm[:min(len(subject.Algorithm), 32)] + "-" + subject.Hex[:min(len(subject.Hex), 64)],
		index: &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex},
	}
	raw, header, err := r.manifest(ctx, l.tag)
	if hasStatus(err, http.StatusNotFound) {
		return l, nil
	}
	if err == nil {
		l.index, err = readIndex(bytes.NewReader(raw))
		l.etag = header.Get("ETag")
	}
	if err != nil {
		return nil, fmt.Errorf("the list of referrers under the tag %s: %w", l.tag, err)
	}
	return l, nil
}

var errLostRace = errors.New("others changed the list at the same time, again and again; attach it once more")

// refer adds d to the list of a registry without the API. The protocol has no way to change it in one step: the list is read, written where
// the registry honours If-Match only if nobody else wrote in between, and read again, until it has d.
func (c *Client) refer(ctx context.Context, r *repo, subject v1.Hash, d v1.Descriptor) error {
	done, err := c.uploads.take(ctx, r.name.Name()+" referrers "+subject.String())
	if err != nil {
		return err
	}
	defer done()
	for tries := 0; ; tries++ {
		l, err := r.fallback(ctx, subject)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(l.index.Manifests, func(o v1.Descriptor) bool { return o.Digest == d.Digest }) {
			return nil
		}
		if tries > 0 && !(retries{16, c.retries.first}).wait(ctx, min(tries, 4), 0) || tries > 16 {
			return errors.Join(context.Cause(ctx), fmt.Errorf("the list of referrers under the tag %s: %w", l.tag, errLostRace))
		}
		l.index.Manifests = append(l.index.Manifests, d)
		if err := r.putList(ctx, l); err != nil && !hasStatus(err, http.StatusPreconditionFailed) {
			return fmt.Errorf("the list of referrers under the tag %s: %w", l.tag, err)
		}
	}
}

func (r *repo) putList(ctx context.Context, l *referrersList) error {
	raw, err := json.Marshal(l.index)
	if err != nil {
		return err
	}
	if len(raw) > image.MaxManifestSize {
		return fmt.Errorf("it would have %d bytes, registries accept %d", len(raw), image.MaxManifestSize)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	header := http.Header{}
	if l.etag != "" {
		header.Set("If-Match", l.etag)
	}
	_, err = r.put(ctx, l.tag, manifest{raw, v1.Descriptor{MediaType: types.OCIImageIndex, Size: size, Digest: digest}}, header)
	return err
}
