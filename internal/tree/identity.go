package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// The recipe of the two digests of a node, version 1. "node" is the encoding of encode.go,
// with mtimes for Identity and without for Key; the label is "identity" or "key".
//
//	plain(file, link, device) = SHA-256( "stagewright tree 1 " label "\n" node )
//	plain(directory)          = SHA-256( "stagewright tree 1 " label "\n" node count { name child } )
//	child                     = kind plain    of a directory
//	                          = node          of anything else
//	digest                    = plain         when no two names below are hard links of one file
//	                          = SHA-256( "stagewright links 1 " label "\n" plain count { count { path } } )
//
// The second form lists the sets of names that are one file, each set in the
// order of Walk, the sets in the order of their first names; group numbers appear nowhere.
const (
	identityLabel = "stagewright tree 1 identity\n"
	keyLabel      = "stagewright tree 1 key\n"
	identityLinks = "stagewright links 1 identity\n"
	keyLinks      = "stagewright links 1 key\n"
)

// Identity returns the digest of the node and everything below it: names, kinds,
// all metadata, contents, and which names are hard links of one file. Two trees
// with the same Identity are the same tree. A directory computes it once, on
// demand; concurrent calls are safe.
func (n *Node) Identity() Digest { return n.digest(true) }

// Key is as Identity with every mtime left out: what a build step can be keyed
// by, so that a file touched but not changed changes nothing.
func (n *Node) Key() Digest { return n.digest(false) }

func (n *Node) digest(mtime bool) Digest {
	if n.dir == nil {
		return newHasher(mtime).leaf(n)
	}
	pair := n.pair(mtime)
	if d := pair.linked.Load(); d != nil {
		return *d
	}
	h := newHasher(mtime)
	d := h.plain(n)
	if sets := linkSets(n, mtime); len(sets) > 0 {
		d = h.links(d, sets)
	}
	pair.linked.Store(&d)
	return d
}

func (n *Node) pair(mtime bool) *digestPair {
	if mtime {
		return &n.dir.identity
	}
	return &n.dir.key
}

// A hasher computes digests with one buffer for a whole tree.
type hasher struct {
	mtime bool
	buf   []byte
	sum   hash.Hash
}

func newHasher(mtime bool) *hasher { return &hasher{mtime: mtime, sum: sha256.New()} }

// flushSize bounds the buffer for directories with very many names.
const flushSize = 32 << 10

func (h *hasher) start(identity, key string) {
	h.sum.Reset()
	label := key
	if h.mtime {
		label = identity
	}
	h.buf = append(h.buf[:0], label...)
}

func (h *hasher) flush() {
	h.sum.Write(h.buf)
	h.buf = h.buf[:0]
}

func (h *hasher) finish() (d Digest) {
	h.flush()
	h.sum.Sum(d[:0])
	return d
}

func (h *hasher) leaf(n *Node) Digest {
	h.start(identityLabel, keyLabel)
	h.buf = appendNode(h.buf, n, h.mtime)
	return h.finish()
}

// plain returns the digest without hard links. Directories below come first,
// so that the one buffer is free when n itself is encoded.
func (h *hasher) plain(n *Node) Digest {
	if n.dir == nil {
		return h.leaf(n)
	}
	cached := &n.pair(h.mtime).plain
	if d := cached.Load(); d != nil {
		return *d
	}
	for _, c := range n.dir.chunks {
		for _, e := range c.entries {
			if e.node.dir != nil {
				h.plain(e.node)
			}
		}
	}
	h.start(identityLabel, keyLabel)
	h.buf = appendNode(h.buf, n, h.mtime)
	h.buf = binary.AppendUvarint(h.buf, uint64(n.dir.count))
	for _, c := range n.dir.chunks {
		for _, e := range c.entries {
			h.buf = appendString(h.buf, e.name)
			if e.node.dir != nil {
				h.buf = append(h.buf, byte(Dir))
				h.buf = append(h.buf, e.node.pair(h.mtime).plain.Load()[:]...)
			} else {
				h.buf = appendNode(h.buf, e.node, h.mtime)
			}
		}
		if len(h.buf) > flushSize {
			h.flush()
		}
	}
	d := h.finish()
	cached.Store(&d)
	return d
}

func (h *hasher) links(plain Digest, sets []linkSet) Digest {
	h.start(identityLinks, keyLinks)
	h.buf = append(h.buf, plain[:]...)
	h.buf = binary.AppendUvarint(h.buf, uint64(len(sets)))
	for _, s := range sets {
		h.buf = binary.AppendUvarint(h.buf, uint64(len(s)))
		for _, p := range s {
			h.buf = appendString(h.buf, p)
		}
		if len(h.buf) > flushSize {
			h.flush()
		}
	}
	return h.finish()
}
