package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stagewright/stagewright/image"
)

// guard is the one place through which every request passes. It refuses plain http where it is not allowed, bounds redirects and what is
// read where no blob is expected, and ends a request on which nothing moves.
type guard struct {
	base     http.RoundTripper
	insecure []string
	timeout  time.Duration
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.check(req); err != nil {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	w := &watchdog{timeout: g.timeout, ctx: ctx, cancel: cancel, host: req.URL.Host}
	w.timer = time.AfterFunc(g.timeout, w.bite)
	sent := req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		sent.Body = &sentBody{req.Body, w}
	}
	resp, err := g.base.RoundTrip(sent)
	w.timer.Stop()
	if err != nil {
		err = w.explain(err)
		cancel(nil)
		return nil, err
	}
	body := &receivedBody{ReadCloser: resp.Body, w: w}
	if !isBlob(req) {
		body.small, body.left = true, maxAnswer
		if resp.ContentLength > maxAnswer {
			body.Close()
			return nil, errTooLarge
		}
		w.timer.Reset(g.timeout)
	}
	resp.Body = body
	return resp, nil
}

// maxAnswer bounds every response but a blob's: manifests, tokens, errors, and what nobody reads.
const maxAnswer = image.MaxManifestSize

var (
	errTooLarge  = fmt.Errorf("the answer has more than %d bytes, which no manifest may have", maxAnswer)
	errRedirects = fmt.Errorf("it redirects more than %d times", maxRedirects)
)

// isBlob reports whether req asks for a blob or its size, or follows a redirect of such a request.
func isBlob(req *http.Request) bool {
	for ; req != nil; req = req.Response.Request {
		read := req.Method == http.MethodGet || req.Method == http.MethodHead
		if read && strings.Contains(req.URL.Path, "/blobs/") {
			return true
		}
		if req.Response == nil {
			return false
		}
	}
	return false
}

// plainError is a request that was not sent.
type plainError struct{ msg string }

func (e *plainError) Error() string        { return e.msg }
func (e *plainError) Is(target error) bool { return target == ErrPlainHTTP }

// maxRedirects is net/http's usual limit, which go-containerregistry's clients do without.
const maxRedirects = 10

// check refuses what must not leave this machine in the clear, and to run in circles.
func (g *guard) check(req *http.Request) error {
	hops := 0
	for r := req; r != nil && r.Response != nil; r = r.Response.Request {
		if hops++; hops > maxRedirects {
			return errRedirects
		}
	}
	u := req.URL
	if u.Scheme == "https" || isLoopback(u.Hostname()) {
		return nil
	}
	if u.Scheme != "http" || !slices.Contains(g.insecure, u.Host) {
		return &plainError{fmt.Sprintf("%s is not this machine, and would be asked over %s", u.Host, u.Scheme)}
	}
	// A token request with a password in its body is a form; one in the header is Authorization.
	if req.Header.Get("Authorization") != "" || strings.HasPrefix(req.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		return &plainError{fmt.Sprintf("credentials would be sent to %s in the clear", u.Host)}
	}
	return nil
}

// watchdog cancels a request when its timer ends. The timer runs only while this side waits for the other.
type watchdog struct {
	timeout time.Duration
	timer   *time.Timer
	ctx     context.Context //nolint:containedctx // that of one request
	cancel  context.CancelCauseFunc
	host    string
}

// stallError is a request on which nothing moved.
type stallError struct {
	host    string
	timeout time.Duration
}

func (e *stallError) Error() string {
	return fmt.Sprintf("%s has been silent for %v", e.host, e.timeout)
}
func (e *stallError) Timeout() bool   { return true } // with Temporary, a net.Error
func (e *stallError) Temporary() bool { return false }

func (w *watchdog) bite() { w.cancel(&stallError{w.host, w.timeout}) }

// explain returns the stall in place of the cancellation that it caused.
func (w *watchdog) explain(err error) error {
	var stall *stallError
	if err != nil && !errors.Is(err, io.EOF) && errors.As(context.Cause(w.ctx), &stall) {
		return stall
	}
	return err
}

// sentBody is the body of a request. While it is read, the wait is for what is sent and not for the network.
type sentBody struct {
	io.ReadCloser
	w *watchdog
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.w.timer.Stop()
	n, err := b.ReadCloser.Read(p)
	b.w.timer.Reset(b.w.timeout)
	if err != nil && err != io.EOF { //nolint:errorlint // an io.Reader's end is io.EOF itself
		err = &bodyError{err}
	}
	return n, err
}

// sentPiece is how much of a body of unknown length is sent at once.
const sentPiece = 256 << 10

// WriteTo implements io.WriterTo, so that a chunk of a body of unknown length is more than net/http's 32 KiB.
func (b *sentBody) WriteTo(w io.Writer) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{b}, make([]byte, sentPiece))
}

// bodyError is a layer that could not be read while it was being sent, for which the registry is not to blame.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// receivedBody is the body of a response. A small one has one timeout for the whole of it and at most left bytes; a blob has the timeout
// for each read, and its reader counts its bytes.
type receivedBody struct {
	io.ReadCloser
	w     *watchdog
	small bool
	left  int64
}

func (b *receivedBody) Read(p []byte) (int, error) {
	if !b.small {
		b.w.timer.Reset(b.w.timeout)
		defer b.w.timer.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.small && b.left < 0 {
		return 0, errTooLarge
	}
	return n, b.w.explain(err)
}

func (b *receivedBody) Close() error {
	err := b.ReadCloser.Close()
	b.w.timer.Stop()
	b.w.cancel(nil)
	return err
}
