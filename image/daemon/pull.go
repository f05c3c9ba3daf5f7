package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/serve"
)

// cannotPullError says that an archive may do where a pull did not.
type cannotPullError struct {
	what string // "Docker cannot pull from this process"
	err  error
}

func (e *cannotPullError) Error() string { return e.what + ": " + e.err.Error() }
func (e *cannotPullError) Unwrap() error { return e.err }

func cannotPull(err error) bool {
	var c *cannotPullError
	return errors.As(err, &c)
}

// pull has the daemon pull the image from this process under a temporary name, and gives it the wanted ones.
func (d *delivery) pull(ctx context.Context) (err error) {
	from, err := d.offer()
	if err != nil {
		return &cannotPullError{"this process cannot listen", err}
	}
	defer from.close()
	temporary := from.repo + "@" + d.digest.String()
	defer func() { // also after the end of ctx, which must not leave the name behind
		cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), dialTimeout)
		defer cancel()
		if rm := d.untag(cleaning, temporary); rm != nil && err == nil {
			err = fmt.Errorf("removing the temporary name %s: %w", temporary, rm)
		}
	}()
	path, query, engine := d.api+"/images/create", url.Values{"fromImage": {from.repo}, "tag": {d.digest.String()}}, docker.title
	if d.libpod != "" {
		path, query, engine = d.libpod+"/images/pull", url.Values{"reference": {temporary}, "tlsVerify": {"false"}}, podman.title
	}
	if err := d.stream(ctx, path, query, nil); err != nil {
		switch cause := context.Cause(ctx); {
		case cause != nil:
			return cause
		case from.failure() != nil:
			return fmt.Errorf("sending the image: %w", from.failure())
		case !from.began():
			return &cannotPullError{engine + " cannot pull from this process", err}
		case d.zstd: // Docker before 23 takes them in archives alone
			return &cannotPullError{engine + " cannot pull layers of zstd", err}
		}
		return fmt.Errorf("%s pulls the image: %w", engine, err)
	}
	id, err := d.id(ctx, temporary)
	if err != nil {
		return err
	}
	if !slices.Contains(d.ids, id) {
		return fmt.Errorf("%s pulled an image with the ID %q; the one sent is %s", engine, id, d.ids[0])
	}
	if err := d.name(ctx, id, full(d.names)); err != nil {
		return err
	}
	d.report.How = engine + " pulled it from this process"
	d.report.Blobs, d.report.Bytes = from.sent()
	d.report.Skipped = max(0, d.layers+2-d.report.Blobs)
	return nil
}

// offered is the image of a delivery, served on the loopback address.
type offered struct {
	repo    string // "127.0.0.1:4711/stagewright/4pidyyvbswl7mjdoee4mqmqoxt"
	handler *serve.Handler
	server  *http.Server

	mu     sync.Mutex
	tell   func(image.Transfer) // nil when the delivery is over
	bytes  map[string]int64     // sent, by digest
	blobs  bool                 // whether one was asked for
	failed error                // why a blob could not be read
}

func (d *delivery) offer() (*offered, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	path := "stagewright/" + strings.ToLower(rand.Text()) // other users of this machine can connect, and must not find the image
	o := &offered{repo: l.Addr().String() + "/" + path, tell: d.tell, bytes: map[string]int64{}}
	o.handler, err = serve.ImagesWith(serve.Options{Sent: o.progress, Failed: o.fail}, map[string]image.Artifact{path: {Image: d.image}})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	o.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") {
				o.mu.Lock()
				o.blobs = true
				o.mu.Unlock()
			}
			o.handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
	}
	go o.server.Serve(l) //nolint:errcheck // it returns when close closes the server
	return o, nil
}

func (o *offered) progress(t image.Transfer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.tell == nil {
		return
	}
	o.bytes[t.What] = max(o.bytes[t.What], t.Done)
	o.tell(t)
}

func (o *offered) fail(_, _ string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == nil && !errors.Is(err, serve.ErrNotFound) {
		o.failed = err
	}
}

func (o *offered) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed
}

func (o *offered) began() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.blobs
}

// sent counts blobs, the manifest among them, and their bytes.
func (o *offered) sent() (blobs int, bytes int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, n := range o.bytes {
		bytes += n
	}
	return len(o.bytes), bytes
}

// close ends the server. Nothing is told afterwards.
func (o *offered) close() {
	o.mu.Lock()
	o.tell = nil
	o.mu.Unlock()
	o.server.Close()
	o.handler.Close()
}
