package compress

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
)

var (
	errClosed = errors.New("compress: write after Close")
	errAlign  = errors.New("compress: copy of what is no block here")
)

// A Writer compresses what is written to it. Close must be called.
type Writer struct {
	w     io.Writer
	opts  Options
	frame frame

	block  []byte    // input of the next block
	spare  []byte    // an input buffer to be used again
	queue  []*job    // in order, being compressed
	free   []*job    // to be used again
	work   chan *job // to the compressing goroutines, nil before the first
	begun  bool      // the head has been written
	total  int64     // bytes of input
	at     int64     // bytes written to w
	blocks []Block
	plain  io.Writer // gets the input, too; nil for nobody
	offer  func(i int, crc uint32) (Offer, bool)
	err    error
}

// A Block is one block of what a [Writer] has written.
type Block struct {
	Offset, Size int64             // of the compressed bytes
	Sum          [sha256.Size]byte // SHA-256 of the compressed bytes
	CRC          uint32            // CRC-32 (IEEE) of the input
}

// A job is one block on its way through a compressing goroutine.
type job struct {
	in   []byte
	out  bytes.Buffer
	sum  [sha256.Size]byte // of out
	crc  uint32            // of in
	have bool              // in is filled
	like Offer             // what may be taken over; without Give in is compressed
	err  error
	done chan struct{} // receives once when compressed
}

// NewWriter returns a Writer to w. Nothing is written before the first block is
// full or Close is called, except that [None] passes on each Write.
func NewWriter(w io.Writer, o Options) *Writer {
	o = o.withDefaults()
	return &Writer{w: w, opts: o, frame: o.Format.frame()}
}

// Tee has the input written to plain, too: block by block and in order, while a call of this Writer lasts, perhaps on another goroutine. It is called before the first Write.
func (w *Writer) Tee(plain io.Writer) { w.plain = plain }

// An Offer is a block that another [Writer] with the same options has made, for [Writer.Offers].
type Offer struct {
	Block
	// Give calls write with the compressed bytes. It may be called on another goroutine, beside others.
	Give func(io.Writer) error
	// Same says that the block was made of the same input for certain. Else it is decompressed and compared.
	Same bool
}

// Offers has find asked, before a block of input is compressed, for one that may be taken over instead: i counts the blocks from 0, and
// crc is the CRC-32 of the input. The output is the same. An offer that is not what its sum says ends the stream with an error that wraps
// [ErrDamaged] when it is the same for certain, and else is left alone. It is called before the first Write.
func (w *Writer) Offers(find func(i int, crc uint32) (Offer, bool)) { w.offer = find }

// Write takes p as input. An error of an earlier block may come with a later Write.
func (w *Writer) Write(p []byte) (int, error) {
	if w.opts.Format == None {
		before := w.at
		w.put(p)
		w.total = w.at
		if err := <-w.tee(p[:w.at-before]); w.err == nil {
			w.err = err
		}
		return int(w.at - before), w.err
	}
	n := 0
	for n < len(p) && w.err == nil {
		if w.block == nil {
			w.block = w.take()
		}
		c := min(len(p)-n, w.opts.Format.BlockSize()-len(w.block))
		w.block = append(w.block, p[n:n+c]...)
		n += c
		if len(w.block) == w.opts.Format.BlockSize() {
			w.flush()
		}
	}
	return n, w.err
}

// take returns an empty input buffer. The first grows as it is filled, so that a small layer stays small.
func (w *Writer) take() []byte {
	if b := w.spare; b != nil {
		w.spare = nil
		return b[:0]
	}
	if w.total == 0 {
		return make([]byte, 0, 4<<10)
	}
	return make([]byte, 0, w.opts.Format.BlockSize())
}

// flush sends the block to be compressed.
func (w *Writer) flush() {
	if w.total%int64(w.opts.Format.BlockSize()) != 0 {
		w.err = errAlign
		return
	}
	if j := w.job(); j != nil {
		w.spare, j.in, j.like, j.have, w.block = j.in, w.block, Offer{}, true, nil
		j.crc = crc32.ChecksumIEEE(j.in)
		if w.offer != nil {
			j.like, _ = w.offer(len(w.blocks)+len(w.queue), j.crc)
		}
		w.send(j)
	}
}

// Copy takes size bytes of input that another Writer with the same options has compressed: as one whole block, so that what it returned
// for this block can be used again. Give calls write with these compressed bytes, whose sum must be that of b; it may be called on another goroutine, beside others.
// The input is what they decompress to, and the output is that of a Write of it. A block may only be followed by others when it has the size of all.
// That the bytes are not those of b is an error that wraps [ErrDamaged], of this or a later call, and the end of the stream.
func (w *Writer) Copy(size int, b Block, give func(io.Writer) error) error {
	full := w.opts.Format.BlockSize()
	if w.err == nil && (size <= 0 || size > full || len(w.block) > 0 || w.total%int64(max(full, 1)) != 0) {
		w.err = errAlign
	}
	if w.err != nil {
		return w.err
	}
	j := w.job()
	if j == nil {
		return w.err
	}
	if cap(j.in) < size {
		j.in = make([]byte, 0, full)
	}
	j.in, j.like, j.have = j.in[:size], Offer{b, give, true}, false
	w.send(j)
	return w.err
}

// job returns a job that nobody has, having written what is ready and waited when enough are on their way; nil after an error.
func (w *Writer) job() *job {
	for len(w.queue) >= w.opts.Parallel+1 && w.err == nil {
		w.next()
	}
	if w.err != nil {
		return nil
	}
	if n := len(w.free); n > 0 {
		j := w.free[n-1]
		w.free = w.free[:n-1]
		return j
	}
	return &job{done: make(chan struct{}, 1)}
}

// send has a job done.
func (w *Writer) send(j *job) {
	w.total += int64(len(j.in))
	if w.work == nil {
		w.work = make(chan *job, w.opts.Parallel+1)
	}
	if len(w.blocks)+len(w.queue) < w.opts.Parallel {
		go compress(w.work, w.opts)
	}
	w.queue = append(w.queue, j)
	w.work <- j
}

// idle are encoders that nobody uses, by format and level. One of gzip has tables of some 700 KiB, whose making costs several
// times as much as compressing a small layer does.
var idle [Zstd + 1][maxLevel + 1]sync.Pool

// compress is one compressing goroutine; it ends when work is closed.
func compress(work <-chan *job, o Options) {
	pool := &idle[o.Format][o.Level]
	var encode encoder
	var broken error
	var spare []byte
	for j := range work {
		if !j.taken(o.Format, &spare) {
			if encode == nil {
				if encode, _ = pool.Get().(encoder); encode == nil {
					encode, broken = o.encoder()
				}
			}
			if j.err = broken; broken == nil {
				j.out.Reset()
				j.err = encode(&j.out, j.in)
				j.sum = sha256.Sum256(j.out.Bytes())
			}
		}
		j.like.Give = nil
		j.done <- struct{}{}
	}
	if encode != nil {
		pool.Put(encode)
	}
}

// taken reports whether the job has come to its end, in an error too, with what is offered. Spare is room to compare in.
func (j *job) taken(f Format, spare *[]byte) bool {
	if j.like.Give == nil {
		return false
	}
	j.err = j.take()
	switch {
	case !j.have && j.err == nil:
		if _, j.err = f.decode(j.in, bytes.NewReader(j.out.Bytes())); j.err != nil {
			j.err = fmt.Errorf("%w: %w", ErrDamaged, j.err)
		}
		j.crc = crc32.ChecksumIEEE(j.in)
		return true
	case j.like.Same:
		return true
	}
	if j.err != nil {
		return false
	}
	*spare = slices.Grow((*spare)[:0], len(j.in)+1)[:len(j.in)+1] // one more, which must not be there
	n, _ := f.decode(*spare, bytes.NewReader(j.out.Bytes()))
	return bytes.Equal((*spare)[:n], j.in)
}

// take fills the output with what is offered.
func (j *job) take() error {
	j.out.Reset()
	if err := j.like.Give(&j.out); err != nil {
		return err
	}
	if j.sum = sha256.Sum256(j.out.Bytes()); j.sum != j.like.Sum {
		return fmt.Errorf("%w: it has another digest", ErrDamaged)
	}
	return nil
}

// next waits for the oldest block and writes it.
func (w *Writer) next() {
	j := w.queue[0]
	w.queue = w.queue[1:]
	<-j.done
	if w.err = j.err; w.err == nil {
		w.begin()
		w.blocks = append(w.blocks, Block{Offset: w.at, Size: int64(j.out.Len()), Sum: j.sum, CRC: j.crc})
		w.frame.add(j.in)
		teed := w.tee(j.in)
		w.put(j.out.Bytes())
		if err := <-teed; w.err == nil {
			w.err = err
		}
	}
	w.free = append(w.free, j)
}

// tee passes input on, beside the caller's own work: what gets it is mostly a hash, and so is what gets the output.
func (w *Writer) tee(p []byte) <-chan error {
	done := make(chan error, 1)
	switch {
	case w.plain == nil || w.err != nil || len(p) == 0:
		done <- nil
	case len(p) < aside:
		_, err := w.plain.Write(p)
		done <- err
	default:
		go func() {
			_, err := w.plain.Write(p)
			done <- err
		}()
	}
	return done
}

// aside is from how many bytes on a goroutine of its own pays.
const aside = 64 << 10

// begin writes the head, once.
func (w *Writer) begin() {
	if !w.begun {
		w.begun = true
		w.put(w.frame.head())
	}
}

func (w *Writer) put(p []byte) {
	if w.err != nil || len(p) == 0 {
		return
	}
	n, err := w.w.Write(p)
	w.at += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
}

// Close compresses what is left and ends the stream. It does not close the
// underlying writer. All goroutines have ended their work when it returns, also after
// an error; the error is the first of any Write.
func (w *Writer) Close() error {
	if w.err == errClosed {
		return nil
	}
	if len(w.block) > 0 && w.err == nil {
		w.flush()
	}
	for len(w.queue) > 0 {
		if w.err != nil {
			<-w.queue[0].done
			w.queue = w.queue[1:]
			continue
		}
		w.next()
	}
	if w.work != nil {
		close(w.work)
		w.work = nil
	}
	if w.err == nil && w.opts.Format != None {
		w.begin()
		w.put(w.frame.tail())
	}
	err := w.err
	w.err, w.block, w.spare, w.free = errClosed, nil, nil, nil
	return err
}

// Blocks returns the offset in the output at which each block begins, after Close; none for [None].
// Block i holds the input from i times [Format.BlockSize] on. The slice is the caller's.
func (w *Writer) Blocks() []int64 {
	var offsets []int64
	for _, b := range w.blocks {
		offsets = append(offsets, b.Offset)
	}
	return offsets
}

// Sums describes the blocks, as [Writer.Blocks] does, for [Writer.Copy]. The slice is the caller's.
func (w *Writer) Sums() []Block { return slices.Clone(w.blocks) }

// Total returns the bytes of input so far compressed, all of them after Close.
func (w *Writer) Total() int64 { return w.total }
