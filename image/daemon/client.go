package daemon

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/stagewright/stagewright/platform"
)

// client speaks Docker's Engine API, which Podman answers, too.
type client struct {
	address address
	http    *http.Client
	api     string // prefix of paths: "/v1.41"
	libpod  string // prefix of Podman's own paths: "/v4.3.1/libpod"; empty for Docker
	os      string // "linux", "windows"; empty for Podman
}

const (
	maxAnswer    = 8 << 20          // bytes of an answer that is read whole, and of a line of a stream
	maxMessage   = 4 << 10          // bytes of what it complains
	shortRequest = 60 * time.Second // for requests that only look or name; a busy daemon takes seconds
)

// connect finds the daemon and asks what it is.
func connect(ctx context.Context, o Options, f flavour) (*client, error) {
	a, err := o.find(ctx, f)
	if err != nil {
		return nil, err
	}
	c := &client{address: a, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return a.dial(ctx) },
	}}}
	ctx, cancel := c.soon(ctx)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, "/_ping", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("asking what it is: %w", err)
	}
	resp.Body.Close()
	api := resp.Header.Get("Api-Version")
	if api == "" {
		return nil, errors.New("what listens there is no Docker or Podman: /_ping does not say its API")
	}
	c.api, c.os = "/v"+api, resp.Header.Get("Ostype")
	if libpod := resp.Header.Get("Libpod-Api-Version"); libpod != "" {
		c.libpod = "/v" + libpod + "/libpod"
	}
	return c, nil
}

// platform asks for what the daemon runs on.
func (c *client) platform(ctx context.Context) (platform.Platform, error) {
	var v struct{ Os, OSType, Arch, Architecture string }
	path := c.api + "/version"
	if c.libpod != "" {
		path = c.api + "/info" // its version takes seconds, because it asks Debian for that of each helper
	}
	if err := c.get(ctx, path, &v); err != nil {
		return platform.Platform{}, fmt.Errorf("asking what it runs on: %w", err)
	}
	return platform.Platform{OS: cmp.Or(v.Os, v.OSType, "linux"), Architecture: cmp.Or(v.Arch, v.Architecture)}.Normalize(), nil
}

func (c *client) close() { c.http.CloseIdleConnections() }

// statusError is an answer that is no success.
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

func isNotFound(err error) bool {
	var s *statusError
	return errors.As(err, &s) && s.status == http.StatusNotFound
}

// do sends a request. The answer is a success, and its body the caller's to close.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body io.Reader) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "daemon", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the address in it is a placeholder
		}
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what there is of it
	var doc struct{ Message string }
	if json.Unmarshal(text, &doc) != nil || doc.Message == "" {
		doc.Message = resp.Status + ": " + string(text)
	}
	return nil, &statusError{resp.StatusCode, oneLine(doc.Message, maxMessage)}
}

// oneLine is a daemon's text for a message of ours.
func oneLine(text string, limit int) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// soon is the context of a request that is answered at once.
func (c *client) soon(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, shortRequest, fmt.Errorf("%s does not answer within %v", c.address, shortRequest))
}

// get reads a document.
func (c *client) get(ctx context.Context, path string, to any) error {
	return c.brief(ctx, http.MethodGet, path, nil, to)
}

// brief sends a request that is answered at once. to may be nil.
func (c *client) brief(ctx context.Context, method, path string, query url.Values, to any) error {
	ctx, cancel := c.soon(ctx)
	defer cancel()
	resp, err := c.do(ctx, method, path, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || to == nil {
		return err
	}
	return json.Unmarshal(text, to)
}

// stream sends a request whose answer is one JSON document a line, of which one may be an error.
func (c *client) stream(ctx context.Context, path string, query url.Values, body io.Reader) error {
	resp, err := c.do(ctx, http.MethodPost, path, query, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		var line struct {
			Error       string
			ErrorDetail struct{ Message string }
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			continue // Podman ends some streams with what is no document
		}
		if message := line.ErrorDetail.Message; message != "" {
			return errors.New(oneLine(message, maxMessage))
		}
		if line.Error != "" {
			return errors.New(oneLine(line.Error, maxMessage))
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return lines.Err()
}

// id returns the ID of the image that a name, an ID or a name with digest stands for, or "" when there is none.
func (c *client) id(ctx context.Context, ref string) (string, error) {
	var doc struct{ Id string } //nolint:revive // the API's name
	prefix := c.api
	if c.libpod != "" {
		prefix = c.libpod // Podman 4.3 cannot say in Docker's way what an image is that exposes a port of SCTP
	}
	err := c.get(ctx, prefix+"/images/"+ref+"/json", &doc)
	switch {
	case isNotFound(err):
		return "", nil
	case err != nil || strings.Contains(doc.Id, ":"):
		return doc.Id, err
	}
	return "sha256:" + doc.Id, nil // Podman's own
}

// tag names an image.
func (c *client) tag(ctx context.Context, ref, full string) error {
	repo, tag := full[:strings.LastIndexByte(full, ':')], full[strings.LastIndexByte(full, ':')+1:]
	err := c.brief(ctx, http.MethodPost, c.api+"/images/"+ref+"/tag", url.Values{"repo": {repo}, "tag": {tag}}, nil)
	if err != nil {
		return fmt.Errorf("naming it %s: %w", full, err)
	}
	return nil
}

// untag removes a name, and the image when that was its only one.
func (c *client) untag(ctx context.Context, ref string) error {
	err := c.brief(ctx, http.MethodDelete, c.api+"/images/"+ref, url.Values{"noprune": {"1"}}, nil)
	if isNotFound(err) {
		return nil
	}
	return err
}
