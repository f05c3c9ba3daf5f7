package compress

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

var errClosed = errors.New("compress: write after Close")

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
	blocks []int64
	err    error
}

// A job is one block on its way through a compressing goroutine.
type job struct {
	in   []byte
	out  bytes.Buffer
	err  error
	done chan struct{} // receives once when compressed
}

// NewWriter returns a Writer to w. Nothing is written before the first block is
// full or Close is called, except that [None] passes on each Write.
func NewWriter(w io.Writer, o Options) *Writer {
	o = o.withDefaults()
	return &Writer{w: w, opts: o, frame: o.Format.frame()}
}

// Write takes p as input. An error of an earlier block may come with a later Write.
func (w *Writer) Write(p []byte) (int, error) {
	if w.opts.Format == None {
		before := w.at
		w.put(p)
		w.total = w.at
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

// flush sends the block to be compressed and writes what is ready, waiting when enough are on their way.
func (w *Writer) flush() {
	w.frame.add(w.block)
	w.total += int64(len(w.block))
	for len(w.queue) >= w.opts.Parallel+1 && w.err == nil {
		w.next()
	}
	if w.err != nil {
		return
	}
	var j *job
	if n := len(w.free); n > 0 {
		j, w.free = w.free[n-1], w.free[:n-1]
	} else {
		j = &job{done: make(chan struct{}, 1)}
	}
	w.spare, j.in, w.block = j.in, w.block, nil
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
	encode, _ := pool.Get().(encoder)
	var err error
	if encode == nil {
		encode, err = o.encoder()
	}
	for j := range work {
		j.err = err
		if err == nil {
			j.out.Reset()
			j.err = encode(&j.out, j.in)
		}
		j.done <- struct{}{}
	}
	if err == nil {
		pool.Put(encode)
	}
}

// next waits for the oldest block and writes it.
func (w *Writer) next() {
	j := w.queue[0]
	w.queue = w.queue[1:]
	<-j.done
	if w.err = j.err; w.err == nil {
		w.begin()
	}
	w.blocks = append(w.blocks, w.at)
	w.put(j.out.Bytes())
	w.free = append(w.free, j)
}

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
func (w *Writer) Blocks() []int64 { return append([]int64(nil), w.blocks...) }

// Total returns the bytes of input so far compressed, all of them after Close.
func (w *Writer) Total() int64 { return w.total }
