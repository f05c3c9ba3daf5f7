package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/gitref"
)

// errSilent is the cause of a download that ends because nothing comes any more.
var errSilent = errors.New("the server is silent; try again, or use a mirror")

// download asks the server for the file, or whether old is still current.
func (h *HTTPFile) download(ctx context.Context, old *downloaded) (*downloaded, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(h.o.Timeout, func() { cancel(errSilent) })
	defer patience.Stop()
	d, err := h.get(ctx, old, patience)
	if err == nil {
		return d, nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, h.explain(err)
}

// explain names the source in an error that does not.
func (h *HTTPFile) explain(err error) error {
	var sum *ChecksumError
	var status *StatusError
	var limit *LimitError
	if errors.As(err, &sum) || errors.As(err, &status) || errors.As(err, &limit) {
		return err
	}
	return fmt.Errorf("%s cannot be downloaded: %w", h, err)
}

func (h *HTTPFile) get(ctx context.Context, old *downloaded, patience *time.Timer) (*downloaded, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "stagewright")
	if h.o.Authorization != nil {
		value, err := h.o.Authorization(ctx)
		if err != nil {
			return nil, err
		}
		if value != "" {
			req.Header.Set("Authorization", value)
		}
	}
	if old != nil && old.ETag != "" {
		req.Header.Set("If-None-Match", old.ETag)
	} else if old != nil && old.LastModified != "" {
		req.Header.Set("If-Modified-Since", old.LastModified)
	} else {
		old = nil // a server that gives neither is asked for all of it
	}
	client := &http.Client{Transport: h.o.Transport, CheckRedirect: h.redirect}
	resp, err := client.Do(req)
	if err != nil {
		return nil, unwrapURL(err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotModified && old != nil:
		return old, nil
	case resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNonAuthoritativeInfo:
		return nil, &StatusError{Source: h.String(), Status: resp.StatusCode}
	case resp.ContentLength > h.o.MaxBytes:
		return nil, h.tooLarge()
	}
	return h.keep(ctx, resp, patience)
}

// unwrapURL takes the URL off an error of a client: it is named already, and may have a
// password.
func unwrapURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// redirect bounds redirects. Without a checksum only the encryption says that the file
// is the server's.
func (h *HTTPFile) redirect(req *http.Request, via []*http.Request) error {
	req.Header.Del("Referer") // the query of a URL can be a secret, too
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		req.Header.Del("Authorization")
	}
	if len(via) >= maxRedirects {
		return fmt.Errorf("%d redirects, the last to %s", len(via), quote(gitref.Redact(req.URL.String())))
	}
	if h.want.IsZero() && via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("it is redirected from https to %s; name that URL, or give a checksum", quote(gitref.Redact(req.URL.String())))
	}
	return nil
}

func (h *HTTPFile) tooLarge() error {
	return &LimitError{Source: h.String(), What: "size in bytes", Limit: h.o.MaxBytes}
}

// keep stores a response: the bytes first, then the record that names them.
func (h *HTTPFile) keep(ctx context.Context, resp *http.Response, patience *time.Timer) (*downloaded, error) {
	store := h.o.Store
	w, err := store.Create(ctx)
	if err != nil {
		return nil, err
	}
	defer w.Discard()
	body := &patientReader{r: resp.Body, timer: patience, timeout: h.o.Timeout}
	size, err := io.CopyBuffer(w, io.LimitReader(body, h.o.MaxBytes+1), make([]byte, 128<<10))
	if err != nil {
		return nil, err
	}
	if size > h.o.MaxBytes {
		return nil, h.tooLarge()
	}
	if !patience.Stop() { // too late: the context is ending
		return nil, errSilent
	}
	digest, err := w.Commit(ctx, h.want)
	if corrupt, ok := errors.AsType[*cache.CorruptError](err); ok {
		return nil, &ChecksumError{Source: h.String(), Want: corrupt.Want.String(), Got: corrupt.Got.String()}
	}
	if err != nil {
		return nil, err
	}
	d := &downloaded{Digest: digest, Size: size, Name: dispositionName(resp.Header), ETag: header(resp.Header, "ETag")}
	if t, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		d.LastModified, d.Modified = header(resp.Header, "Last-Modified"), unixNano(t)
	}
	record, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	return d, store.Put(ctx, h.key(), record)
}

// header is a value that is kept, unless it is so long that it cannot be meant.
func header(h http.Header, name string) string {
	const most = 1024
	if v := h.Get(name); len(v) <= most {
		return v
	}
	return ""
}

// patientReader puts the end of the patience off whenever something comes.
type patientReader struct {
	r       io.Reader
	timer   *time.Timer
	timeout time.Duration
}

func (p *patientReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 && p.timer.Stop() {
		p.timer.Reset(p.timeout)
	}
	return n, err
}
