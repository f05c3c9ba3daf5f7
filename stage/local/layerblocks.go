package local

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/compress"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage/source"
)

// layerBlocks describes the blocks of the layer that a step had when it was last written, so that after an edit the same blocks
// are not made again: their files are not read, and what they were compressed to is taken over. It is a hint, kept under the step's place and not
// under what it does: what the new layer is made of never depends on it, only how.
type layerBlocks struct {
	Blob   cache.Digest `json:"blob"`
	Prints []byte       `json:"prints"` // 32 bytes each: see layertar.Layout.Fingerprints
	Sums   []byte       `json:"sums"`   // 32 bytes each: SHA-256 of the compressed bytes
	CRCs   []byte       `json:"crcs"`   // 4 bytes each: CRC-32 of the bytes before
	Begins []int64      `json:"begins"` // offsets of the compressed bytes
	Sizes  []int64      `json:"sizes"`
}

// maxBlocks bounds the blocks of a layer that are remembered: 4 GiB of gzip.
const maxBlocks = 4096

// blocksKey names the place of a step: the same after an edit of its files.
func (s *session) blocksKey(id int) cache.Key {
	step := s.steps[id]
	b := cache.NewKey("layer blocks", 2).String("compressor", s.opts.compressor().Name())
	b.String("stage", step.Stage).String("platform", step.Platform.String()).String("text", step.Text)
	if l := s.sources.copies[id]; l != nil {
		b.String("source", l.files.String())
	}
	return b.Sum()
}

// layerPlan is a layer before it is written.
type layerPlan struct {
	layout *layertar.Layout
	size   int64         // of a block; 0 when nothing is remembered
	prints []tree.Digest // of the blocks
	key    cache.Key     // of their layerBlocks
	blob   cache.Blob    // the earlier layer, nil for none
	known  map[tree.Digest]compress.Block
	old    []compress.Block // those of the earlier layer
	onDisk bool             // its files are in a directory, where reading costs little
}

// planLayer lays out the layer of a step's changes and finds what an earlier one has of it. Errors are those of changes that no layer can hold.
func (s *session) planLayer(ctx context.Context, id int, changes []tree.Change) (*layerPlan, error) {
	layout, err := layertar.NewLayout(changes)
	if err != nil {
		return nil, err
	}
	p := &layerPlan{layout: layout}
	size := int64(s.opts.compressor().Format.BlockSize())
	if size == 0 || layout.Size() <= size || layout.Size() > size*maxBlocks {
		return p, nil
	}
	p.size, p.prints, p.key = size, layout.Fingerprints(size), s.blocksKey(id)
	old, ok, err := loadFrom[layerBlocks](ctx, front(s.opts.Store), p.key)
	if err != nil || !ok || s.request.NoCache {
		return p, err
	}
	if p.old, p.known = old.blocks(); p.old == nil {
		return p, nil
	}
	if l := s.sources.copies[id]; l != nil {
		_, p.onDisk = l.files.(*source.Directory)
	}
	if p.blob, err = front(s.opts.Store).Open(ctx, old.Blob); err != nil {
		p.blob = nil
		return p, ctx.Err()
	}
	return p, nil
}

// blocks are those that a record tells of, in order and by fingerprint.
func (b *layerBlocks) blocks() ([]compress.Block, map[tree.Digest]compress.Block) {
	n := len(b.Begins)
	if len(b.Sizes) != n || len(b.Prints) != n*sha256.Size || len(b.Sums) != n*sha256.Size || len(b.CRCs) != n*crc32.Size {
		return nil, nil
	}
	list, known := make([]compress.Block, n), make(map[tree.Digest]compress.Block, n)
	for i := range n {
		at := i * sha256.Size
		list[i] = compress.Block{
			Offset: b.Begins[i], Size: b.Sizes[i], Sum: [sha256.Size]byte(b.Sums[at:]), CRC: binary.BigEndian.Uint32(b.CRCs[i*crc32.Size:]),
		}
		known[tree.Digest(b.Prints[at:])] = list[i]
	}
	return list, known
}

// close ends the use of the earlier layer: the plan goes on without it.
func (p *layerPlan) close() {
	if p.blob != nil {
		p.blob.Close()
	}
	p.blob = nil
}

// block returns the known form of block i.
func (p *layerPlan) block(i int) (compress.Block, bool) {
	if p.blob == nil {
		return compress.Block{}, false
	}
	b, ok := p.known[p.prints[i]]
	return b, ok
}

// fromFiles reports whether the bytes of a known block come from files instead of out of the earlier layer: large ones on the disk are
// read and hashed in less time than their compressed bytes are decompressed in.
func (p *layerPlan) fromFiles(i int) bool {
	if !p.onDisk {
		return false
	}
	begin := int64(i) * p.size
	for _, c := range p.layout.Within(begin, min(begin+p.size, p.layout.Size())) {
		if c.Node == nil || c.Node.Kind() == tree.File && c.Node.Size() < p.size {
			return false
		}
	}
	return true
}

// offer is what block i may be taken over from, when its bytes come to crc: the block that is the same, and else the one that was in
// its place, of a file that has changed elsewhere.
func (p *layerPlan) offer(i int, crc uint32) (compress.Offer, bool) {
	b, same := p.block(i)
	if !same {
		if p.blob == nil || i >= len(p.old) {
			return compress.Offer{}, false
		}
		b = p.old[i]
	}
	if b.CRC != crc {
		return compress.Offer{}, false
	}
	return compress.Offer{Block: b, Give: p.give(b), Same: same}, true
}

// give gives the bytes of a block of the earlier layer.
func (p *layerPlan) give(b compress.Block) func(io.Writer) error {
	blob := p.blob
	return func(w io.Writer) error {
		if b.Offset < 0 || b.Size < 0 || b.Offset > blob.Size()-b.Size {
			return fmt.Errorf("%w: it is not there", compress.ErrDamaged)
		}
		if _, err := io.Copy(w, io.NewSectionReader(blob, b.Offset, b.Size)); err != nil {
			return fmt.Errorf("%w: %w", compress.ErrDamaged, err)
		}
		return nil
	}
}

// parts calls write for each range of the tar that is to be written and take for each block that is known, in order.
func (p *layerPlan) parts(write func(from, to int64) error, take func(size int, b compress.Block) error) error {
	from := int64(0)
	for i := range p.prints {
		b, ok := p.block(i)
		if !ok || p.fromFiles(i) {
			continue
		}
		begin, end := int64(i)*p.size, min(int64(i+1)*p.size, p.layout.Size())
		if from < begin {
			if err := write(from, begin); err != nil {
				return err
			}
		}
		if err := take(int(end-begin), b); err != nil {
			return err
		}
		from = end
	}
	if from < p.layout.Size() {
		return write(from, p.layout.Size())
	}
	return nil
}

// read are the changes whose files are read.
func (p *layerPlan) read() (list []tree.Change) {
	_ = p.parts(func(from, to int64) error {
		list = append(list, p.layout.Within(from, to)...)
		return nil
	}, func(int, compress.Block) error { return nil })
	return list
}

// fill writes the tar.
func (p *layerPlan) fill(ctx context.Context, z *compress.Writer, open tree.Opener) error {
	z.Offers(p.offer)
	return p.parts(func(from, to int64) error {
		return buffered(ctx, z, func(w io.Writer) error { return p.layout.WriteRange(w, open, from, to) })
	}, func(size int, b compress.Block) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return z.Copy(size, b, p.give(b))
	})
}

// buffered gives fill a writer to z that gathers what is small and stops with the context.
func buffered(ctx context.Context, z *compress.Writer, fill func(io.Writer) error) error {
	w := bufio.NewWriterSize(&sink{w: z, ctx: ctx}, 1<<16)
	return errors.Join(fill(w), w.Flush())
}

// writeChanges writes the layer of a step's changes. An earlier layer that turns out to be damaged is left alone.
func (s *session) writeChanges(ctx context.Context, d *demand, id int, changes []tree.Change, want cache.Digest) (rec layerRecord, err error) {
	p, err := s.planLayer(ctx, id, changes)
	if err != nil {
		return rec, err
	}
	defer p.close()
	rec, err = s.writePlan(ctx, d, id, p, want)
	if p.blob != nil && errors.Is(err, compress.ErrDamaged) {
		p.close()
		rec, err = s.writePlan(ctx, d, id, p, want)
	}
	return rec, err
}

func (s *session) writePlan(ctx context.Context, d *demand, id int, p *layerPlan, want cache.Digest) (rec layerRecord, err error) {
	open, err := s.opener(ctx, d, id, p.read())
	if err != nil {
		return rec, err
	}
	err = d.Work(ctx, func(ctx context.Context) error {
		release, err := s.hold(id)
		if err != nil {
			return err
		}
		defer release()
		var blocks []compress.Block
		rec, blocks, err = s.writeLayer(ctx, want, func(z *compress.Writer) error {
			return verifiedOnce(open, func(open tree.Opener) error { return p.fill(ctx, z, open) })
		}, func(w cache.Writer) *image.Growing {
			if !want.IsZero() {
				return nil // somebody waits for what the cache has lost
			}
			return s.ahead(w, p)
		})
		if err != nil || p.size == 0 {
			return err
		}
		return s.rememberBlocks(ctx, p, rec.Digest, blocks)
	})
	return rec, err
}

// hold keeps the directory open that a step copies from, so that reading its files costs less.
func (s *session) hold(id int) (release func() error, err error) {
	if l := s.sources.copies[id]; l != nil {
		if dir, ok := l.files.(*source.Directory); ok {
			return dir.Hold()
		}
	}
	return func() error { return nil }, nil
}

// rememberBlocks keeps what the next layer at the same place may use again.
func (s *session) rememberBlocks(ctx context.Context, p *layerPlan, blob cache.Digest, blocks []compress.Block) error {
	b := layerBlocks{Blob: blob}
	for i, block := range blocks {
		b.Prints = append(b.Prints, p.prints[i][:]...)
		b.Sums = append(b.Sums, block.Sum[:]...)
		b.CRCs = binary.BigEndian.AppendUint32(b.CRCs, block.CRC)
		b.Begins, b.Sizes = append(b.Begins, block.Offset), append(b.Sizes, block.Size)
	}
	return save(ctx, s, p.key, b)
}
