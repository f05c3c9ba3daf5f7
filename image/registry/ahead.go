package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
)

// aheads are the uploads of layers that are being made, by the repository that they go to.
type aheads struct {
	mu    sync.Mutex
	under map[string][]*ahead
}

// ahead is an upload without a digest: one PATCH of a length that nobody knows yet, as docker push sends it. The registry compares digests
// when it is committed.
type ahead struct {
	g      *image.Growing
	cancel context.CancelFunc
	done   chan struct{} // closed when it has come to its end

	upload *upload // of which location is where it goes on, when all was sent
	err    error   // it was not; both are read when done is closed
	taken  bool    // by a push, under the lock of aheads
}

// Ahead implements [image.Ahead]. Only bytes that the registry is not likely to have are sent: those of a layer that was edited here,
// and those of an image under a name that is not there yet.
func (s *sink) Ahead(ctx context.Context, g *image.Growing) (end func()) {
	refs, err := s.refs()
	if err != nil || s.client.options.Offline {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	repo := s.client.pushing(refs[0].Context(), nil)
	a := &ahead{g: g, cancel: cancel, done: make(chan struct{}), upload: &upload{push: &push{client: s.client, repo: repo}}}
	if !s.client.aheads.add(repo.name.Name(), a) {
		cancel()
		return func() {} // another sink of the same repository sends it
	}
	go func() {
		defer close(a.done)
		a.err = a.send(ctx, refs[0].Identifier())
	}()
	return func() {
		cancel()
		<-a.done
		if !s.client.aheads.take(a) {
			a.forget(ctx)
		}
	}
}

// errThere says that the registry has something under the name, and perhaps the layer.
var errThere = errors.New("registry: the name is there")

func (a *ahead) send(ctx context.Context, name string) error {
	u := a.upload
	if !a.g.Edited() {
		there, err := u.repo.head(ctx, name)
		if err != nil {
			return err
		}
		if there != (v1.Hash{}) {
			return errThere
		}
	}
	if _, err := u.begin(ctx, nil); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(once(ctx), http.MethodPatch, u.location.String(), io.NopCloser(a.g.Reader(ctx)))
	if err != nil {
		return err
	}
	req.ContentLength = -1
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := u.repo.do(req, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if _, size, whole := a.g.Digest(); whole {
		u.offset, u.resumed = size, true
		return u.follow(resp)
	}
	return io.ErrUnexpectedEOF
}

// forget has the registry forget what was sent. One that does not will some time.
func (a *ahead) forget(ctx context.Context) {
	if a.upload.location == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(once(ctx), http.MethodDelete, a.upload.location.String(), nil)
	if err != nil {
		return
	}
	if resp, err := a.upload.repo.do(req, http.StatusNoContent, http.StatusOK, http.StatusAccepted); err == nil {
		resp.Body.Close()
	}
}

// add reports whether a is the only one that sends its layer to the repository.
func (l *aheads) add(repo string, a *ahead) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.ContainsFunc(l.under[repo], func(other *ahead) bool { return other.g == a.g }) {
		return false
	}
	if l.under == nil {
		l.under = map[string][]*ahead{}
	}
	l.under[repo] = append(l.under[repo], a)
	return true
}

// of finds the upload of a blob to the repository, which is then the caller's.
func (l *aheads) of(repo string, digest v1.Hash) *ahead {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.under[repo] {
		if got, _, whole := a.g.Digest(); whole && got == digest && !a.taken {
			a.taken = true
			return a
		}
	}
	return nil
}

// take takes a out of the list and reports whether a push has it.
func (l *aheads) take(a *ahead) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	repo := a.upload.repo.name.Name()
	l.under[repo] = slices.DeleteFunc(l.under[repo], func(other *ahead) bool { return other == a })
	if len(l.under[repo]) == 0 {
		delete(l.under, repo)
	}
	return a.taken
}

// where waits until everything was sent and returns where the upload goes on, and how far it has come; nil when it has to begin again.
func (a *ahead) where(ctx context.Context) (location *url.URL, size int64) {
	select {
	case <-a.done:
	case <-ctx.Done():
		a.cancel()
		<-a.done
	}
	if a.err != nil {
		return nil, 0
	}
	return a.upload.location, a.upload.offset
}
