package registry

import (
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

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

	// Jobs is how many blobs and manifests are transferred at once. Zero is 8: most are small, and wait for the registry.
	Jobs int

	// Retries is how often in a row a request is repeated, or an upload resumed, after a failure that may pass: a connection that broke,
	// a status of 5xx, a limit on requests (429). Zero is DefaultRetries; a negative number is none.
	Retries int

	// Backoff is the wait before the first of them; it doubles each time, up to a minute. Zero is DefaultBackoff. A wait that the
	// registry asks for (Retry-After) is kept instead, and one of more than a minute is an error at once.
	Backoff time.Duration

	// Mirrors names, for the host of a registry ("docker.io"), hosts that are asked before it when something is pulled:
	// "mirror.lan:5000", or with a path before the names there, "harbor.lan/hub". What a tag is, the first that has it says. Each has
	// its own credentials in the keychain, and Insecure is by its own host. Pushes go to the registry itself.
	Mirrors map[string][]string

	// Documents keeps manifests and configs, so that one whose digest is known is asked for once. Nil keeps none.
	Documents Documents

	// Offline sends no request: what the Documents do not have fails with ErrOffline.
	Offline bool

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

// transport returns what every request passes through: repeated when that may help, guarded, sent.
func (o Options) transport(r retries) http.RoundTripper {
	base := o.Transport
	switch {
	case o.Offline:
		base = silent{}
	case base == nil:
		base = remote.DefaultTransport
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	agent := o.UserAgent
	if agent == "" {
		agent = "stagewright"
	}
	return transport.NewUserAgent(&retrier{&guard{base: base, insecure: o.Insecure, timeout: timeout}, r}, agent)
}

// silent is the transport of a client that sends nothing.
type silent struct{}

func (silent) RoundTrip(*http.Request) (*http.Response, error) { return nil, ErrOffline }

func (o Options) jobs() int {
	if o.Jobs <= 0 {
		return 8
	}
	return o.Jobs
}

func (o Options) retries() retries {
	r := retries{count: o.Retries, first: o.Backoff}
	if r.count == 0 {
		r.count = DefaultRetries
	}
	if r.first <= 0 {
		r.first = DefaultBackoff
	}
	return r
}

// Client asks registries. It keeps what a host says of itself and its tokens, so that one Client for a whole build shakes hands once with each
// host, sinks included that it makes itself (see [Client.Push]).
type Client struct {
	options   Options
	retries   retries
	transport http.RoundTripper
	uploads   turns // one upload of a blob to a repository at a time, and one change of a list of referrers
	aheads    aheads

	mu    sync.Mutex
	hosts map[string]*host
}

// NewClient returns a client. It sends nothing yet.
func NewClient(o Options) *Client {
	o.Insecure = slices.Clone(o.Insecure)
	o.Mirrors = maps.Clone(o.Mirrors)
	r := o.retries()
	return &Client{options: o, retries: r, transport: o.transport(r), hosts: map[string]*host{}}
}

func (c *Client) host(reg name.Registry) *host {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[reg.RegistryStr()]
	if h == nil {
		h = &host{client: c, registry: reg, turn: make(chan struct{}, 1), grants: map[string]*grant{}}
		c.hosts[reg.RegistryStr()] = h
	}
	return h
}

// parse reads a reference, with Docker's defaults, and decides whether plain http may be tried.
func (o Options) parse(ref string) (name.Reference, error) {
	r, err := name.ParseReference(ref, name.WeakValidation)
	if err != nil {
		return nil, err
	}
	if o.plain(r.Context().RegistryStr()) {
		return name.ParseReference(ref, name.WeakValidation, name.Insecure)
	}
	return r, nil
}

// registry reads the host of a registry in the same way.
func (o Options) registry(host string) (name.Registry, error) {
	if o.plain(host) {
		return name.NewRegistry(host, name.StrictValidation, name.Insecure)
	}
	return name.NewRegistry(host, name.StrictValidation)
}

func (o Options) plain(host string) bool {
	return isLoopback(hostname(host)) || slices.Contains(o.Insecure, host)
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
