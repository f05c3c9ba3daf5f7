package tree

import "encoding/binary"

// The encoding of one node, shared by digests and by Marshal. Numbers are
// unsigned varints of encoding/binary, except mtime, a signed one; strings are
// their length and their bytes; digests are 32 bytes.
//
//	node     = kind (1 byte) meta rest
//	meta     = mode uid gid [mtime] count { xattr name, value }
//	rest     = size content        file
//	         = target              symlink
//	         = major minor         device
//	         = nothing             fifo, directory

// appendNode encodes n without its children and its hard-link group.
func appendNode(b []byte, n *Node, mtime bool) []byte {
	b = append(b, byte(n.kind))
	b = binary.AppendUvarint(b, uint64(n.meta.Mode))
	b = binary.AppendUvarint(b, uint64(n.meta.UID))
	b = binary.AppendUvarint(b, uint64(n.meta.GID))
	if mtime {
		b = binary.AppendVarint(b, n.meta.Mtime)
	}
	b = binary.AppendUvarint(b, uint64(len(n.meta.Xattrs)))
	for _, x := range n.meta.Xattrs {
		b = appendString(b, x.Name)
		b = binary.AppendUvarint(b, uint64(len(x.Value)))
		b = append(b, x.Value...)
	}
	switch n.kind {
	case File:
		b = binary.AppendUvarint(b, uint64(n.size))
		b = append(b, n.content[:]...)
	case Symlink:
		b = appendString(b, n.target)
	case CharDevice, BlockDevice:
		b = binary.AppendUvarint(b, uint64(n.major))
		b = binary.AppendUvarint(b, uint64(n.minor))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}
