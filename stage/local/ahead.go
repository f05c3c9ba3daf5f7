package local

import "io"

// aheadSize and aheadDepth bound what a goroutine reads before somebody wants it.
const (
	aheadSize  = 128 << 10
	aheadDepth = 4
)

// ahead reads in a goroutine of its own, so that making bytes and using them happen at once.
type ahead struct {
	full  chan piece  // what was read, in order
	empty chan []byte // buffers that may be read into again
	stop  chan struct{}
	now   piece
	at    int // now.buf[at:now.n] was not taken yet
}

type piece struct {
	buf []byte
	n   int
	err error // behind the n bytes
}

// readAhead begins to read r, which nobody else may read before Close has returned.
func readAhead(r io.Reader) *ahead {
	a := &ahead{full: make(chan piece, aheadDepth), empty: make(chan []byte, aheadDepth), stop: make(chan struct{})}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	defer close(a.full)
	for made := 0; ; {
		var buf []byte
		if made < aheadDepth {
			buf = make([]byte, aheadSize)
			made++
		} else {
			select {
			case buf = <-a.empty:
			case <-a.stop:
				return
			}
		}
		p := piece{buf: buf}
		p.n, p.err = r.Read(buf)
		a.full <- p // there is room for all buffers
		if p.err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (a *ahead) Read(b []byte) (int, error) {
	for a.at == a.now.n {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.empty <- a.now.buf
		}
		p, ok := <-a.full
		if !ok {
			p.err = io.ErrClosedPipe // read after Close
		}
		a.now, a.at = p, 0
	}
	n := copy(b, a.now.buf[a.at:a.now.n])
	a.at += n
	return n, nil
}

// Close waits for the Read of r that is under way, after which r is the caller's again.
func (a *ahead) Close() error {
	close(a.stop)
	for range a.full { //nolint:revive // it waits
	}
	return nil
}
