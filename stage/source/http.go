package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/gitref"
)

// What a download may take unless HTTPOptions say otherwise.
const (
	// MaxDownload is how many bytes a file may have.
	MaxDownload = 16 << 30
	// DownloadTimeout is how long a server may be silent.
	DownloadTimeout = 60 * time.Second
	// maxRedirects is the number that net/http allows, too.
	maxRedirects = 10
)

// HTTPOptions say how [HTTP] downloads. The zero value keeps the file in memory.
type HTTPOptions struct {
	// Store keeps what was downloaded; nil means memory.
	Store cache.Store
	// Transport sends the requests; nil means [http.DefaultTransport], which uses the
	// proxy of the environment.
	Transport http.RoundTripper
	// Name is the file's name. Empty means that the server may give one in
	// Content-Disposition, and else the last part of the URL's path.
	Name string
	// NameFromURL leaves Content-Disposition out, as ADD in a Dockerfile does.
	NameFromURL bool
	// Authorization gives the header of that name when the server is asked, "" for none;
	// nil never does. It is in no record and goes to no other host, nor to the same one
	// without encryption where the URL has it.
	Authorization func(ctx context.Context) (string, error)
	// Offline sends no request: the file is what it was when the server was last asked, and
	// one that the store does not have is an error that wraps ErrOffline.
	Offline bool
	// MaxBytes bounds the file; 0 means [MaxDownload].
	MaxBytes int64
	// Timeout is how long the server may be silent; 0 means [DownloadTimeout]. It does
	// not bound a transfer that makes progress.
	Timeout time.Duration
}

// HTTPFile is one file of a URL as a source of files: a regular file with mode 0600 and
// the time of Last-Modified, 0 without one.
//
// With a checksum the file is downloaded once in the life of the store. Without one the
// server is asked once in the life of the value whether what the store has is still
// current (ETag, Last-Modified). It is safe for concurrent use.
type HTTPFile struct {
	url  *url.URL
	want cache.Digest // zero when unchecked
	o    HTTPOptions

	mu   sync.Mutex
	file *listed // nil before the first List
}

// HTTP returns the file at a URL of http or https, whose SHA-256 must be checksum
// ("sha256:…"). Nothing is sent before List. Errors are those of the two texts.
func HTTP(rawURL, checksum string, o HTTPOptions) (*HTTPFile, error) {
	want, err := cache.ParseDigest(checksum)
	if err != nil {
		return nil, fmt.Errorf("checksum %q of %s: want \"sha256:\" and 64 lower-case hexadecimal digits; sha256sum prints them", shorten(checksum), quote(gitref.Redact(rawURL)))
	}
	return newHTTP(rawURL, want, o)
}

// HTTPUnchecked is [HTTP] for a file that may change: the build uses what the server
// has, whatever that is.
func HTTPUnchecked(rawURL string, o HTTPOptions) (*HTTPFile, error) {
	return newHTTP(rawURL, cache.Digest{}, o)
}

func newHTTP(rawURL string, want cache.Digest, o HTTPOptions) (*HTTPFile, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%s is not a URL of a file; want https://host/path or http://host/path", quote(gitref.Redact(rawURL)))
	}
	if u.User != nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%s would send its password unencrypted; want https", quote(gitref.Redact(rawURL)))
	}
	if o.Name != "" && !isFileName(o.Name) {
		return nil, fmt.Errorf("%s: the name %q is not one of a file", gitref.Redact(rawURL), shorten(o.Name))
	}
	u.Fragment, u.RawFragment = "", ""
	if o.Store == nil {
		o.Store = cache.NewMemory()
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = MaxDownload
	}
	if o.Timeout <= 0 {
		o.Timeout = DownloadTimeout
	}
	return &HTTPFile{url: u, want: want, o: o}, nil
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// String names the file for a message, without a password that the URL may have.
func (h *HTTPFile) String() string { return "URL " + quote(gitref.Redact(h.url.String())) }

// List implements [Files]: one entry. The first call downloads what the store does not
// have. Errors: *[ChecksumError], *[StatusError], *[LimitError], those of the network and
// of the store, the context's. After an error nothing is kept.
func (h *HTTPFile) List(ctx context.Context) ([]Entry, error) {
	l, err := h.load(ctx)
	if err != nil {
		return nil, err
	}
	return l.copied(), nil
}

// Hash implements [Files]. Nothing is read: the digest is known since List.
func (h *HTTPFile) Hash(ctx context.Context, entries []*Entry) error {
	l, err := h.load(ctx)
	if err != nil {
		return err
	}
	return l.fill(entries)
}

// Open implements [Files]. What it returns fails at its end when the store's bytes are
// damaged, and the next build downloads again.
func (h *HTTPFile) Open(path string) (io.ReadCloser, error) {
	l, err := h.listed()
	if err != nil {
		return nil, err
	}
	e, err := l.regular(path)
	if err != nil {
		return nil, err
	}
	rc, _, err := cache.NewReader(context.Background(), h.o.Store, e.Digest)
	return rc, err
}

// Why implements [Files]. It knows nothing before List.
func (h *HTTPFile) Why(path string) (Verdict, error) {
	l, err := h.listed()
	if err != nil {
		return Verdict{}, err
	}
	return l.why(path)
}

func (h *HTTPFile) listed() (*listed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file == nil {
		return nil, fmt.Errorf("%s was not listed", h)
	}
	return h.file, nil
}

// load finds the file in the store, or downloads it.
func (h *HTTPFile) load(ctx context.Context) (*listed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.file != nil {
		return h.file, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	known, err := h.known(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", h, err)
	}
	if known == nil && h.o.Offline {
		return nil, offlineError(h)
	}
	if known == nil || h.want.IsZero() && !h.o.Offline {
		if known, err = h.download(ctx, known); err != nil {
			return nil, err
		}
	}
	h.file = newListed(h.String(), []Entry{{
		Path: h.name(known), Mode: 0o600, Size: known.Size, Mtime: known.Modified, Digest: known.Digest,
	}})
	return h.file, nil
}

// downloaded is what the store knows of a URL.
type downloaded struct {
	Digest       cache.Digest `json:"digest"`
	Size         int64        `json:"size"`
	Name         string       `json:"name,omitempty"` // as the server called it
	Modified     int64        `json:"modified,omitempty"`
	LastModified string       `json:"lastModified,omitempty"` // as the server wrote it
	ETag         string       `json:"etag,omitempty"`
}

func (h *HTTPFile) key() cache.Key {
	return cache.NewKey("http file", 1).String("url", h.url.String()).Digest("checksum", h.want).Sum()
}

// known is what the store has, nil when that is nothing or not whole.
func (h *HTTPFile) known(ctx context.Context) (*downloaded, error) {
	data, err := h.o.Store.Get(ctx, h.key())
	if errors.Is(err, cache.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var d downloaded
	if json.Unmarshal(data, &d) != nil || !h.want.IsZero() && d.Digest != h.want {
		return nil, nil
	}
	blob, err := h.o.Store.Open(ctx, d.Digest)
	if errors.Is(err, cache.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	if blob.Size() != d.Size {
		return nil, nil
	}
	return &d, nil
}

// ChecksumError reports a download whose bytes are not those that were asked for.
// Nothing of it is kept.
type ChecksumError struct {
	Source string // the String of the Files
	Want   string // as it was asked for
	Got    string
}

// Error names the source and both checksums.
func (e *ChecksumError) Error() string {
	return fmt.Sprintf("%s has the checksum %s, but %s was asked for: it changed, or is not what was meant; nothing of it was kept", e.Source, e.Got, e.Want)
}

// StatusError reports that a server did not give the file.
type StatusError struct {
	Source string // the String of the Files
	Status int    // of the HTTP response
}

// Error names the source and the status, and for the usual ones what to do.
func (e *StatusError) Error() string {
	fix := ""
	switch e.Status {
	case http.StatusNotFound, http.StatusGone:
		fix = "; is the URL right?"
	case http.StatusUnauthorized, http.StatusForbidden:
		fix = "; give the secret HTTP_AUTH_TOKEN_ or HTTP_AUTH_HEADER_ and the host"
	}
	return fmt.Sprintf("%s: the server says %d %s%s", e.Source, e.Status, http.StatusText(e.Status), fix)
}
