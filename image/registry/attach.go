package registry

import (
	"bytes"
	"context"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
)

// Attach puts an artifact beside the image or index that ref names, which is its subject unless a.Subject is set, and returns the name of
// what was put: "registry.example.com/app@sha256:…". No tag of the image is touched. A registry with the referrers API lists it by itself; for one
// without, it is added to the list under the tag "sha256-…", which several can do at the same time: goroutines of one Client without loss,
// other processes unless two write in the same moment and the registry does not honour If-Match. Attaching the same again changes nothing, and
// repairs such a list.
//
// Errors are of type [*Error]; of a mistake in a, those of [image.NewAttachment].
func (c *Client) Attach(ctx context.Context, ref string, a image.Attachment) (string, error) {
	n, err := c.options.parse(ref)
	if err != nil {
		return "", &Error{Op: "attach", Ref: ref, Reason: ErrBadReference, Err: err}
	}
	r := c.pushing(n.Context(), nil)
	if a.Subject.Digest == (v1.Hash{}) {
		if a.Subject, err = r.descriptor(ctx, n); err != nil {
			return "", newError(ctx, "attach", n, err)
		}
	}
	img, err := image.NewAttachment(a)
	if err != nil {
		return "", err
	}
	raw, d, err := image.Artifact{Image: img}.Manifest()
	if err != nil {
		return "", newError(ctx, "attach", n, err)
	}
	own := n.Context().Digest(d.Digest.String())
	p := &push{op: "attach", client: c, repo: r, to: &image.Delivery{}}
	if err := p.run(ctx, image.Artifact{Image: img}, manifest{raw, d}, []name.Reference{own}); err != nil {
		return "", err
	}
	return display(own), nil
}

// list makes sure that a manifest with a subject is found by it. answer is what the registry said when it was put, nil when it was there.
func (p *push) list(ctx context.Context, m manifest, answer http.Header) error {
	own, err := v1.ParseManifest(bytes.NewReader(m.raw))
	if err != nil || own.Subject == nil {
		return nil //nolint:nilerr // what is no such manifest has no subject
	}
	subject := own.Subject.Digest
	switch {
	case answer != nil && answer.Get("OCI-Subject") != "":
		return nil
	case answer == nil:
		if _, ok, err := p.repo.listed(ctx, subject, ""); ok || err != nil {
			return err
		}
	}
	d := m.desc
	if d.ArtifactType = own.ArtifactType; d.ArtifactType == "" {
		d.ArtifactType = string(own.Config.MediaType)
	}
	d.Annotations = own.Annotations
	return p.client.refer(ctx, p.repo, subject, d)
}
