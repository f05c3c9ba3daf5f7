package local

import (
	"context"
	"encoding/binary"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"

	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// uses is what a build has in the cache.
type uses struct {
	state     cache.Digest // of the sources when they were read
	sources   []cache.Key  // records that tell of the rest
	keys      []cache.Key
	blobs     []cache.Digest
	snapshots []tree.Digest
}

// usesVersion is that of the form in which uses are kept:
//
//	uses     the state, 32 bytes; sources, keys, blobs and snapshots, of each the number, 4 bytes, big-endian, and 32 bytes for each one
const usesVersion = 1

func (u *uses) encode() []byte {
	data := make([]byte, 0, len(u.state)+4*4+len(u.state)*(len(u.sources)+len(u.keys)+len(u.blobs)+len(u.snapshots)))
	data = append(data, u.state[:]...)
	data = appendSums(data, u.sources)
	data = appendSums(data, u.keys)
	data = appendSums(data, u.blobs)
	return appendSums(data, u.snapshots)
}

func appendSums[T ~[32]byte](data []byte, list []T) []byte {
	data = binary.BigEndian.AppendUint32(data, uint32(len(list)))
	for _, sum := range list {
		data = append(data, sum[:]...)
	}
	return data
}

// decodeUses reads what encode wrote, and nothing else.
func decodeUses(data []byte) (*uses, bool) {
	u := &uses{}
	if len(data) < len(u.state) {
		return nil, false
	}
	data = data[copy(u.state[:], data):]
	ok := cutSums(&data, &u.sources) && cutSums(&data, &u.keys) && cutSums(&data, &u.blobs) && cutSums(&data, &u.snapshots)
	return u, ok && len(data) == 0
}

func cutSums[T ~[32]byte](data *[]byte, list *[]T) bool {
	if len(*data) < 4 {
		return false
	}
	n, rest := int64(binary.BigEndian.Uint32(*data)), (*data)[4:]
	if n*32 > int64(len(rest)) {
		return false
	}
	*list = make([]T, n)
	for i := range *list {
		(*list)[i], rest = T(rest[:32]), rest[32:]
	}
	*data = rest
	return true
}

// loadUses loads what an earlier build of the same steps found that it has in the cache.
func loadUses(ctx context.Context, store cache.Store, key cache.Key) (*uses, bool) {
	data, err := store.Get(ctx, key)
	if err != nil {
		return nil, false
	}
	return decodeUses(data)
}

func (u *uses) add(blobs ...cache.Digest) {
	for _, b := range blobs {
		if !b.IsZero() {
			u.blobs = append(u.blobs, b)
		}
	}
}

// usedRecords adds the records that tell what the build has in the cache, and what is known without reading them. The functions that
// it returns read them, and add what they name.
func (s *session) usedRecords(ctx context.Context, u *uses) (read []func() error) {
	for i, step := range s.steps {
		if !s.needed[i] || !changesFiles(step.Op) {
			continue
		}
		u.sources = append(u.sources, s.recipes[i])
		if op, ok := step.Op.(*stage.BaseOp); ok {
			read = append(read, s.baseUses(ctx, u, step, op)...)
			continue
		}
		if s.isQuick(i) {
			if o := s.quick.done[i].Load(); o != nil {
				u.addQuick(o)
				continue
			}
		}
		read = append(read, reading(ctx, s, s.recipes[i], u.step))
	}
	for _, t := range s.graph.Targets() {
		if s.needed[t.Step] {
			chain, _ := s.chain(t.Step)
			read = append(read, from(ctx, s, u, s.imageKey(t.Step, s.units(chain)), u.image))
		}
	}
	return read
}

// reading returns a function that tells of a record, when there is one.
func reading[T any](ctx context.Context, s *session, key cache.Key, tell func(T)) func() error {
	return func() error {
		rec, ok, err := loadFrom[T](ctx, front(s.opts.Store), key)
		if ok && err == nil {
			tell(rec)
		}
		return err
	}
}

// from is reading of a record that is added to the sources.
func from[T any](ctx context.Context, s *session, u *uses, key cache.Key, tell func(T)) func() error {
	u.sources = append(u.sources, key)
	return reading(ctx, s, key, tell)
}

func (u *uses) step(rec record) {
	u.add(rec.Pack)
	if rec.Inline == nil {
		u.add(rec.Changes)
	}
	if rec.Layer != nil {
		u.add(rec.Layer.Digest)
	}
	if rec.Output != nil {
		u.add(rec.Output.Stdout, rec.Output.Stderr)
	}
	if !rec.Snapshot.IsZero() {
		u.snapshots = append(u.snapshots, tree.Digest(rec.Snapshot))
	}
	if !rec.Content.IsZero() {
		u.keys = append(u.keys, rec.Content)
	}
}

func (u *uses) image(rec imageRecord) {
	for _, l := range rec.Layers {
		if l != nil {
			u.add(l.Digest)
		}
	}
	u.keys = append(u.keys, rec.Keys...)
}

// baseUses adds what is known of a base image: its documents, the bytes of its layers, their indexes, and the packs and directories that
// were made of them. What the image is must be known already: nobody is asked for it.
func (s *session) baseUses(ctx context.Context, u *uses, step *stage.Step, op *stage.BaseOp) (read []func() error) {
	if op.Ref == "" {
		return nil
	}
	img, err := s.baseImage(ctx, step, op)
	if err != nil {
		return nil
	}
	layers, err := img.Layers()
	if err != nil {
		return nil
	}
	chains, err := baseChains(layers)
	if err != nil {
		return nil
	}
	documentUses(u, op, img)
	for i, chain := range chains {
		u.snapshots = append(u.snapshots, tree.Digest(chain))
		read = append(read, from(ctx, s, u, chain, func(rec baseRecord) { u.add(rec.Changes) }))
		hash, digest, err := layerDigest(layers[i])
		if err != nil {
			continue
		}
		u.add(digest)
		read = append(read, from(ctx, s, u, packKey(digest), func(rec packRecord) { u.add(rec.Pack) }))
		if s.opts.Compression.Force {
			read = append(read, from(ctx, s, u, s.recompressedKey(hash), func(rec layerRecord) { u.add(rec.Digest) }))
		}
	}
	return read
}

// documentUses adds the manifests and the configuration of a base image, which the cache has when it is of a registry.
func documentUses(u *uses, op *stage.BaseOp, img v1.Image) {
	_, named, _ := strings.Cut(op.Name, "@") // an index
	names := []string{named, op.Digest.String()}
	if config, err := img.ConfigName(); err == nil {
		names = append(names, config.String())
	}
	for _, name := range names {
		if digest, err := cache.ParseDigest(name); err == nil {
			u.add(digest)
		}
	}
}
