package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// manifest answers with a manifest or an index.
func (h *Handler) manifest(w http.ResponseWriter, r *http.Request, t target) *Error {
	e, err := h.resolve(r, t)
	if err != nil {
		return clientError(err)
	}
	defer h.done(e)
	digest := e.root
	if t.byDigest() {
		digest = hash(t.reference)
	}
	doc := e.documents[digest]
	if !accepts(r.Header.Values("Accept"), doc.desc.MediaType) {
		return &Error{http.StatusNotFound, "MANIFEST_UNKNOWN", fmt.Sprintf("it is %s, and the request's Accept header has no place for it", doc.desc.MediaType)}
	}
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("Etag", `"`+digest.String()+`"`)
	respond(w, r, string(doc.desc.MediaType), doc.raw)
	if size := int64(len(doc.raw)); r.Method == http.MethodGet {
		h.options.Sent(image.Transfer{What: digest.String(), Done: size, Total: size})
	}
	return nil
}

// resolve returns the entry that has the manifest, to be given back with done.
func (h *Handler) resolve(r *http.Request, t target) (*entry, error) {
	n := name{t.repo, t.reference}
	held := func(e *entry) bool { return e.pinned && e.tag == t.reference }
	if t.byDigest() {
		digest := hash(t.reference)
		held = func(e *entry) bool { _, ok := e.documents[digest]; return ok }
	}
	if e, ok := h.find(t.repo, held); ok {
		return e, nil
	}
	if err := h.failed(n); err != nil && r.Method == http.MethodGet {
		return nil, err
	}
	e, err := h.ask(r.Context(), n)
	if err == nil {
		h.use(e)
		return e, nil
	}
	if r.Method == http.MethodHead && r.Context().Err() == nil {
		h.fail(n, err)
	}
	return nil, err
}

// blob answers with a config or a layer.
func (h *Handler) blob(w http.ResponseWriter, r *http.Request, t target) *Error {
	digest := hash(t.reference)
	e, ok := h.find(t.repo, func(e *entry) bool { _, ok := e.blobs[digest]; return ok })
	if !ok {
		return &Error{http.StatusNotFound, "BLOB_UNKNOWN", "no image of " + t.repo + " that is served has it; pull the manifest first"}
	}
	defer h.done(e)
	b := e.blobs[digest]
	from, to, status := readRange(r, b.size)
	header := w.Header()
	header.Set("Accept-Ranges", "bytes")
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		header.Set("Content-Range", fmt.Sprintf("bytes */%d", b.size))
		return &Error{status, "SIZE_INVALID", fmt.Sprintf("the blob has %d bytes", b.size)}
	case http.StatusPartialContent:
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, b.size))
	}
	header.Set("Docker-Content-Digest", digest.String())
	header.Set("Etag", `"`+digest.String()+`"`)
	header.Set("Content-Type", "application/octet-stream")
	header.Set("Content-Length", strconv.FormatInt(to-from, 10))
	if r.Method == http.MethodHead {
		w.WriteHeader(status)
		return nil
	}
	rc, err := open(r.Context(), digest, b)
	if err != nil {
		for _, k := range []string{"Content-Range", "Docker-Content-Digest", "Etag"} {
			header.Del(k)
		}
		h.broken(r.Context(), t, err)
		return clientError(fmt.Errorf("opening the blob: %w", err))
	}
	defer rc.Close()
	w.WriteHeader(status)
	out := &content.Meter{W: w, Tell: h.options.Sent, At: image.Transfer{What: digest.String(), Done: from, Total: b.size}}
	err = copyRange(out, rc, from, to, b.size)
	out.End()
	if err != nil {
		h.broken(r.Context(), t, err)
		panic(http.ErrAbortHandler) // the only way to say that these bytes are not to be used
	}
	return nil
}

// broken tells of a blob that could not be read, unless the client went away.
func (h *Handler) broken(ctx context.Context, t target, err error) {
	var gone *clientGone
	if ctx.Err() == nil && !errors.As(err, &gone) {
		h.options.Failed(t.repo, t.reference, err)
	}
}

func open(ctx context.Context, digest v1.Hash, b blob) (io.ReadCloser, error) {
	rc, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	vr, err := image.Verify(rc, digest, b.size)
	if err != nil {
		rc.Close()
	}
	return vr, err
}

// copyRange copies the bytes of rc from from to to. They are read from the beginning, because only the whole can be verified, and to the
// end where the range goes there. The last bytes are held back until they are.
func copyRange(w io.Writer, rc io.Reader, from, to, size int64) error {
	if _, err := io.CopyN(io.Discard, rc, from); err != nil {
		return unexpected(err)
	}
	buf := make([]byte, 64<<10)
	for left := to - from; left > 0; {
		n, err := io.ReadFull(rc, buf[:min(left, int64(len(buf)))])
		if err != nil {
			return unexpected(err)
		}
		if left -= int64(n); left == 0 && to == size {
			if _, err := io.CopyN(io.Discard, rc, 1); !errors.Is(err, io.EOF) {
				return unexpected(err)
			}
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return &clientGone{err}
		}
	}
	return nil
}

func unexpected(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// clientGone is the failure of a write to a client.
type clientGone struct{ err error }

func (e *clientGone) Error() string { return e.err.Error() }
func (e *clientGone) Unwrap() error { return e.err }

// readRange reads the Range header. Several ranges, and what is no range of bytes, are ignored, as RFC 9110, 14.2 allows.
func readRange(r *http.Request, size int64) (from, to int64, status int) {
	whole := func() (int64, int64, int) { return 0, size, http.StatusOK }
	spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	if r.Method != http.MethodGet || !ok || !dash || strings.Contains(spec, ",") {
		return whole()
	}
	if first == "" { // the last bytes
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil {
			return whole()
		}
		if n == 0 || size == 0 {
			return 0, 0, http.StatusRequestedRangeNotSatisfiable
		}
		return max(0, size-int64(n)), size, http.StatusPartialContent
	}
	start, err := strconv.ParseUint(first, 10, 63)
	if err != nil {
		return whole()
	}
	to = size
	if last != "" {
		end, err := strconv.ParseUint(last, 10, 63)
		if err != nil || end < start {
			return whole()
		}
		if end < uint64(size) {
			to = int64(end) + 1
		}
	}
	if start >= uint64(size) {
		return 0, 0, http.StatusRequestedRangeNotSatisfiable
	}
	return int64(start), to, http.StatusPartialContent
}

// accepts reports whether Accept headers have a place for a media type. A request without them takes everything.
func accepts(headers []string, mt types.MediaType) bool {
	if len(headers) == 0 {
		return true
	}
	for entry := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		want, _, _ := strings.Cut(strings.TrimSpace(entry), ";")
		if want = strings.TrimSpace(want); want == "*/*" || want == "application/*" || strings.EqualFold(want, string(mt)) {
			return true
		}
	}
	return false
}

// hash is the digest that a path names. One of another algorithm than those of v1.Hash is a value that nothing has.
func hash(reference string) v1.Hash {
	algorithm, hex, _ := strings.Cut(reference, ":")
	return v1.Hash{Algorithm: algorithm, Hex: hex}
}

// send answers with a whole document.
func send(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // it fails when the client has gone, who would be told
	}
}
