package layertar

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/tree"
)

func benchLayer(files, size int) ([]tree.Change, contents) {
	c := contents{}
	var changes []tree.Change
	for i := range files {
		changes = append(changes, tree.Change{
			Path: fmt.Sprintf("usr/lib/%05d.go", i),
			Node: c.file(tree.Meta{Mode: 0o644}, strings.Repeat(fmt.Sprintf("%07d\n", i), size/8), 0),
		})
	}
	return changes, c
}

func BenchmarkWrite(b *testing.B) {
	for _, s := range []struct{ files, size int }{{3, 1024}, {15_000, 1024}, {1, 256 << 20}} {
		b.Run(fmt.Sprintf("files=%d/size=%d", s.files, s.size), func(b *testing.B) {
			changes, c := benchLayer(s.files, s.size)
			b.SetBytes(int64(s.files * s.size))
			b.ReportAllocs()
			for b.Loop() {
				if err := Write(io.Discard, changes, c.open); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	changes, c := benchLayer(15_000, 1024)
	in := write(b, changes, c)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(bytes.NewReader(in), Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
