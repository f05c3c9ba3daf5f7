package local

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
)

// record is what the cache remembers of a step under its key: which files it
// changed. It never says more than the key determines.
type record struct {
	// Changes is the blob with the changes (tree.Marshal); zero when the step
	// changed nothing.
	Changes cache.Digest `json:"changes,omitzero"`
	// Inline are the changes themselves, where they are few.
	Inline []byte `json:"inline,omitempty"`
	// Snapshot is the name of the directory with the changed files, of a Run
	// step: the only place where their bytes are.
	Snapshot cache.Digest `json:"snapshot,omitzero"`
	// Pack is the blob with the bytes of changed files that are nowhere else; see
	// packWriter.
	Pack cache.Digest `json:"pack,omitzero"`
	// On is a digest of the files that the step stood on and read when it was done.
	// Changes mean nothing on top of others, and a step that is done again after the
	// cache lost it can come out differently.
	On cache.Digest `json:"on,omitzero"`
	// Ran is when the step began to be done, in nanoseconds since 1970; zero for a base.
	// Who finds the record under another key keeps it.
	Ran int64 `json:"ran,omitzero"`
	// Content is the key of the same record by the files that the step saw, of a step that
	// has one.
	Content cache.Key `json:"content,omitzero"`
	// Recipe is a recipeInfo: what the step was asked, for explanations.
	Recipe json.RawMessage `json:"recipe,omitempty"`
	// Output is what a step with stage.Capture wrote.
	Output *outputRecord `json:"output,omitempty"`
	// Layer is the layer of the changes, where the bytes of a Snapshot or a Pack can be had
	// again. It is known of what was exported or imported.
	Layer *layerRecord `json:"layer,omitempty"`
	// Imported says that the record is of another machine's cache.
	Imported bool `json:"imported,omitempty"`

	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
}

func (r record) empty() bool { return r.Changes.IsZero() }

// maxRecord bounds what is read as a record, maxChanges the changes of one step.
const (
	maxRecord  = 1 << 20
	maxChanges = 1 << 30
)

// load reads a value that was stored as JSON, here or in one of Options.From. A value that does
// not parse is a miss, like one that is not there; only a cancelled context is an error.
func load[T any](ctx context.Context, s *session, key cache.Key) (v T, ok bool, err error) {
	v, ok, err = loadOwn[T](ctx, s, key)
	if ok || err != nil || len(s.from) == 0 {
		return v, ok, err
	}
	return importRecord[T](ctx, s, key)
}

// loadOwn is load of this machine's cache alone.
func loadOwn[T any](ctx context.Context, s *session, key cache.Key) (v T, ok bool, err error) {
	v, ok, err = loadFrom[T](ctx, s.opts.Store, key)
	if p, is := any(&v).(portable); ok && is && s.distrust.refuses(p.imported(), p.large()) {
		var none T
		return none, false, nil
	}
	return v, ok, err
}

func loadFrom[T any](ctx context.Context, store cache.Store, key cache.Key) (v T, ok bool, err error) {
	data, err := store.Get(ctx, key)
	if err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			return v, false, ctxErr
		}
		return v, false, nil
	}
	if len(data) > maxRecord || json.Unmarshal(data, &v) != nil {
		return v, false, nil
	}
	return v, true, nil
}

func save(ctx context.Context, s *session, key cache.Key, v any) error {
	if s.planning {
		return nil
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("local: record: %w", err)
	}
	if err := s.opts.Store.Put(ctx, key, data); err != nil {
		return fmt.Errorf("local: cache: %w", err)
	}
	return nil
}

// recordOf begins the record of changes: how many there are.
func recordOf(changes []tree.Change) record {
	rec := record{Files: len(changes)}
	for _, c := range changes {
		if c.Node != nil {
			rec.Bytes += c.Node.Size()
		}
	}
	return rec
}

// maxInline is how many bytes of changes a record has in itself: a blob is a file more, which has to be on the disk
// before the record.
const maxInline = 2 << 10

// describeChanges has a record tell what changed: in itself, or by a blob that it stores.
func (s *session) describeChanges(ctx context.Context, rec *record, changes []tree.Change) error {
	if len(changes) == 0 {
		return nil
	}
	data := tree.Marshal(changes)
	if len(data) <= maxInline {
		rec.Changes, rec.Inline = cache.Digest(sha256.Sum256(data)), data
		return nil
	}
	var err error
	rec.Changes, err = s.putChanges(ctx, data)
	return err
}

// putChanges stores changes as a blob.
func (s *session) putChanges(ctx context.Context, data []byte) (cache.Digest, error) {
	if s.planning {
		return cache.Digest(sha256.Sum256(data)), nil
	}
	d, err := cache.PutBlob(ctx, s.opts.Store, data)
	if err != nil {
		return d, fmt.Errorf("local: cache: %w", err)
	}
	return d, nil
}

// changes reads the changes of a record. errMissing says that the cache lost
// them, so that the step has to be done again.
func (s *session) changes(ctx context.Context, rec record) ([]tree.Change, error) {
	return rec.readChanges(ctx, s.opts.Store)
}

func (r record) readChanges(ctx context.Context, store cache.Store) ([]tree.Change, error) {
	if r.empty() {
		return nil, nil
	}
	data, err := r.Inline, error(nil)
	if data == nil || sha256.Sum256(data) != [sha256.Size]byte(r.Changes) {
		data, err = cache.ReadBlob(ctx, store, r.Changes, maxChanges)
	}
	if err != nil {
		if ctxErr := ctx.Err(); ctxErr != nil {
			return nil, ctxErr
		}
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	list, err := tree.Unmarshal(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMissing, err)
	}
	return list, nil
}

// errMissing marks what a record names and the cache does not have, or not whole.
var errMissing = errors.New("missing in the cache")
