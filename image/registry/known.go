package registry

import (
	"context"
	"errors"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagewright/stagewright/platform"
)

// Known is what was found out about a reference when it was resolved before, for [Client.ResolveKnown]. The zero value is nothing.
type Known struct {
	// Ref is Resolved.Ref of that time.
	Ref string

	// Direct is Resolved.Direct of that time. It is believed for as long as the registry acts by it; "http" only of a loopback
	// host, whatever Options.Insecure says, so that no other host stays without encryption because it once was.
	Direct string
}

// ResolveKnown is Resolve for a reference that was resolved before. While it names what it did, and Options.Documents has
// that, one HEAD is all that is asked: registries that count pulls, as Docker Hub does, count none. Else it is Resolve.
func (c *Client) ResolveKnown(ctx context.Context, ref string, was Known, p platform.Platform) (Resolved, error) {
	if h, ok := pinOf(was.Ref); ok && c.options.Documents != nil {
		return c.resolveRef(ctx, ref, known{h, was.Direct}, p)
	}
	return c.Resolve(ctx, ref, p)
}

// known is a Known that was read.
type known struct {
	digest v1.Hash
	direct string
}

func pinOf(ref string) (v1.Hash, bool) {
	d, err := name.NewDigest(ref, name.WeakValidation)
	if err != nil {
		return v1.Hash{}, false
	}
	h, err := v1.NewHash(d.DigestStr())
	return h, err == nil
}

// still asks the registry once whether the reference names what it did, and returns that. With false it is to be read
// as if nothing were known: it names something else, or the registry does not tell, or not in this way. An error is a silence
// after which asking in another way would only be another one.
//
// A registry with mirrors is not asked: each of them may know another answer.
func (s *source) still(ctx context.Context, was known) (d v1.Descriptor, raw []byte, ok bool, err error) {
	_, tagged := s.ref.(name.Tag)
	if !tagged || was.digest == (v1.Hash{}) || len(s.mirrors) > 0 {
		return d, nil, false, nil
	}
	if raw = s.known(ctx, was.digest); raw == nil {
		return d, nil, false, nil
	}
	if d, err = describe(v1.Descriptor{Size: int64(len(raw)), Digest: was.digest}, raw); err != nil {
		return d, nil, false, nil //nolint:nilerr // read anew, it has a media type of the answer
	}
	s.origin.host.assume(ctx, was.direct)
	same, err := s.origin.unchanged(once(ctx), s.ref.Identifier(), was.digest)
	s.origin.host.assumed(ctx, err == nil)
	var silence interface{ Timeout() bool }
	if ctx.Err() != nil || errors.As(err, &silence) && silence.Timeout() {
		return d, nil, false, err
	}
	return d, raw, err == nil && same, nil
}

// unchanged reports whether a tag still names a manifest: a registry says so by a digest, or by 304 to whom knows the
// entity tag, which is the digest in registries that have it, and saves them reading the manifest.
func (r *repo) unchanged(ctx context.Context, tag string, was v1.Hash) (bool, error) {
	resp, err := r.askWith(ctx, http.MethodHead, "manifests/"+tag, nil, http.Header{"If-None-Match": {`"` + was.String() + `"`}}, manifestTypes,
		http.StatusOK, http.StatusNotModified)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusNotModified || resp.Header.Get("Docker-Content-Digest") == was.String(), nil
}

// assume spares the question of how the host is spoken to, where it was spoken to in this way without a login. One that wants
// something else says so with 401, and is asked then.
func (h *host) assume(ctx context.Context, direct string) {
	plain := direct == "http" && h.registry.Scheme() == "http" && isLoopback(hostname(h.registry.RegistryStr()))
	if !plain && direct != "https" || h.lock(ctx) != nil {
		return
	}
	defer h.unlock()
	if h.challenge == nil {
		h.challenge = &transport.Challenge{Insecure: plain}
		h.doubtful = h.challenge
	}
}

// assumed says what became of it: the first answer confirms it, and a failure takes it back where nothing has become known meanwhile.
func (h *host) assumed(ctx context.Context, confirmed bool) {
	if h.lock(ctx) != nil {
		return
	}
	defer h.unlock()
	if !confirmed && h.doubtful != nil && h.challenge == h.doubtful {
		h.challenge = nil
		clear(h.grants)
	}
	h.doubtful = nil
}

// direct is the scheme by which the host is spoken to when it wants no login, empty when it does or was not asked.
func (h *host) direct(ctx context.Context) string {
	if h.lock(ctx) != nil {
		return ""
	}
	defer h.unlock()
	switch {
	case h.challenge == nil || h.challenge.Scheme != "":
		return ""
	case h.challenge.Insecure:
		return "http"
	}
	return "https"
}
