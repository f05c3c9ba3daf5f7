package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// remote is one of Options.From: a cache that others fill, which is asked for what this machine
// does not know. What it says is not trusted further than bytes can be compared with digests.
type remote struct {
	store cache.Store
	name  string
	// dead is set by the first answer that is neither a hit nor a miss, so that a registry
	// which does not answer is waited for once.
	dead atomic.Bool
}

func newRemotes(from []cache.Store) []*remote {
	var list []*remote
	for _, store := range from {
		list = append(list, &remote{store: store, name: cache.Name(store)})
	}
	return list
}

// distrust is what turned out to be missing or wrong of what other machines' caches gave. It lasts as long as
// the Executor: what is then made here replaces what was taken from there.
type distrust struct {
	mu    sync.Mutex
	blobs map[cache.Digest]bool
	all   bool // nothing that was imported counts any more
	added int  // how often something was found out
}

// maxDistrusted is how many blobs may turn out bad before nothing that was imported is believed.
const maxDistrusted = 3

// blob adds a blob that is not to be had. When that is known already, or there are too many, nothing is believed any more.
func (t *distrust) blob(d cache.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all {
		return
	}
	t.added++
	if t.all = t.blobs[d] || len(t.blobs) == maxDistrusted; t.all {
		return
	}
	if t.blobs == nil {
		t.blobs = map[cache.Digest]bool{}
	}
	t.blobs[d] = true
}

func (t *distrust) everything() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.all {
		t.added++
	}
	t.all = true
}

func (t *distrust) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.added
}

// refuses reports whether a record counts no more, that was imported or not and names some blobs.
func (t *distrust) refuses(imported bool, names []cache.Digest) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return imported && t.all || slices.ContainsFunc(names, func(d cache.Digest) bool { return t.blobs[d] })
}

// portable is a record that one machine can take from another. Its kind has nothing
// that only the machine means which wrote it.
type portable interface {
	// accept reports whether the record can be used here, and brings what a later look at it needs
	// at once: small blobs are fetched, of large ones it is asked whether they are there.
	accept(ctx context.Context, s *session, from *remote) bool
	// imported reports whether the record, or a part of it, is of another machine's cache; mark
	// says that all of it is or is not.
	imported() bool
	mark(imported bool)
	// large lists the blobs that are fetched only when somebody reads them.
	large() []cache.Digest
}

// importRecord asks the remotes for a record. What is accepted is in the cache of this machine
// afterwards, so that it is asked for once.
func importRecord[T any](ctx context.Context, s *session, key cache.Key) (v T, ok bool, err error) {
	if _, is := any(&v).(portable); !is {
		return v, false, nil
	}
	for from := range s.remotes() {
		data, err := from.store.Get(ctx, key)
		if err != nil {
			if err := s.unanswered(ctx, from, err); err != nil {
				return v, false, err
			}
			continue
		}
		var got T
		if len(data) > maxRecord || json.Unmarshal(data, &got) != nil {
			continue
		}
		p := any(&got).(portable)
		if p.imported() || s.distrust.refuses(true, p.large()) || !p.accept(ctx, s, from) {
			if err := ctx.Err(); err != nil {
				return v, false, err
			}
			continue
		}
		p.mark(true)
		_ = save(ctx, s, key, got) // the build has it all the same
		return got, true, ctx.Err()
	}
	return v, false, nil
}

// unanswered takes an error of a remote for a miss. The first that is not one ends the use of
// the remote in this build, and is told.
func (s *session) unanswered(ctx context.Context, from *remote, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, cache.ErrNotFound) {
		return nil
	}
	if _, corrupt := errors.AsType[*cache.CorruptError](err); corrupt {
		return nil // one blob is damaged; others need not be
	}
	if !from.dead.Swap(true) {
		s.emit(stage.Notice{Text: fmt.Sprintf("%s: %v; the build goes on without it", from.name, err)})
	}
	return nil
}

// repositories are those of registries that the remotes are in.
func (s *session) repositories() (list []string) {
	for from := range s.remotes() {
		if r, ok := from.store.(interface{ Repository() string }); ok && r.Repository() != "" {
			list = append(list, r.Repository())
		}
	}
	return list
}

// remotes are those that answer.
func (s *session) remotes() iter.Seq[*remote] {
	return func(yield func(*remote) bool) {
		for _, from := range s.from {
			if !from.dead.Load() && !yield(from) {
				return
			}
		}
	}
}
