package tree

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// names makes files in dirs of perDir names, as of a node_modules or a Go module cache.
func names(files, perDir int) []string {
	var out []string
	for i := range files {
		d := i / perDir
		out = append(out, fmt.Sprintf("usr/lib/%02d/%03d/file-%05d.go", d%10, d, i))
	}
	return out
}

func build(b testing.TB, root *Node, paths []string) *Node {
	e := Edit(root)
	m := Meta{Mode: 0o644}
	last := ""
	for i, p := range paths {
		if dir, _ := splitLast(p); dir != last {
			last = dir
			if err := e.MkdirAll(dir, Meta{Mode: 0o755}); err != nil {
				b.Fatal(err)
			}
		}
		var d Digest
		binary.BigEndian.PutUint64(d[:], uint64(i))
		if err := e.Put(p, NewFile(m, d, int64(i), 0)); err != nil {
			b.Fatal(err)
		}
	}
	return e.Tree()
}

func BenchmarkBuild(b *testing.B) {
	for _, c := range []struct{ files, perDir int }{{3, 3}, {15_000, 20}, {50_000, 50_000}} {
		paths := names(c.files, c.perDir)
		b.Run(fmt.Sprintf("files=%d/dir=%d", c.files, c.perDir), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				build(b, nil, paths)
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	paths := names(15_000, 20)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			root := build(b, nil, paths)
			b.StartTimer()
			root.Key()
		}
	})
	root := build(b, nil, paths)
	root.Key()
	b.Run("one file changed", func(b *testing.B) {
		for b.Loop() {
			e := Edit(root)
			if err := e.SetMeta(paths[7777], Meta{Mode: 0o755}); err != nil {
				b.Fatal(err)
			}
			e.Tree().Key()
		}
	})
}

func BenchmarkDiff(b *testing.B) {
	paths := names(15_000, 20)
	root := build(b, nil, paths)
	e := Edit(root)
	if err := e.Remove(paths[7777]); err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string][2]*Node{
		"one file changed": {root, e.Tree()}, "nothing shared": {root, build(b, nil, paths)}, "everything": {nil, root},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Diff(c[0], c[1])
			}
		})
	}
}

func BenchmarkApply(b *testing.B) {
	changes := Diff(nil, build(b, nil, names(15_000, 20)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Apply(nil, changes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	changes := Diff(nil, build(b, nil, names(15_000, 20)))
	enc := Marshal(changes)
	b.Run("marshal", func(b *testing.B) {
		b.ReportMetric(float64(len(enc))/15_000, "B/file")
		for b.Loop() {
			Marshal(changes)
		}
	})
	b.Run("unmarshal", func(b *testing.B) {
		for b.Loop() {
			if _, err := Unmarshal(enc); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// One Put and one Lookup of the directory in turn: no copy of 50,000 names each time.
func BenchmarkPutAndSnapshot(b *testing.B) {
	paths := names(50_000, 50_000)
	root := build(b, nil, paths)
	dir, _ := splitLast(paths[0])
	e, i := Edit(root), 0
	b.ReportAllocs()
	for b.Loop() {
		i++
		if err := e.Put(paths[i*7919%len(paths)], NewFifo(Meta{})); err != nil {
			b.Fatal(err)
		}
		e.Lookup(dir)
	}
}
