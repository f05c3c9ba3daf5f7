package registry

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/stagewright/stagewright/image/internal/content"
)

// DefaultTimeout is how long a registry may be silent in the middle of a request.
const DefaultTimeout = 60 * time.Second

// Options says how registries are reached. The zero value suits most.
type Options struct {
	// Keychain finds credentials by host. Nil is authn.DefaultKeychain: what `docker login` and `podman login` have stored, credential
	// helpers included.
	Keychain authn.Keychain

	// Transport sends the requests. Nil is remote.DefaultTransport, which uses the proxy of the environment.
	Transport http.RoundTripper

	// Insecure lists hosts ("registry.lan:5000") that are also spoken to over plain http. They are never sent credentials in the clear.
	// Loopback hosts need not be listed.
	Insecure []string

	// Timeout is how long a registry may be silent before a request is given up. Zero is DefaultTimeout. It does not bound a
	// transfer that makes progress.
	Timeout time.Duration

	// Jobs is how many blobs are transferred at once. Zero is 4, as in go-containerregistry.
	Jobs int

	// Documents keeps manifests and configs, so that one whose digest is known is asked for once. Nil keeps none.
	Documents Documents

	// UserAgent is sent in front of go-containerregistry's. Empty is "stagewright".
	UserAgent string
}

// Documents is a place for manifests and configs under their digests. What it gives is verified. Methods may be called at the same time.
type Documents interface {
	// Get returns a document, false when it is not there.
	Get(ctx context.Context, h v1.Hash) ([]byte, bool)
	// Put keeps a document, which was verified. An error costs a request later, and is told to nobody.
	Put(ctx context.Context, data []byte) error
}

func (o Options) keychain() authn.Keychain {
	if o.Keychain == nil {
		return authn.DefaultKeychain
	}
	return o.Keychain
}

func (o Options) remote() []remote.Option {
	base := o.Transport
	if base == nil {
		base = remote.DefaultTransport
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	jobs := o.Jobs
	if jobs <= 0 {
		jobs = 4
	}
	agent := o.UserAgent
	if agent == "" {
		agent = "stagewright"
	}
	return []remote.Option{
		remote.WithTransport(&guard{base: base, insecure: o.Insecure, timeout: timeout}),
		remote.WithAuthFromKeychain(o.keychain()),
		remote.WithJobs(jobs),
		remote.WithUserAgent(agent),
	}
}

// Client asks registries. It keeps tokens, so that one Client for a whole build logs in once.
type Client struct {
	options Options
	puller  *remote.Puller
	err     error // of making the puller
}

// NewClient returns a client. It sends nothing yet.
func NewClient(o Options) *Client {
	o.Insecure = slices.Clone(o.Insecure)
	c := &Client{options: o}
	c.puller, c.err = remote.NewPuller(o.remote()...)
	return c
}

// parse reads a reference, with Docker's defaults, and decides whether plain http may be tried.
func (o Options) parse(ref string) (name.Reference, error) {
	r, err := name.ParseReference(ref, name.WeakValidation)
	if err != nil {
		return nil, err
	}
	if host := r.Context().RegistryStr(); isLoopback(hostname(host)) || slices.Contains(o.Insecure, host) {
		return name.ParseReference(ref, name.WeakValidation, name.Insecure)
	}
	return r, nil
}

// display is how messages write a reference: Docker Hub as docker.io.
func display(r name.Reference) string { return content.DockerName(r.Name()) }

func displayHost(r name.Reference) string {
	if h := r.Context().RegistryStr(); h != name.DefaultRegistry {
		return h
	}
	return "docker.io"
}

// hostname strips the port of a host.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.Trim(host, "[]")
}

// isLoopback reports whether a host name is this machine's without asking a resolver, whose answer another could have written.
func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
