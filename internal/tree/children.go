package tree

import "slices"

// The children of a directory are a sorted list cut into chunks. A chunk and a
// directory belong to the Editor whose token they carry and may be changed in
// place by it alone; when the Editor gives a tree away it takes a new token, and
// at that moment, at no cost, everything it made is immutable. So a batch of
// edits copies each directory and chunk at most once, a snapshot costs nothing,
// and an edit after a snapshot copies one chunk a level instead of a whole
// directory with 50,000 names.

// chunkSize is the number of entries at which a chunk is split. 64 keeps the
// copy of one chunk (1.5 KB) and of the chunk list of 50,000 names (6 KB) of the same order.
const chunkSize = 64

// token marks ownership; only its address matters.
type token struct{ _ byte }

type entry struct {
	name string
	node *Node
}

type chunk struct {
	owner   *token
	entries []entry
}

// share returns a copy owned by t that shares all chunks. Digests are not copied: the metadata may differ.
func (d *dirData) share(t *token) *dirData {
	return &dirData{
		owner: t, chunks: slices.Clone(d.chunks), count: d.count, tail: d.tail, grouped: d.grouped,
	}
}

// find returns the chunk that holds name or would hold it, and where in it.
func (d *dirData) find(name string) (ci, ei int, ok bool) {
	if len(d.chunks) == 0 {
		return 0, 0, false
	}
	// Names often come in order, so the last chunk is tried first.
	ci = len(d.chunks) - 1
	if ci > 0 && name < d.chunks[ci].entries[0].name {
		lo, hi := 0, ci // first chunk that begins after name is in (lo, hi]
		for hi-lo > 1 {
			if mid := (lo + hi) / 2; name < d.chunks[mid].entries[0].name {
				hi = mid
			} else {
				lo = mid
			}
		}
		ci = lo
	}
	entries := d.chunks[ci].entries
	if last := entries[len(entries)-1].name; name > last {
		return ci, len(entries), false
	}
	lo, hi := 0, len(entries)
	for lo < hi {
		if mid := (lo + hi) / 2; entries[mid].name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return ci, lo, entries[lo].name == name
}

func (d *dirData) get(name string) *Node {
	if ci, ei, ok := d.find(name); ok {
		return d.chunks[ci].entries[ei].node
	}
	return nil
}

// own returns chunk ci, copied first unless it is t's already.
func (d *dirData) own(t *token, ci int) *chunk {
	c := d.chunks[ci]
	if c.owner != t {
		entries := make([]entry, len(c.entries), len(c.entries)+1)
		copy(entries, c.entries)
		c = &chunk{owner: t, entries: entries}
		d.chunks[ci] = c
	}
	return c
}

// put sets name to n. d must be owned by t.
func (d *dirData) put(t *token, name string, n *Node) {
	ci, ei, ok := d.find(name)
	if ok {
		d.own(t, ci).entries[ei].node = n
		return
	}
	d.count++
	if len(d.chunks) == 0 {
		d.chunks = []*chunk{{owner: t, entries: []entry{{name, n}}}}
		return
	}
	if len(d.chunks[ci].entries) >= chunkSize {
		ci, ei = d.split(t, ci, ei)
		if ei < 0 {
			d.chunks = append(d.chunks, &chunk{owner: t, entries: append(make([]entry, 0, chunkSize), entry{name, n})})
			return
		}
	}
	c := d.own(t, ci)
	c.entries = slices.Insert(c.entries, ei, entry{name, n})
}

// split makes room in the full chunk ci for an entry at ei and returns where
// that is now; ei -1 asks for a new chunk at the end, so that names that
// come in order fill their chunks.
func (d *dirData) split(t *token, ci, ei int) (int, int) {
	c := d.chunks[ci]
	if ci == len(d.chunks)-1 && ei == len(c.entries) {
		return ci + 1, -1
	}
	const half = chunkSize / 2
	left := &chunk{owner: t, entries: append(make([]entry, 0, chunkSize), c.entries[:half]...)}
	right := &chunk{owner: t, entries: append(make([]entry, 0, chunkSize), c.entries[half:]...)}
	d.chunks[ci] = left
	d.chunks = slices.Insert(d.chunks, ci+1, right)
	if ei > half {
		return ci + 1, ei - half
	}
	return ci, ei
}

// remove takes name out. d must be owned by t.
func (d *dirData) remove(t *token, name string) {
	ci, ei, ok := d.find(name)
	if !ok {
		return
	}
	d.count--
	if len(d.chunks[ci].entries) == 1 {
		d.chunks = slices.Delete(d.chunks, ci, ci+1)
		return
	}
	c := d.own(t, ci)
	c.entries = slices.Delete(c.entries, ei, ei+1)
}
