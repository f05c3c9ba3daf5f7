package layertar

import (
	"cmp"

	"github.com/stagewright/stagewright/internal/tree"
)

// Limits bound what [Read] takes from one layer. A zero field is its default.
type Limits struct {
	Entries   int   // entries, directories implied by their paths included; default 2^20
	FileSize  int64 // bytes of one file; default 64 GiB
	TotalSize int64 // bytes of the tar; default 256 GiB
	PathLen   int   // bytes of one path or link target; default and most 4095
	Xattrs    int   // bytes of all extended attributes of one entry; default 128 KiB, that is two of the largest on Linux
	Metadata  int64 // bytes of all paths, targets and attributes together; default 512 MiB
}

// withDefaults fills the zero fields. The largest common images have some 200,000
// entries and 50 MB of paths in a layer.
func (l Limits) withDefaults() Limits {
	l.Entries = cmp.Or(l.Entries, 1<<20)
	l.FileSize = cmp.Or(l.FileSize, 64<<30)
	l.TotalSize = cmp.Or(l.TotalSize, 256<<30)
	l.PathLen = min(cmp.Or(l.PathLen, tree.MaxPath), tree.MaxPath)
	l.Xattrs = cmp.Or(l.Xattrs, 128<<10)
	l.Metadata = cmp.Or(l.Metadata, 512<<20)
	return l
}
