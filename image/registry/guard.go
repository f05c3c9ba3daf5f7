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

// guard is the one place through which every request passes. It refuses plain http where it is not allowed, bounds what is read of a
// manifest, and ends a request on which nothing moves.
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
	limit := int64(-1)
	if strings.Contains(req.URL.Path, "/manifests/") && req.Method == http.MethodGet {
		limit = image.MaxManifestSize
	}
	if limit >= 0 && resp.ContentLength > limit {
		resp.Body.Close()
		cancel(nil)
		return nil, tooLarge(limit)
	}
	resp.Body = &receivedBody{ReadCloser: resp.Body, w: w, left: limit, limit: limit}
	return resp, nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("the manifest has more than %d bytes, which no registry accepts", limit)
}

// plainError is a request that was not sent.
type plainError struct{ msg string }

func (e *plainError) Error() string        { return e.msg }
func (e *plainError) Is(target error) bool { return target == ErrPlainHTTP }

// check refuses what must not leave this machine in the clear.
func (g *guard) check(req *http.Request) error {
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
	return n, err
}

// receivedBody is the body of a response. limit is negative when it has none.
type receivedBody struct {
	io.ReadCloser
	w           *watchdog
	left, limit int64
}

func (b *receivedBody) Read(p []byte) (int, error) {
	b.w.timer.Reset(b.w.timeout)
	n, err := b.ReadCloser.Read(p)
	b.w.timer.Stop()
	if b.limit >= 0 {
		if b.left -= int64(n); b.left < 0 {
			return 0, tooLarge(b.limit)
		}
	}
	return n, b.w.explain(err)
}

func (b *receivedBody) Close() error {
	err := b.ReadCloser.Close()
	b.w.timer.Stop()
	b.w.cancel(nil)
	return err
}
