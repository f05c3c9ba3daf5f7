package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// repo sends requests about one repository, for certain purposes. It is an http.RoundTripper that adds what the registry wants to be shown.
type repo struct {
	host   *host
	name   name.Repository
	scopes []string
	key    string // of the grants: what differs in it may not share a token
	http   *http.Client
}

// pulling and pushing return a repository to read from, and one to write to and to mount from others of the same registry.
func (c *Client) pulling(n name.Repository) *repo {
	return c.repo(n, n.Scope(transport.PullScope))
}

func (c *Client) pushing(n name.Repository, from []name.Repository) *repo {
	scopes := []string{n.Scope(transport.PushScope)}
	for _, f := range from {
		scopes = append(scopes, f.Scope(transport.PullScope))
	}
	return c.repo(n, scopes...)
}

func (c *Client) repo(n name.Repository, scopes ...string) *repo {
	r := &repo{host: c.host(n.Registry), name: n, scopes: scopes, key: n.String() + " " + strings.Join(scopes, " ")}
	r.http = &http.Client{Transport: r, CheckRedirect: checkRedirect}
	return r
}

// RoundTrip implements http.RoundTripper. What has been refused is tried once more with a fresh token, when it can be sent again.
func (r *repo) RoundTrip(req *http.Request) (*http.Response, error) {
	if !sameHost(req.URL, r.name.RegistryStr()) {
		return r.host.client.transport.RoundTrip(req) // redirected: credentials do not follow
	}
	g, err := r.host.grant(req.Context(), r, nil, "")
	if err != nil {
		return nil, err
	}
	resp, err := r.send(req, g)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	next, err := r.host.grant(req.Context(), r, g, resp.Header.Get("WWW-Authenticate"))
	if err != nil {
		resp.Body.Close()
		return nil, err
	}
	replay := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	if next == g || !replay {
		return resp, nil
	}
	resp.Body.Close()
	if req.GetBody != nil {
		body, err := req.GetBody()
		if err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = body
	}
	return r.send(req, next)
}

// sameHost reports whether u is at host, of which either may have the port that the scheme has anyway.
func sameHost(u *url.URL, host string) bool {
	port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	return strings.EqualFold(strings.TrimSuffix(u.Host, port), strings.TrimSuffix(host, port))
}

func (r *repo) send(req *http.Request, g *grant) (*http.Response, error) {
	if g.authorization != "" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", g.authorization)
	}
	return r.host.client.transport.RoundTrip(req)
}

// login is which credentials are in use.
func (r *repo) login(ctx context.Context) string {
	if r.host.lock(ctx) != nil {
		return ""
	}
	defer r.host.unlock()
	if g := r.host.grants[r.key]; g != nil {
		return g.login
	}
	return ""
}

// url is that of something in the repository.
func (r *repo) url(ctx context.Context, path string, query url.Values) (*url.URL, error) {
	scheme, err := r.host.scheme(ctx)
	if err != nil {
		return nil, err
	}
	return &url.URL{
		Scheme: scheme, Host: r.name.RegistryStr(), Path: "/v2/" + r.name.RepositoryStr() + "/" + path, RawQuery: query.Encode(),
	}, nil
}

// do sends a request. Unless the answer has one of the statuses want, it is an error; else the caller closes its body.
func (r *repo) do(req *http.Request, want ...int) (*http.Response, error) {
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, clean(err)
	}
	if err := transport.CheckError(resp, want...); err != nil {
		resp.Body.Close()
		if after := retryAfter(resp.Header, time.Now()); after > 0 {
			err = &waitError{err, after}
		}
		return nil, denied(err, r.login(req.Context()))
	}
	return resp, nil
}

// clean takes from the error of an http.Client the address that it adds, when there is another one in it, and else the query, which may
// hold what is secret.
func clean(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	var status *transport.Error
	if errors.As(u.Err, &status) {
		return u.Err
	}
	u.URL, _, _ = strings.Cut(u.URL, "?")
	return u
}

// ask sends a request without a body.
func (r *repo) ask(ctx context.Context, method, path string, query url.Values, accept []types.MediaType, want ...int) (*http.Response, error) {
	return r.askWith(ctx, method, path, query, nil, accept, want...)
}

// askWith is ask with more headers.
func (r *repo) askWith(ctx context.Context, method, path string, query url.Values, header http.Header, accept []types.MediaType, want ...int) (*http.Response, error) {
	u, err := r.url(ctx, path, query)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, header)
	for _, mt := range accept {
		req.Header.Add("Accept", string(mt))
	}
	return r.do(req, want...)
}

// waitError is a refusal that says when to come back.
type waitError struct {
	err   error
	after time.Duration
}

func (e *waitError) Error() string { return e.err.Error() }
func (e *waitError) Unwrap() error { return e.err }

// hasStatus reports whether err is an answer with one of the statuses.
func hasStatus(err error, codes ...int) bool {
	var status *transport.Error
	if errors.As(err, &status) {
		for _, c := range codes {
			if status.StatusCode == c {
				return true
			}
		}
	}
	return false
}

var manifestTypes = []types.MediaType{
	types.OCIImageIndex, types.DockerManifestList, types.OCIManifestSchema1, types.DockerManifestSchema2,
	types.DockerManifestSchema1, types.DockerManifestSchema1Signed, // to say by name what is refused
}

// head asks which manifest a tag or digest names. It is the zero hash when there is none, or the registry does not tell: some answer 403
// for what is not there.
func (r *repo) head(ctx context.Context, ref string) (v1.Hash, error) {
	resp, err := r.ask(ctx, http.MethodHead, "manifests/"+ref, nil, manifestTypes, http.StatusOK)
	if hasStatus(err, http.StatusNotFound, http.StatusForbidden) {
		return v1.Hash{}, nil
	}
	if hasStatus(err, http.StatusUnauthorized) {
		_, _, err = r.manifest(ctx, ref) // the answer to HEAD has no words
		return v1.Hash{}, err
	}
	if err != nil {
		return v1.Hash{}, err
	}
	resp.Body.Close()
	h, err := v1.NewHash(resp.Header.Get("Docker-Content-Digest"))
	if err != nil {
		return v1.Hash{}, nil //nolint:nilerr // the registry does not tell
	}
	return h, nil
}

// manifest reads what a tag or digest names, with the type that the registry says it has. The caller verifies it.
func (r *repo) manifest(ctx context.Context, ref string) ([]byte, http.Header, error) {
	for failures := 1; ; failures++ {
		resp, err := r.ask(ctx, http.MethodGet, "manifests/"+ref, nil, manifestTypes, http.StatusOK)
		if err != nil {
			return nil, nil, err
		}
		raw, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil {
			return raw, resp.Header, nil
		}
		if !passing(err) || !r.host.client.retries.wait(ctx, failures, 0) {
			return nil, nil, err
		}
	}
}

// has asks whether a blob is in the repository.
func (r *repo) has(ctx context.Context, h v1.Hash) (bool, error) {
	resp, err := r.ask(ctx, http.MethodHead, "blobs/"+h.String(), nil, nil, http.StatusOK)
	if hasStatus(err, http.StatusNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, resp.Body.Close()
}

// checkRedirect is http.Client's, and keeps a registry from having this machine ask what only this machine can reach: another host than
// the one asked first must not be an address of a private network. The guard has the rest.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) == 0 {
		return nil
	}
	return checkHop(via[0].URL, req.URL)
}

func checkHop(from, to *url.URL) error {
	if to.Hostname() == from.Hostname() || isLoopback(from.Hostname()) {
		return nil
	}
	ip := net.ParseIP(to.Hostname())
	if to.Hostname() == "localhost" || ip != nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsUnspecified()) {
		return fmt.Errorf("%s sends its client to %s, an address of a private network", from.Host, to.Host)
	}
	return nil
}
