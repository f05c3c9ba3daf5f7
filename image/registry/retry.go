package registry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// What zero Options mean, and the longest wait that a registry may ask for before the request is given up.
const (
	DefaultRetries = 4
	DefaultBackoff = 500 * time.Millisecond
	maxWait        = time.Minute
)

// retries says how often, and after which waits, what may pass is tried again.
type retries struct {
	count int
	first time.Duration
}

// wait waits before the try after failures (1, 2, …) in a row, as long as the registry asked for where it did. It returns false when it is
// time to give up, or the context has ended.
func (r retries) wait(ctx context.Context, failures int, asked time.Duration) bool {
	if failures > r.count || asked > maxWait {
		return false
	}
	d := asked
	if d == 0 {
		d = min(r.first<<min(failures-1, 16), maxWait)
		d += rand.N(d/4 + 1) // so that many builders do not come back at the same moment
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retrier repeats requests that failed in a way that may pass, when they can be sent again as they are.
type retrier struct {
	base http.RoundTripper
	retries
}

// RoundTrip implements http.RoundTripper.
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	for failures := 1; ; failures++ {
		resp, err := r.base.RoundTrip(req)
		again := err != nil && passing(err) || err == nil && passingStatus(resp.StatusCode)
		if !again || !repeatable(req) {
			return resp, err
		}
		var asked time.Duration
		if resp != nil {
			asked = retryAfter(resp.Header, time.Now())
		}
		if !r.wait(ctx, failures, asked) {
			return resp, err
		}
		if resp != nil {
			_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection can be used again
			resp.Body.Close()
		}
		if req.GetBody != nil {
			req = req.Clone(ctx)
			if req.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
	}
}

// repeatable reports whether a request may be sent again without asking.
func repeatable(req *http.Request) bool {
	return req.Context().Value(onceKey{}) == nil && (req.Body == nil || req.Body == http.NoBody || req.GetBody != nil)
}

// once marks the context of a request that belongs to an upload. It may have had its effect, so that its sender asks before it tries again.
func once(ctx context.Context) context.Context { return context.WithValue(ctx, onceKey{}, true) }

type onceKey struct{}

// retryAfter reads the header of that name (RFC 9110, 10.2.3): seconds, or a date. Zero is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, t.Sub(now))
	}
	return 0
}

// passingStatus reports whether the same request may be answered otherwise a little later.
func passingStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		499, 520, 521, 522, 524: // of nginx and Cloudflare, for an origin that hung up or is slow
		return true
	}
	return false
}

// passing reports whether err is of a connection that was there and broke, or an answer of which passingStatus is true. A registry that
// cannot be reached at all, or is silent, had its time already.
func passing(err error) bool {
	var body *bodyError
	var op *net.OpError
	var status *transport.Error
	var reset streamError
	switch {
	case errors.As(err, &body), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &op) && op.Op == "dial":
		return false
	case errors.As(err, &status):
		return passingStatus(status.StatusCode)
	}
	if errors.As(err, &op) && (op.Op == "read" || op.Op == "write") && !op.Timeout() {
		return true // whatever the system calls it
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, syscall.EPIPE) ||
		errors.As(err, &reset)
}

// streamError has the fields of net/http's error for a stream of HTTP/2 that the other side reset, which is how errors.As knows it.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "stream reset: code " + strconv.Itoa(int(e.Code)) }
