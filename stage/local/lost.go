package local

import (
	"context"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// ErrLost is found in the errors of readers of a result's layers when the cache, or one of Options.From, does
// not have any more what it had when the graph was evaluated, or has other bytes. Executing the graph again with the same Executor
// does without it.
var ErrLost = errors.New("the cache has lost it since the build, build again")

// lostError is the loss of one blob.
type lostError struct {
	digest cache.Digest
	err    error
}

func (e *lostError) Error() string { return fmt.Sprintf("%v: %v: %v", e.digest, ErrLost, e.err) }

// Unwrap makes a loss ErrLost, and what caused it.
func (e *lostError) Unwrap() []error { return []error{ErrLost, e.err} }

// loses remembers that a blob is not to be had.
func (s *session) loses(digest cache.Digest, err error) error {
	s.distrust.blob(digest)
	return &lostError{digest, err}
}

// distrusts reports whether an error is a loss after which the graph can be evaluated once more, without what was
// lost: first without the blob, and when that does not help without anything that was imported. before is what was
// known to be lost when the evaluation began.
func (e *Executor) distrusts(before int, err error, r stage.Request) bool {
	if !errors.Is(err, ErrLost) {
		if !errors.Is(err, errMissing) {
			return false
		}
		e.distrust.everything()
	}
	if e.distrust.count() == before {
		return false
	}
	if r.Progress != nil {
		r.Progress(stage.Notice{Text: fmt.Sprintf("the cache has not what it promised, and the build begins again without that: %v", err)})
	}
	return true
}

// lossReader is a verifying reader of the cache. It takes an error in the middle of a blob for its loss.
type lossReader struct {
	io.ReadCloser
	ctx    context.Context
	s      *session
	digest cache.Digest
}

func (r *lossReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF && r.ctx.Err() == nil {
		err = r.s.loses(r.digest, err)
	}
	return n, err
}

// Verifies implements what [image.Verify] asks: the reader is one of [cache.NewReader].
func (r *lossReader) Verifies(digest v1.Hash) bool {
	return digest.Algorithm == "sha256" && digest.Hex == r.digest.Hex()
}

// has reports whether the bytes of a layer can be had: they are in the cache, or were in another machine's when
// its record was imported, which is asked for them only when somebody reads them.
func (s *session) has(ctx context.Context, l *layerRecord) bool {
	return l != nil && (l.Imported && len(s.from) > 0 || s.holds(ctx, l.Digest))
}

// openLayer opens the blob of a layer. One that the cache has not got is fetched or made first: once, however many read it.
func (s *session) openLayer(ctx context.Context, d *demand, digest cache.Digest) (io.ReadCloser, error) {
	rc, _, err := cache.NewReader(ctx, s.opts.Store, digest)
	if errors.Is(err, cache.ErrNotFound) {
		_, err = get(ctx, s, d, task{kind: kindBlob, key: cache.Key(digest)}, func(ctx context.Context, d *demand) (struct{}, error) {
			return struct{}{}, s.bring(ctx, d, digest)
		})
		if err != nil {
			return nil, err
		}
		rc, _, err = cache.NewReader(ctx, s.opts.Store, digest)
	}
	if err != nil {
		return nil, err
	}
	return &lossReader{rc, ctx, s, digest}, nil
}

// bring has the cache hold a layer: from another machine's, or made again. What was made here is
// made, for that costs less.
func (s *session) bring(ctx context.Context, d *demand, digest cache.Digest) error {
	s.lostMu.Lock()
	again, ok := s.lost[digest]
	s.lostMu.Unlock()
	if !ok || again.imported {
		for from := range s.remotes() {
			if s.fetch(ctx, from, digest, maxLayer) {
				return nil
			}
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !ok {
		return s.loses(digest, cache.ErrNotFound)
	}
	s.lostMu.Lock()
	s.lost[digest] = lostLayer{again.make, again.imported, true}
	s.lostMu.Unlock()
	_, err := again.make(ctx, d, digest)
	if corrupt, ok := errors.AsType[*cache.CorruptError](err); ok {
		s.distrust.blob(digest)
		return fmt.Errorf("the cache had lost it, and made again it is %s; build with NoCache: %w", corrupt.Got, err)
	}
	return err
}

// openFiles opens the blob of a layer for the files in it. While it is made out of just these files they are nowhere.
func (s *session) openFiles(ctx context.Context, d *demand, digest cache.Digest) (io.ReadCloser, error) {
	s.lostMu.Lock()
	making := s.lost[digest].making
	s.lostMu.Unlock()
	if making {
		return nil, s.loses(digest, cache.ErrNotFound)
	}
	return s.openLayer(ctx, d, digest)
}

// maxLayer bounds a layer that is fetched, in bytes.
const maxLayer = 1 << 40
