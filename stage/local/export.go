package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/absent"
	"github.com/stagewright/stagewright/internal/dag"
	"github.com/stagewright/stagewright/stage"
)

// CacheMode says how much of a build ExportCache exports.
type CacheMode string

const (
	// CacheMin is what the images need: their layers, and the steps of their own stages. A build in
	// which nothing changed is then a hit. It is the default.
	CacheMin CacheMode = "min"
	// CacheMax is every step of every stage. The layers of the stages that are in no image are compressed for it.
	CacheMax CacheMode = "max"
)

// ExportOptions say what ExportCache exports. The zero value is CacheMin without cache mounts.
type ExportOptions struct {
	Mode CacheMode
	// Mounts are ids of cache mounts, whose contents are exported as they are now; [AllMounts]
	// among them stands for all. One that the build has and the cache has not got yet is left out. An id that neither has is an error that
	// wraps ErrNoCacheMount, once everything else is exported.
	Mounts []string
}

// Validate tells what is wrong with the options.
func (o ExportOptions) Validate() error {
	switch o.Mode {
	case "", CacheMin, CacheMax:
		return nil
	}
	return fmt.Errorf("local: cache mode %q; want %q or %q", o.Mode, CacheMin, CacheMax)
}

// ExportCache writes what the cache knows of a finished build to another store, for Options.From of other
// executors: on other machines, of other users. r is a result of an Executor of this package that was not closed;
// of others the error wraps stage.ErrUnsupported.
//
// What is exported depends on the graph and its inputs, never on the machine: a Run's directory, which means
// nothing elsewhere, is exported as the layer of what the step changed, which an image that has the step has anyway. Layers of
// base images are left to the registry that they are from; what is known of their files is exported. What to has already is not written
// again. A step that the cache has lost since is left out.
//
// A cache.Flusher is flushed at the end. The delivery tells what was sent. Errors are those of to, and
// the context's; the result is as good after them as before, and to has at most content that nothing refers to.
func ExportCache(ctx context.Context, r stage.Result, to cache.Store, o ExportOptions) (image.Delivery, error) {
	res, ok := r.(*result)
	if !ok {
		return image.Delivery{}, fmt.Errorf("local: export: %w: %T is no result of this package", stage.ErrUnsupported, r)
	}
	if err := o.Validate(); err != nil {
		return image.Delivery{}, err
	}
	if absent.Is(to) {
		return image.Delivery{}, errors.New("local: export: the store to export to is nil")
	}
	x := &exporter{s: res.s, to: to, done: map[cache.Digest]bool{}, put: map[cache.Key]bool{}}
	x.Sink = cache.Name(to)
	if err := x.export(ctx, res, o); err != nil {
		return x.Delivery, fmt.Errorf("local: export to %s: %w", x.Sink, err)
	}
	x.How = "there already"
	if x.records > 0 || x.Blobs > 0 {
		x.How = fmt.Sprintf("exported, %d records", x.records)
	}
	return x.Delivery, nil
}

// exporter writes to one store.
type exporter struct {
	image.Delivery
	s       *session
	to      cache.Store
	records int
	done    map[cache.Digest]bool
	put     map[cache.Key]bool
}

func (x *exporter) export(ctx context.Context, res *result, o ExportOptions) error {
	for _, out := range res.outputs {
		leave, err := res.enter(out.Target.Step)
		if err != nil {
			return err
		}
		defer leave()
	}
	wanted := res.built
	if o.Mode != CacheMax {
		wanted = x.ownStages(res)
	}
	steps, err := x.steps(ctx, wanted)
	if err != nil {
		return err
	}
	for _, e := range steps {
		if err := x.step(ctx, e); err != nil {
			return err
		}
	}
	for id, step := range x.s.steps {
		if op, ok := step.Op.(*stage.BaseOp); ok && op.Ref != "" && wanted[id] {
			if err := x.base(ctx, step, op); err != nil {
				return err
			}
		}
	}
	for _, out := range res.outputs {
		if err := x.image(ctx, out.Target); err != nil {
			return err
		}
	}
	unknown, err := x.mounts(ctx, o.Mounts)
	if err != nil {
		return err
	}
	return errors.Join(cache.Flush(ctx, x.to), unknown)
}

// ownStages marks the steps of the stages that the images are of. What is inside a group or a squashed stage has
// no layer in the image, and counts only where nothing is to be sent for it.
func (x *exporter) ownStages(res *result) []bool {
	s := x.s
	wanted := make([]bool, len(s.steps))
	for _, out := range res.outputs {
		chain, base := s.chain(out.Target.Step)
		wanted[base] = true
		alone := map[int]bool{}
		for _, u := range s.units(chain) {
			alone[u.step] = u.since < 0
		}
		for _, id := range chain {
			wanted[id] = wanted[id] || alone[id]
		}
	}
	return wanted
}

// exported is the record of one step on its way.
type exported struct {
	id  int
	rec record
}

// steps loads the records of wanted steps, and has the layers made that they lack.
func (x *exporter) steps(ctx context.Context, wanted []bool) ([]exported, error) {
	s := x.s
	var list []exported
	var inputs []dag.Input[task, any]
	var at []int
	knowable := make([]bool, len(s.steps))
	for id, step := range s.steps {
		if _, ok := step.Op.(*stage.BaseOp); ok || !changesFiles(step.Op) {
			knowable[id] = ok && x.knowsBase(ctx, step) || !ok && knowable[step.Parent]
			continue
		}
		if !s.needed[id] {
			continue
		}
		rec, known, err := lookFor[record](ctx, x, s.recipes[id])
		if err != nil {
			return nil, err
		}
		ok := known == here
		if ok {
			ok, _ = s.hasBytes(ctx, rec)
		}
		knowable[id] = (ok || known == there) && (independent(step.Op) || knowable[step.Parent])
		for _, in := range step.Inputs {
			knowable[id] = knowable[id] && knowable[in]
		}
		if !ok || !wanted[id] {
			continue
		}
		if rec.Layer == nil && (!rec.Snapshot.IsZero() || !rec.Pack.IsZero()) {
			if !knowable[id] {
				continue
			}
			at = append(at, len(list))
			inputs = append(inputs, dag.Input[task, any]{
				Key:  task{kind: kindImageLayer, step: id},
				Task: func(ctx context.Context, d *demand) (any, error) { return s.layer(ctx, d, id) },
			})
		}
		list = append(list, exported{id, rec})
	}
	made, err := s.sched.Do(ctx, task{kind: kindExport, step: int(s.exports.Add(1))}, func(ctx context.Context, d *demand) (any, error) {
		return d.All(ctx, inputs...)
	})
	if err != nil {
		return nil, err
	}
	for i, l := range made.([]any) {
		e := &list[at[i]]
		if e.rec.Layer = l.(*layerRecord); e.rec.Layer == nil {
			continue
		}
		// The next export need not look for it, and a directory that is collected can be made again.
		if err := save(ctx, s, s.recipes[e.id], e.rec); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func chainsOf(img v1.Image) ([]cache.Key, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	return baseChains(layers)
}

// place is who knows a record.
type place uint8

const (
	nowhere place = iota
	here
	there // only the store that is exported to: what another machine exported is not imported for that
)

// lookFor loads a record that is to be exported.
func lookFor[T any](ctx context.Context, x *exporter, key cache.Key) (v T, known place, err error) {
	v, ok, err := loadOwn[T](ctx, x.s, key)
	if err == nil && !ok && len(x.s.from) > 0 {
		if _, err := x.to.Get(ctx, key); err == nil {
			return v, there, nil
		}
		v, ok, err = importRecord[T](ctx, x.s, key)
	}
	if ok {
		known = here
	}
	return v, known, err
}

// knowsBase reports whether the files of a base image are known without reading it.
func (x *exporter) knowsBase(ctx context.Context, step *stage.Step) bool {
	op := step.Op.(*stage.BaseOp)
	if op.Ref == "" {
		return true
	}
	if !x.s.needed[step.ID] {
		return false
	}
	img, err := x.s.baseImage(ctx, step, op)
	if err != nil {
		return false
	}
	chains, err := chainsOf(img)
	if err != nil {
		return false
	}
	for _, chain := range chains {
		if _, known, err := lookFor[baseRecord](ctx, x, chain); known == nowhere || err != nil {
			return false
		}
	}
	return true
}

// step exports one step: what it names first.
func (x *exporter) step(ctx context.Context, e exported) error {
	rec := e.rec
	rec.Snapshot, rec.Pack = cache.Digest{}, cache.Digest{}
	rec.mark(false)
	var blobs []cache.Digest
	switch {
	case rec.Inline == nil:
		blobs = append(blobs, rec.Changes)
	case rec.Layer != nil:
		// The layer is read when somebody wants its files. That nothing can be read from this store is seen
		// before a build counts on it, when the changes are a blob of it.
		if err := x.bytes(ctx, rec.Changes, rec.Inline); err != nil {
			return err
		}
		rec.Inline = nil
	}
	if rec.Output != nil {
		blobs = append(blobs, rec.Output.Stdout, rec.Output.Stderr)
	}
	for _, digest := range blobs {
		if err := x.blob(ctx, digest); err != nil {
			return err
		}
	}
	if rec.Layer != nil {
		if err := x.layer(ctx, rec.Layer); err != nil {
			return err
		}
	}
	if err := x.record(ctx, x.s.recipes[e.id], rec); err != nil || rec.Content.IsZero() || e.rec.Imported {
		return err // the key of an imported record is not vouched for
	}
	content := rec
	content.On = cache.Digest{} // it is in the key
	return x.record(ctx, rec.Content, content)
}

// base exports what is known of the files of a base image.
func (x *exporter) base(ctx context.Context, step *stage.Step, op *stage.BaseOp) error {
	img, err := x.s.baseImage(ctx, step, op)
	if err != nil {
		return err
	}
	chains, err := chainsOf(img)
	if err != nil {
		return err
	}
	for _, chain := range chains {
		rec, known, err := lookFor[baseRecord](ctx, x, chain)
		if err != nil {
			return err
		}
		if known != here {
			continue
		}
		rec.mark(false)
		if err := x.blob(ctx, rec.Changes); err != nil {
			return err
		}
		if err := x.record(ctx, chain, rec); err != nil {
			return err
		}
	}
	return nil
}

// image exports what a build needs to find an image unchanged.
func (x *exporter) image(ctx context.Context, t stage.Target) error {
	s := x.s
	chain, base := s.chain(t.Step)
	rec, ok, err := load[imageRecord](ctx, s, s.imageKey(t.Step, s.units(chain)))
	if err != nil {
		return err
	}
	rec.mark(false)
	for _, l := range rec.Layers {
		if l == nil {
			continue
		}
		if err := x.layer(ctx, l); err != nil {
			return err
		}
	}
	if ok {
		if err := x.record(ctx, s.imageKey(t.Step, s.units(chain)), rec); err != nil {
			return err
		}
	}
	return x.recompressed(ctx, s.steps[base])
}

// recompressed exports the layers of a base image in the form that the images have them in, if that is another.
func (x *exporter) recompressed(ctx context.Context, step *stage.Step) error {
	s := x.s
	op := step.Op.(*stage.BaseOp)
	if op.Ref == "" || !s.opts.Compression.Force {
		return nil
	}
	img, err := s.baseImage(ctx, step, op)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		digest, err := layer.Digest()
		if err != nil {
			return err
		}
		key := s.recompressedKey(digest)
		rec, ok, err := load[layerRecord](ctx, s, key)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		rec.mark(false)
		if err := x.blobOf(ctx, rec.Digest); err != nil {
			return err
		}
		if err := x.record(ctx, key, rec); err != nil {
			return err
		}
	}
	return nil
}

// layer exports a layer with its record.
func (x *exporter) layer(ctx context.Context, l *layerRecord) error {
	if err := x.blobOf(ctx, l.Digest); err != nil || l.Changes.IsZero() {
		return err
	}
	rec := *l
	rec.mark(false)
	return x.record(ctx, x.s.layerKey(l.Changes), rec)
}

// has reports whether the store has a blob, or got it in this export.
func (x *exporter) has(ctx context.Context, digest cache.Digest) (bool, error) {
	if digest.IsZero() || x.done[digest] {
		return true, nil
	}
	x.done[digest] = true
	blob, err := x.to.Open(ctx, digest)
	switch {
	case err == nil:
		x.Skipped++
		return true, blob.Close()
	case errors.Is(err, cache.ErrNotFound):
		return false, nil
	}
	return false, err
}

// record exports a record, unless the store has it.
func (x *exporter) record(ctx context.Context, key cache.Key, v any) error {
	if x.put[key] {
		return nil
	}
	x.put[key] = true
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	there, err := x.to.Get(ctx, key)
	if err == nil && (bytes.Equal(there, data) || sameButTime(there, v)) {
		return nil
	}
	if err != nil && !errors.Is(err, cache.ErrNotFound) {
		return err
	}
	x.records++
	return x.to.Put(ctx, key, data)
}

// sameButTime reports whether a store has the record of a step that was done at another time with the same result. It stays: two
// machines would else replace each other's for ever.
func sameButTime(there []byte, v any) bool {
	ours, ok := v.(record)
	var theirs record
	if !ok || json.Unmarshal(there, &theirs) != nil {
		return false
	}
	theirs.Ran = ours.Ran
	a, errA := json.Marshal(ours)
	b, errB := json.Marshal(theirs)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}
