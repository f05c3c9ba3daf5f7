package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blob opens a blob. When the connection breaks while it is read, reading goes on where it stopped. The caller verifies it.
func (r *repo) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	b := &download{ctx: ctx, repo: r, desc: d}
	if err := b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

type download struct {
	ctx      context.Context //nolint:containedctx // that of whoever reads
	repo     *repo
	desc     v1.Descriptor
	body     io.ReadCloser
	done     int64 // bytes that were read
	failures int   // since the last of them
}

// open asks for what is missing. A registry that knows no ranges sends everything, of which the beginning is thrown away.
func (b *download) open() error {
	u, err := b.repo.url(b.ctx, "blobs/"+b.desc.Digest.String(), nil)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(b.ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	if b.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", b.done, b.desc.Size-1))
	}
	resp, err := b.repo.do(req, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return err
	}
	b.body = resp.Body
	if resp.StatusCode == http.StatusPartialContent {
		var from int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &from); err != nil || from != b.done {
			b.body.Close()
			return fmt.Errorf("%s: asked for what follows byte %d, it sends %q", u.Redacted(), b.done, resp.Header.Get("Content-Range"))
		}
		return nil
	}
	if _, err := io.CopyN(io.Discard, b.body, b.done); err != nil {
		b.body.Close()
		return err
	}
	return nil
}

// Read implements io.Reader.
func (b *download) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if b.done += int64(n); n > 0 {
		b.failures = 0
	}
	if err == nil || b.done >= b.desc.Size || !broken(err) {
		return n, err
	}
	for ; err != nil && broken(err); err = b.open() {
		b.body.Close()
		if b.failures++; !b.repo.host.client.retries.wait(b.ctx, b.failures, 0) {
			return n, err
		}
	}
	return n, err
}

// broken reports whether reading may go on over another connection. An end without an error is none: whoever verifies the blob has the
// better message.
func broken(err error) bool { return err != io.EOF && passing(err) } //nolint:errorlint // an io.Reader's end is io.EOF itself

// Close implements io.Closer.
func (b *download) Close() error { return b.body.Close() }
