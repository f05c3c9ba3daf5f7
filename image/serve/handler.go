package serve

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/stagewright/stagewright/image"
)

// Source finds or builds what a repository has under a reference: a tag, or a digest ("sha256:…") that the handler does not hold, of which
// it takes only an artifact that has it.
//
// ctx lives as long as the artifact is served. It ends when nobody waits for the answer any more, when a newer artifact takes its place, and
// when the handler is closed; what the artifact needs is released then:
//
//	context.AfterFunc(ctx, func() { res.Close() })
//
// For a name that there is not, the error wraps [ErrNotFound]. The text of any error reaches the client.
type Source func(ctx context.Context, repo, reference string) (image.Artifact, error)

// ErrNotFound is the error of a [Source] that does not have the name.
var ErrNotFound = errors.New("no such image")

// errClosed is the cause of contexts that Close ended.
var errClosed = errors.New("serve: the handler was closed")

// Options say what is served. The zero value serves nothing.
type Options struct {
	// Source answers requests for tags, each of them anew, so that a client gets what is built from today's files. It is called by
	// goroutines of the handler's.
	Source Source

	// Tags lists the tags of a repository for /v2/NAME/tags/list; the error of a repository that there is not wraps ErrNotFound. Nil lists
	// those that clients have asked for and that are still held.
	Tags func(ctx context.Context, repo string) ([]string, error)

	// Failed is told of each call of Source that failed, and of each blob that could not be read to its end; reference is the tag or the
	// digest. Clients that went away are no failure. It is called by several goroutines at once.
	Failed func(repo, reference string, err error)

	// Sent is told how far the bytes of a manifest or a blob have gone out, now and then and at the end of each answer. It is called by
	// several goroutines at once.
	Sent func(image.Transfer)

	// Parallel is how many calls of Source run at once; further ones wait. Zero is 4: each may be a build, which is parallel itself.
	Parallel int

	// Keep is how many artifacts are held, so that a client that has the manifest can get the blobs. When there are more, the one is
	// released that was asked for longest ago, after the answers under way. Zero is 32.
	Keep int
}

// withDefaults fills in what is zero.
func (o Options) withDefaults() Options {
	if o.Source == nil {
		o.Source = func(context.Context, string, string) (image.Artifact, error) { return image.Artifact{}, ErrNotFound }
	}
	if o.Failed == nil {
		o.Failed = func(string, string, error) {}
	}
	if o.Sent == nil {
		o.Sent = func(image.Transfer) {}
	}
	if o.Parallel <= 0 {
		o.Parallel = 4
	}
	if o.Keep <= 0 {
		o.Keep = 32
	}
	return o
}

// Handler answers requests below /v2/. Make one with [New] or [Images].
type Handler struct {
	options Options
	slots   chan struct{} // one for each call of Source

	mu       sync.Mutex
	held     []*entry // the one asked for longest ago comes first
	flights  map[name]*flight
	failures map[name]failure
	closed   bool
	running  sync.WaitGroup // calls of Source
}

// name is what a client asks for.
type name struct{ repo, reference string }

// New returns a handler that asks o.Source for what clients want.
func New(o Options) *Handler {
	o = o.withDefaults()
	return &Handler{
		options: o, slots: make(chan struct{}, o.Parallel),
		flights: map[name]*flight{}, failures: map[name]failure{},
	}
}

// Close releases every artifact and ends the calls of Source that are under way. It returns when they have returned. Answers under way break
// off where the artifact needs what was released: shut the http.Server down first. Later requests are refused with 503.
func (h *Handler) Close() error {
	h.mu.Lock()
	h.closed = true
	for _, e := range h.held {
		e.release(errClosed)
	}
	h.held = nil
	for _, f := range h.flights {
		f.cancel(errClosed)
	}
	h.mu.Unlock()
	h.running.Wait()
	return nil
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0") // by which Docker knows a registry
	w.Header().Set("X-Content-Type-Options", "nosniff")
	t, problem := parse(r.URL.Path)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		problem = &Error{http.StatusMethodNotAllowed, "UNSUPPORTED", "these images can be pulled only; nothing can be pushed or deleted"}
	case problem != nil:
	case t.kind == version:
		respond(w, r, "application/json", []byte("{}"))
	case t.kind == manifests:
		problem = h.manifest(w, r, t)
	case t.kind == blobs:
		problem = h.blob(w, r, t)
	case t.kind == tags:
		problem = h.tags(w, r, t)
	case t.kind == referrers:
		problem = h.referrers(w, r, t)
	}
	if problem != nil {
		problem.write(w, r)
	}
}
