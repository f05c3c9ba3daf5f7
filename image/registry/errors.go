package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagewright/stagewright/internal/offline"
	"github.com/stagewright/stagewright/platform"
)

// What can go wrong and a program may want to tell apart; an [*Error] wraps at most one of them.
var (
	ErrBadReference = errors.New("not an image name")
	ErrNotFound     = errors.New("no such image")
	ErrUnauthorized = errors.New("not allowed")
	ErrUnreachable  = errors.New("the registry cannot be reached")
	ErrPlainHTTP    = errors.New("plain http refused")
	ErrRateLimited  = errors.New("the registry limits requests")
	ErrTooLarge     = errors.New("too large for the registry")
	ErrOffline      = offline.Err
)

// Error is the failure of a request to a registry.
type Error struct {
	Op     string // "resolve", "pull", "push", "attach", "list referrers", "list tags" or "delete"
	Ref    string // the whole name
	Host   string // of the registry, empty for a bad reference
	Reason error  // one of the Err values of this package, or nil
	Err    error  // what happened

	// Login is the entry of the keychain that was tried when Reason is ErrUnauthorized: `user "bob"`, `an identity token`. It is empty when
	// the keychain has none for the host, and never has a secret.
	Login string

	// RetryAfter is how long the registry asks to be left alone, 0 when it does not.
	RetryAfter time.Duration
}

// Error names the operation, the reference, what happened and what to do about it. Control characters, which a registry may have put
// into its message, are escaped.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Op, e.Ref)
	if e.Reason != nil {
		fmt.Fprintf(&b, "%v: ", e.Reason)
	}
	fmt.Fprintf(&b, "%v", e.Err)
	if a := e.advice(); a != "" {
		fmt.Fprintf(&b, " (%s)", a)
	}
	return printable(b.String())
}

// printable escapes what could move the cursor of a terminal, all but the ends of lines.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if unicode.IsControl(r) && r != '\n' {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Unwrap gives Reason and Err to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Reason == nil {
		return []error{e.Err}
	}
	return []error{e.Reason, e.Err}
}

func (e *Error) advice() string {
	switch {
	case errors.Is(e.Reason, ErrBadReference) && strings.Contains(e.Ref, "://"):
		return "write a name like registry.example.com/team/app:1.0, without a scheme; hosts in Options.Insecure are reached over http"
	case errors.Is(e.Reason, ErrBadReference):
		return "write a name like alpine:3.22 or registry.example.com/team/app:1.0, in lower case"
	case errors.Is(e.Reason, ErrNotFound) && e.Op == "push":
		return "the registry does not know the repository; create it there, and check the name"
	case errors.Is(e.Reason, ErrNotFound):
		if e.Host == "docker.io" {
			return "docker.io has no such repository or tag; check the spelling, or name the registry: registry.example.com/name:tag"
		}
		return e.Host + " has no such repository or tag; check the spelling, and for an image of Docker Hub write docker.io/… in front"
	case errors.Is(e.Reason, ErrUnauthorized):
		tried := "the keychain has no entry for " + e.Host + ", so nobody was logged in"
		if e.Login != "" {
			tried = "the keychain's entry for " + e.Host + " was tried: " + e.Login
		}
		if e.Op == "push" || e.Op == "attach" {
			return tried + "; log in with `docker login " + e.Host + "`, or set Options.Keychain, as somebody who may write there"
		}
		return tried + "; log in with `docker login " + e.Host + "`, or set Options.Keychain; the image may also not exist, which many registries report like this"
	case errors.Is(e.Reason, ErrOffline) && (e.Op == "resolve" || e.Op == "pull"):
		return "build once while registries may be asked, with the same cache"
	case errors.Is(e.Reason, ErrUnreachable):
		return "check that " + e.Host + " is spelled right and runs, the network, and the proxy settings"
	case errors.Is(e.Reason, ErrPlainHTTP):
		return "serve the registry over https, or list its host in Options.Insecure; credentials go over https only"
	case errors.Is(e.Reason, ErrRateLimited):
		wait := "or wait"
		if e.RetryAfter > 0 {
			wait = fmt.Sprintf("or wait for the %v that it asks for (Retry-After)", e.RetryAfter)
		}
		return "log in with `docker login " + e.Host + "` for a higher limit, " + wait
	case errors.Is(e.Reason, ErrTooLarge):
		return "the registry, or a proxy before it, bounds what it takes (in nginx client_max_body_size); have that raised, or make smaller layers"
	}
	return ""
}

// newError wraps err, and finds the reason for it. An error that is one already stays as it is.
func newError(ctx context.Context, op string, r name.Reference, err error) error {
	e := &Error{Op: op, Ref: display(r), Host: displayHost(r), Err: err}
	var body *bodyError
	if errors.As(err, &body) {
		e.Err = body.err
	}
	if cause := context.Cause(ctx); cause != nil {
		e.Err = cause
		return e
	}
	if body != nil {
		return e
	}
	var own *Error
	if errors.As(err, &own) {
		return err
	}
	var limited *waitError
	if errors.As(err, &limited) {
		e.RetryAfter = limited.after.Round(time.Second)
	}
	var refused *deniedError
	if errors.As(err, &refused) {
		e.Login = refused.login
	}
	var status *transport.Error
	var netErr net.Error
	var urlErr *url.Error
	switch {
	case errors.Is(err, ErrOffline):
		e.Reason, e.Err = ErrOffline, errors.New("it is not in the cache")
	case errors.Is(err, ErrPlainHTTP):
		e.Reason = ErrPlainHTTP
		var p *plainError
		if errors.As(err, &p) {
			e.Err = p
		}
	case errors.As(err, &status):
		e.Reason = reasonOf(status.StatusCode)
	case errors.Is(err, errTooLarge), errors.Is(err, errRedirects): // the registry was reached
	case errors.As(err, &netErr), errors.As(err, &urlErr):
		e.Reason = ErrUnreachable
	}
	return e
}

func reasonOf(status int) error {
	switch status {
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrUnauthorized
	case http.StatusTooManyRequests:
		return ErrRateLimited
	case http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	}
	return nil
}

// PlatformError says that an index has no image for the platform that is wanted.
type PlatformError struct {
	Want platform.Platform
	Have []platform.Platform
}

// Error tells what is wrong, and where.
func (e *PlatformError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("it has no image for %s, and names no other platform", e.Want)
	}
	have := make([]string, len(e.Have))
	for i, p := range e.Have {
		have[i] = p.String()
	}
	return fmt.Sprintf("it has no image for %s; it has %s", e.Want, strings.Join(have, ", "))
}

// Refused reports whether the registry answered, and did not like what was sent (400 and the like), so that asking again in the same words is no use.
func (e *Error) Refused() bool {
	var status *transport.Error
	return errors.As(e.Err, &status) && e.Reason == nil && status.StatusCode >= 400 && status.StatusCode < 500 && !passingStatus(status.StatusCode)
}
