package content

import (
	"context"
	"io"

	"github.com/stagewright/stagewright/image"
)

// Meter passes on what is written to it, and tells of it: once a MiB, when At.Done reaches At.Total, and at its End. It is for one goroutine.
type Meter struct {
	W    io.Writer
	Tell func(image.Transfer) // nil for nobody
	At   image.Transfer       // how far it has come

	told int64
}

const meterStep = 1 << 20

// Write implements [io.Writer].
func (m *Meter) Write(p []byte) (int, error) {
	n, err := m.W.Write(p)
	m.At.Done += int64(n)
	if n > 0 && (m.At.Done-m.told >= meterStep || m.At.Done == m.At.Total) {
		m.End()
	}
	return n, err
}

// End tells of what was not told yet.
func (m *Meter) End() {
	if m.Tell != nil && m.told < m.At.Done {
		m.told = m.At.Done
		m.Tell(m.At)
	}
}

// Send is Copy that tells of it; tell may be nil.
func (b Blob) Send(ctx context.Context, w io.Writer, tell func(image.Transfer)) error {
	return b.Copy(ctx, &Meter{W: w, Tell: tell, At: image.Transfer{What: b.Digest.String(), Total: b.Size}})
}

// FullNames are the whole names, as deliveries list them.
func FullNames(names []Name) []string {
	list := make([]string, len(names))
	for i, n := range names {
		list[i] = n.Full
	}
	return list
}
