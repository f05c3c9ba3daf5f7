package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// host is one registry as a Client knows it: how it is spoken to, which is asked once, and the tokens that it gave.
type host struct {
	client   *Client
	registry name.Registry
	turn     chan struct{} // held by who reads or writes the fields below; a channel, so that waiting for it ends with a context

	challenge *transport.Challenge // nil until the registry was asked
	doubtful  *transport.Challenge // what challenge was assumed to be, until an answer
	grants    map[string]*grant    // by repo.key
}

// grant is what lets a request pass.
type grant struct {
	authorization string    // the header's value, empty for none
	expires       time.Time // zero for never
	login         string    // which entry of the keychain was used, without what is secret in it; empty for none
}

// deniedError is an answer of 401 or 403.
type deniedError struct {
	err   error
	login string
}

func (e *deniedError) Error() string { return e.err.Error() }
func (e *deniedError) Unwrap() error { return e.err }

func (h *host) lock(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *host) unlock() { <-h.turn }

// scheme says whether the registry is spoken to over https or http.
func (h *host) scheme(ctx context.Context) (string, error) {
	if err := h.lock(ctx); err != nil {
		return "", err
	}
	defer h.unlock()
	if err := h.shake(ctx); err != nil {
		return "", err
	}
	if h.challenge.Insecure {
		return "http", nil
	}
	return "https", nil
}

// shake asks what the registry wants to be shown. The caller holds the turn. A failure is not remembered.
func (h *host) shake(ctx context.Context) error {
	if h.challenge != nil {
		return nil
	}
	c, err := transport.Ping(ctx, h.registry, h.client.transport)
	if err != nil {
		return err
	}
	h.challenge = c
	return nil
}

// grant returns what a request to r has to carry. refused is what the registry has just refused, nil for nothing; the answer is the same
// when there is nothing better.
func (h *host) grant(ctx context.Context, r *repo, refused *grant, challenge string) (*grant, error) {
	if err := h.lock(ctx); err != nil {
		return nil, err
	}
	defer h.unlock()
	if g := h.grants[r.key]; g != nil && g != refused && (g.expires.IsZero() || time.Now().Before(g.expires)) {
		return g, nil
	}
	if refused != nil && h.challenge != nil && h.challenge.Scheme == "" {
		h.challenge = nil // it wanted nothing, and now does
	}
	if err := h.shake(ctx); err != nil {
		return nil, err
	}
	bearer := strings.EqualFold(h.challenge.Scheme, "bearer")
	if refused != nil && !bearer && refused.authorization != "" {
		return refused, nil
	}
	auth, err := authn.Resolve(ctx, h.client.options.keychain(), r.name)
	if err != nil {
		return nil, fmt.Errorf("asking the keychain for %s: %w", h.registry, err)
	}
	config, err := authn.Authorization(ctx, auth)
	if err != nil {
		return nil, fmt.Errorf("asking the keychain for %s: %w", h.registry, err)
	}
	g := &grant{login: loginName(config)}
	switch {
	case config.RegistryToken != "":
		g.authorization = "Bearer " + config.RegistryToken
	case bearer:
		err = h.exchange(ctx, r, auth, scopesOf(r, challenge), g)
	case h.challenge.Scheme != "":
		g.authorization = basic(config)
	}
	if err != nil {
		return nil, denied(err, g.login)
	}
	h.grants[r.key] = g
	return g, nil
}

// exchange gets a token. Some token servers refuse everything when one of several scopes is not granted; only the first is needed.
func (h *host) exchange(ctx context.Context, r *repo, auth authn.Authenticator, scopes []string, g *grant) error {
	token, err := transport.Exchange(ctx, h.registry, auth, h.client.transport, scopes, h.challenge)
	var status *transport.Error
	if len(scopes) > 1 && errors.As(err, &status) && status.StatusCode < 500 && status.StatusCode != http.StatusTooManyRequests {
		token, err = transport.Exchange(ctx, h.registry, auth, h.client.transport, scopes[:1], h.challenge)
	}
	if err != nil {
		return err
	}
	value := token.Token
	if token.AccessToken != "" {
		value = token.AccessToken
	}
	life := max(time.Duration(token.ExpiresIn)*time.Second, time.Minute) // a minute is what the token protocol has for those that do not say
	g.authorization, g.expires = "Bearer "+value, time.Now().Add(life*9/10)
	return nil
}

var scopePattern = regexp.MustCompile(`\bscope="([^"]*)"`)

// scopesOf are the scopes that r needs and, first, what the registry asked for when it refused: it may know the repository by another name.
func scopesOf(r *repo, challenge string) []string {
	m := scopePattern.FindStringSubmatch(challenge)
	if m == nil || m[1] == "" || slices.Contains(r.scopes, m[1]) {
		return r.scopes
	}
	return append([]string{m[1]}, r.scopes...)
}

// basic is the header for a user and a password.
func basic(c *authn.AuthConfig) string {
	switch {
	case c.Username != "" && c.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password))
	case c.Auth != "":
		return "Basic " + c.Auth
	}
	return ""
}

// loginName describes credentials without what is secret in them.
func loginName(c *authn.AuthConfig) string {
	user := c.Username
	if raw, err := base64.StdEncoding.DecodeString(c.Auth); user == "" && err == nil {
		user, _, _ = strings.Cut(string(raw), ":")
	}
	switch {
	case c.RegistryToken != "":
		return "a registry token"
	case c.IdentityToken != "" && (user == "" || user == "<token>"):
		return "an identity token"
	case user != "":
		return fmt.Sprintf("user %q", user)
	}
	return ""
}

// denied adds the login to an error that says 401 or 403.
func denied(err error, login string) error {
	var status *transport.Error
	if errors.As(err, &status) && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden) {
		return &deniedError{err, login}
	}
	return err
}
