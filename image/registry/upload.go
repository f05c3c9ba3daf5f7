package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/stagewright/stagewright/image"
)

// blob has the repository have b: it is there, or comes out of another repository of the registry, or is sent.
func (p *push) blob(ctx context.Context, b blob) error {
	done, err := p.client.uploads.take(ctx, p.repo.name.Name()+"@"+b.digest.String())
	if err != nil {
		return err
	}
	defer done()
	there, err := p.has(ctx, b)
	if err != nil {
		return err
	}
	u := &upload{push: p, blob: b}
	u.adopt(ctx, there)
	for n := 0; !there && u.location == nil && n < len(b.from); n++ {
		// A registry that does not mount begins an upload instead, which is then used.
		if there, err = u.begin(ctx, url.Values{"mount": {b.digest.String()}, "from": {b.from[n].RepositoryStr()}}); err != nil && ctx.Err() != nil {
			return err
		}
		if u.location != nil {
			break
		}
	}
	if there {
		p.skipped()
		return nil
	}
	if err := u.run(ctx); err != nil {
		return fmt.Errorf("blob %s of %d bytes: %w", b.digest, b.size, err)
	}
	p.sent(b.size)
	return nil
}

// adopt goes on with what was sent while the blob was made, or has it forgotten when the blob is there.
func (u *upload) adopt(ctx context.Context, there bool) {
	a := u.client.aheads.of(u.repo.name.Name(), u.digest)
	switch {
	case a == nil:
		return
	case there:
		a.cancel()
		a.where(ctx)
		a.forget(ctx)
		return
	}
	u.location, u.offset = a.where(ctx)
	if u.location == nil {
		a.forget(ctx)
		return
	}
	u.resumed = true
	u.say(image.Transfer{What: u.digest.String(), Done: u.offset, Total: u.size})
}

// tiny is the size of what is sent unasked where nothing is known to be, and enough how many questions have shown that.
const tiny, enough = 4 << 10, 8

// has asks whether the repository has a blob. A tiny one is not asked for where none of several others was: to send it costs as much as the question.
func (p *push) has(ctx context.Context, b blob) (bool, error) {
	p.mu.Lock()
	unasked := p.missing >= enough && b.size <= tiny && len(b.from) == 0
	p.mu.Unlock()
	if unasked {
		return false, nil
	}
	there, err := p.repo.has(ctx, b.digest)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if there {
		p.missing = math.MinInt // there are others, then
	} else {
		p.missing++
	}
	return there, nil
}

// upload sends one blob, by the distribution specification's chunked upload with, as long as nothing breaks, one chunk: begin, send, commit.
// A small one, which need not go on in the middle, is sent with the commit.
type upload struct {
	*push
	blob
	location *url.URL // where it goes on; nil before it has begun
	offset   int64    // what the registry has, as far as is known
	resumed  bool     // it has gone on in the middle, or may have
}

// run sends the blob. After a failure that may pass it asks the registry what has arrived and goes on there, or begins again. The retries
// are counted from the last byte that arrived.
func (u *upload) run(ctx context.Context) error {
	for failures, best := 0, int64(0); ; {
		err := u.attempt(ctx)
		if err == nil || !u.again(err) || ctx.Err() != nil {
			return err
		}
		if u.location != nil && !u.direct(err, failures) {
			u.ask(ctx)
		}
		if u.offset > best {
			failures, best = 0, u.offset
		}
		var limited *waitError
		if errors.As(err, &limited); limited == nil {
			limited = &waitError{}
		}
		if failures++; !u.client.retries.wait(ctx, failures, limited.after) {
			return err
		}
		if u.location != nil {
			continue
		}
		if there, hasErr := u.repo.has(ctx, u.digest); hasErr == nil && there {
			return nil // the answer to the last request was lost, and not the request
		}
	}
}

// direct reports whether the request that failed is simply sent again: where nothing is lost by it, and every other time that the registry
// answered, lest one that fails at every second request be asked and refuse in turn.
func (u *upload) direct(err error, failures int) bool {
	if u.size <= small || u.offset == u.size {
		return true
	}
	var status *transport.Error
	u.resumed = errors.As(err, &status) && failures%2 == 1
	return u.resumed
}

// again reports whether another attempt may succeed, and forgets an upload that the registry has given up.
func (u *upload) again(err error) bool {
	switch {
	case hasStatus(err, http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable) && u.location != nil,
		hasStatus(err, http.StatusBadRequest) && u.resumed: // what arrived was not what it said
		u.location, u.offset, u.resumed = nil, 0, false
		return true
	case hasStatus(err, http.StatusUnauthorized) && u.location != nil && u.offset < u.size:
		return true // the token expired, and the body was on its way
	}
	return passing(err)
}

func (u *upload) attempt(ctx context.Context) error {
	if u.location == nil {
		if _, err := u.begin(ctx, nil); err != nil {
			return err
		}
	}
	if u.size > small && u.offset < u.size {
		if err := u.send(ctx); err != nil {
			return err
		}
	}
	return u.commit(ctx)
}

// small is the size of what is sent in one request.
const small = 1 << 20

// begin opens an upload, or mounts the blob.
func (u *upload) begin(ctx context.Context, query url.Values) (mounted bool, err error) {
	resp, err := u.repo.ask(ctx, http.MethodPost, "blobs/uploads/", query, nil, http.StatusCreated, http.StatusAccepted)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusCreated && query != nil {
		return true, nil
	}
	u.offset = 0
	return false, u.follow(resp)
}

// follow notes where an upload goes on.
func (u *upload) follow(resp *http.Response) error {
	to, err := resp.Location()
	if err != nil {
		return fmt.Errorf("%s %s: the answer does not say where the upload goes on: %w", resp.Request.Method, resp.Request.URL.Path, err)
	}
	asked := resp.Request.URL
	if to.Host == asked.Host {
		to.Scheme = asked.Scheme // behind a proxy that ends TLS, some say http
	}
	if err := checkHop(asked, to); err != nil {
		return err
	}
	u.location = to
	return nil
}

// send sends the blob from offset on.
func (u *upload) send(ctx context.Context) error {
	req, err := u.request(ctx, http.MethodPatch, u.location)
	if err != nil {
		return err
	}
	if u.offset > 0 || u.resumed { // the registry compares it with what it has
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.offset, u.size-1))
	}
	resp, err := u.repo.do(req, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return err
	}
	resp.Body.Close()
	u.offset = u.size
	return u.follow(resp)
}

// request carries what the registry does not have yet.
func (u *upload) request(ctx context.Context, method string, to *url.URL) (*http.Request, error) {
	if u.offset == u.size {
		return http.NewRequestWithContext(once(ctx), method, to.String(), nil)
	}
	body, err := u.body(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(once(ctx), method, to.String(), body)
	if err != nil {
		body.Close()
		return nil, err
	}
	req.ContentLength = u.size - u.offset
	req.GetBody = func() (io.ReadCloser, error) { return u.body(ctx) }
	req.Header.Set("Content-Type", "application/octet-stream")
	return req, nil
}

// commit names the blob.
func (u *upload) commit(ctx context.Context) error {
	to := *u.location
	q := to.Query()
	q.Set("digest", u.digest.String())
	to.RawQuery = q.Encode()
	req, err := u.request(ctx, http.MethodPut, &to)
	if err != nil {
		return err
	}
	resp, err := u.repo.do(req, http.StatusCreated, http.StatusNoContent, http.StatusAccepted)
	if err != nil {
		return err
	}
	resp.Body.Close()
	return stored(resp, u.digest)
}

// ask asks how much of the upload has arrived, and has it begin again when the registry cannot say.
func (u *upload) ask(ctx context.Context) {
	location := u.location
	u.location, u.offset, u.resumed = nil, 0, false
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location.String(), nil)
	if err != nil {
		return
	}
	resp, err := u.repo.do(req, http.StatusNoContent, http.StatusOK, http.StatusAccepted)
	if err != nil {
		return
	}
	resp.Body.Close()
	var first, last int64
	// "0-0" is one byte, and also what registries say of none.
	if _, err := fmt.Sscanf(strings.TrimPrefix(resp.Header.Get("Range"), "bytes="), "%d-%d", &first, &last); err != nil || first != 0 || last < 1 || last >= u.size {
		return
	}
	if resp.Header.Get("Location") == "" {
		u.location = location
	} else if u.follow(resp) != nil {
		return
	}
	u.offset, u.resumed = last+1, true
}

// body opens the blob and verifies it, so that wrong bytes are reported here and not as a registry's refusal. What has arrived is read and
// not sent.
func (u *upload) body(ctx context.Context) (io.ReadCloser, error) {
	rc, err := u.open(ctx)
	if err != nil {
		return nil, &bodyError{err}
	}
	vr, err := image.Verify(rc, u.digest, u.size)
	if err == nil {
		_, err = io.CopyN(io.Discard, vr, u.offset)
	}
	if err != nil {
		rc.Close()
		return nil, &bodyError{err}
	}
	return &progress{ReadCloser: vr, say: u.say, at: image.Transfer{What: u.digest.String(), Done: u.offset, Total: u.size}}, nil
}

// progress tells how far a blob has been read.
type progress struct {
	io.ReadCloser
	say  func(image.Transfer)
	at   image.Transfer
	said int64
}

// noticeable is after how many bytes something is told.
const noticeable = 256 << 10

// Read withholds the last bytes of a blob that is not what it should be, so that no registry ever has the whole of it to judge.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.ReadCloser.Read(b)
	p.at.Done += int64(n)
	if n > 0 && p.at.Done == p.at.Total && err == nil {
		_, err = p.ReadCloser.Read(make([]byte, 1)) // the end, or what is wrong
	}
	if err != nil && err != io.EOF { //nolint:errorlint // an io.Reader's end is io.EOF itself
		return 0, err
	}
	if n > 0 && (p.at.Done-p.said >= noticeable || p.at.Done == p.at.Total) {
		p.said = p.at.Done
		p.say(p.at)
	}
	return n, err
}

// stored compares what a registry says that it has stored with what was meant, where it says so.
func stored(resp *http.Response, want v1.Hash) error {
	if got := resp.Header.Get("Docker-Content-Digest"); got != "" && got != want.String() {
		return &storedError{want, got}
	}
	return nil
}

// storedError is a registry that has stored something else than was sent.
type storedError struct {
	want v1.Hash
	got  string
}

func (e *storedError) Error() string {
	return fmt.Sprintf("the registry says that it has stored %q, and was sent %s", e.got, e.want)
}
