package local

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/decompress"
	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// maxDownloads bounds the layers of base images that are read at once.
const maxDownloads = 4

// plainTar is the tar of a base layer: what is in it and, where somebody wants the files,
// its bytes.
type plainTar struct {
	index *layertar.Index
	file  *os.File // nil when only the index was wanted; it has no name any more
	once  sync.Once
}

func (p *plainTar) close() {
	if p != nil && p.file != nil {
		p.once.Do(func() { p.file.Close() })
	}
}

// runsOn reports whether a Run step stands on a base image, and so will want its layers as
// directories.
func (s *session) runsOn(base *stage.Step) bool {
	if runtime.GOOS != "linux" {
		return false
	}
	above := make([]bool, len(s.steps))
	for i, step := range s.steps {
		above[i] = i == base.ID || step.Parent >= 0 && above[step.Parent]
		if _, ok := step.Op.(*stage.RunOp); ok && above[i] && s.needed[i] {
			return true
		}
	}
	return false
}

// keepPlain keeps a layer's tar until its directory is made, or the session ends.
func (s *session) keepPlain(l *baseLayer, p *plainTar) {
	if p.file == nil {
		return
	}
	l.plain.Store(p)
	s.closing.Lock()
	defer s.closing.Unlock()
	s.plains = append(s.plains, p)
}

// readLayer reads a layer once: its bytes go to the cache as they are, and what
// they decompress to is indexed and compared with the image's diff ID. With keep the
// decompressed bytes stay for a while, too.
func (s *session) readLayer(ctx context.Context, step *stage.Step, layer v1.Layer, keep bool) (*plainTar, error) {
	select {
	case s.downloads <- struct{}{}:
		defer func() { <-s.downloads }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	digest, want, err := layerDigest(layer)
	if err != nil {
		return nil, err
	}
	if plain := s.readStored(ctx, layer, want, keep); plain != nil {
		return plain, nil
	}
	size, err := layer.Size()
	if err != nil {
		return nil, err
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	rc, err := image.OpenUnhashed(reading, layer) // the cache hashes what it keeps
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	w, err := s.opts.Store.Create(ctx)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	defer w.Discard()
	progress := &progressReader{s: s, step: step, what: digest.String(), r: rc, total: size, ctx: reading}
	plain, err := s.readTar(layer, io.TeeReader(progress, w), stop, keep)
	if err == nil || progress.done == size {
		_, kept := w.Commit(ctx, want)
		if corrupt, ok := errors.AsType[*cache.CorruptError](kept); ok {
			// That these are other bytes says more than what is wrong with them.
			err = &image.ContentError{Want: digest, Got: v1.Hash{Algorithm: digest.Algorithm, Hex: corrupt.Got.Hex()}, WantSize: size, GotSize: size}
		} else if err == nil {
			err = kept
		}
	}
	if err != nil {
		plain.close()
		return nil, err
	}
	return plain, nil
}

// readStored reads a layer out of the cache, where it is when a sink has read it before. It
// returns nil when it is not there, or damaged.
func (s *session) readStored(ctx context.Context, layer v1.Layer, digest cache.Digest, keep bool) *plainTar {
	compressed, _, err := cache.NewReader(ctx, s.opts.Store, digest)
	if err != nil {
		return nil
	}
	defer compressed.Close()
	plain, err := s.readTar(layer, compressed, nil, keep)
	if err != nil {
		return nil
	}
	return plain
}

func layerDigest(layer v1.Layer) (v1.Hash, cache.Digest, error) {
	h, err := layer.Digest()
	if err != nil {
		return h, cache.Digest{}, err
	}
	digest, err := cache.ParseDigest(h.String())
	return h, digest, err
}

// cachedLayer opens the compressed bytes of a layer, which are fetched again if the cache
// has lost them.
func (s *session) cachedLayer(ctx context.Context, step *stage.Step, layer v1.Layer) (io.ReadCloser, error) {
	_, want, err := layerDigest(layer)
	if err != nil {
		return nil, err
	}
	compressed, _, err := cache.NewReader(ctx, s.opts.Store, want)
	if errors.Is(err, cache.ErrNotFound) {
		if _, err = s.readLayer(ctx, step, layer, false); err == nil {
			compressed, _, err = cache.NewReader(ctx, s.opts.Store, want)
		}
	}
	return compressed, err
}

// unpackTar decompresses a base layer.
func (s *session) unpackTar(ctx context.Context, step *stage.Step, layer v1.Layer) (*plainTar, error) {
	compressed, err := s.cachedLayer(ctx, step, layer)
	if err != nil {
		return nil, err
	}
	defer compressed.Close()
	return s.readTar(layer, compressed, nil, true)
}

// readTar is indexTar; with keep the tar's bytes go to a temporary file, which ends with the process whatever
// happens.
func (s *session) readTar(layer v1.Layer, compressed io.Reader, stop func(), keep bool) (*plainTar, error) {
	p := &plainTar{}
	var w *bufio.Writer
	if keep {
		dir, err := s.tempDir()
		if err != nil {
			return nil, err
		}
		if p.file, err = os.CreateTemp(dir, "layer-*.tar"); err != nil {
			return nil, err
		}
		os.Remove(p.file.Name())
		w = bufio.NewWriterSize(p.file, 1<<20)
	}
	var err error
	if p.index, err = indexTar(layer, compressed, stop, w); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// indexTar indexes a compressed tar, which must have the layer's diff ID, and writes what it decompresses to to w,
// unless w is nil. It reads compressed to its end, behind the compressed stream too, where readers say whether it was
// whole. Reading, decompressing and indexing happen at once; stop, unless it is nil, makes a Read of compressed
// return when the rest is not wanted.
func indexTar(layer v1.Layer, compressed io.Reader, stop func(), w *bufio.Writer) (index *layertar.Index, err error) {
	from := readAhead(compressed)
	defer from.Close()
	defer func() {
		if err != nil && stop != nil {
			stop()
		}
	}()
	plain, err := plainLayer(layer, from)
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	if index, err = indexAhead(plain, stop, w); err != nil {
		return nil, err
	}
	if err := checkDiffID(layer, index.DiffID); err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, from)
	return index, err
}

// indexAhead indexes a tar, which another goroutine makes and writes to w.
func indexAhead(plain io.Reader, stop func(), w *bufio.Writer) (*layertar.Index, error) {
	if w != nil {
		plain = io.TeeReader(plain, w)
	}
	from := readAhead(plain)
	defer from.Close()
	index, err := layertar.Read(from, layertar.Limits{})
	if err == nil && w != nil {
		err = w.Flush() // the tar was read to its end, so nobody else writes any more
	}
	if err != nil && stop != nil {
		stop()
	}
	return index, err
}

// plainLayer decompresses a layer. One whose digest is its diff ID is stored as the tar that it
// is, though the name of its first file may begin like a compressed file.
func plainLayer(layer v1.Layer, compressed io.Reader) (io.ReadCloser, error) {
	digest, err := layer.Digest()
	if err != nil {
		return nil, err
	}
	if diffID, err := layer.DiffID(); err != nil || digest == diffID {
		return io.NopCloser(compressed), err
	}
	plain, _, err := decompress.NewReader(compressed)
	return plain, err
}

func checkDiffID(layer v1.Layer, got tree.Digest) error {
	want, err := layer.DiffID()
	if err != nil {
		return err
	}
	if want.String() != got.String() {
		return fmt.Errorf("its contents have the diff ID %s, but the image's configuration says %s", got, want)
	}
	return nil
}

// progressReader tells how much of a download has come, and ends it with the
// context.
type progressReader struct {
	s     *session
	ctx   context.Context
	step  *stage.Step
	what  string
	r     io.Reader
	done  int64
	told  int64
	total int64
}

// progressStep is how many bytes lie between two events.
const progressStep = 1 << 20

func (p *progressReader) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.r.Read(b)
	p.done += int64(n)
	if p.done-p.told >= progressStep || err == io.EOF && p.done != p.told {
		p.told = p.done
		p.s.emit(stage.StepProgress{Step: p.step, What: p.what, Done: p.done, Total: p.total})
	}
	return n, err
}
