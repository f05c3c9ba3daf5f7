//go:build linux

package snapshot

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/tree"
)

// goTree is the Go toolchain of this machine as a tree, with an opener that gives files.
func goTree(b *testing.B) (*tree.Node, tree.Opener) {
	b.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		b.Skip("no Go toolchain on this machine: ", err)
	}
	dir := strings.TrimSpace(string(out))
	paths := map[tree.Digest]string{}
	e := tree.Edit(nil)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		if d.IsDir() {
			return e.Put(rel, tree.NewDir(tree.Meta{Mode: 0o755}))
		}
		if !d.Type().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sum := tree.Digest(sha256.Sum256(data))
		paths[sum] = path
		return e.Put(rel, tree.NewFile(tree.Meta{Mode: 0o644}, sum, int64(len(data)), 0))
	})
	if err != nil {
		b.Skip(err)
	}
	return e.Tree(), func(d tree.Digest) (io.ReadCloser, error) { return os.Open(paths[d]) }
}

func BenchmarkLayerOfAGoToolchain(b *testing.B) {
	full, open := goTree(b)
	changes := tree.Diff(nil, full)
	dir := tempDir(b)
	s := openStore(b, dir)
	i := 0
	for b.Loop() {
		i++
		if _, err := s.Layer(b.Context(), digestOf(fmt.Sprint(i)), full, changes, open); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(changes)), "entries")
}

// What a process pays once for a layer that is there: the seal of a Go toolchain.
func BenchmarkFirstUseOfAGoToolchain(b *testing.B) {
	full, open := goTree(b)
	dir := tempDir(b)
	changes := tree.Diff(nil, full)
	id := full.Identity()
	if _, err := openStore(b, dir).Layer(b.Context(), id, full, changes, open); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s := openStore(b, dir)
		if _, err := s.Layer(b.Context(), id, full, changes, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkScan50kEntries(b *testing.B) {
	u := mustUpper(b, openStore(b, tempDir(b)), nil)
	data := make([]byte, 2000)
	for d := range 500 {
		dir := fmt.Sprintf("%s/%d", u.Dir, d)
		if err := os.Mkdir(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range 100 {
			if err := os.WriteFile(fmt.Sprintf("%s/%d", dir, f), data, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		if _, err := u.Scan(b.Context(), nil, ScanOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// What one small step costs here: a new upper, its scan and adoption.
func BenchmarkTinyUpperRoundTrip(b *testing.B) {
	var c contents
	base := c.parse(b, `d / 0755 0:0
		d a 0755 0:0`)
	s := openStore(b, tempDir(b))
	i := 0
	for b.Loop() {
		i++
		u := mustUpper(b, s, base)
		if err := first(os.Mkdir(u.Dir+"/a", 0o755), os.WriteFile(u.Dir+"/a/x", []byte("x"), 0o644)); err != nil {
			b.Fatal(err)
		}
		changes, err := u.Scan(b.Context(), base, ScanOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := u.Adopt(b.Context(), digestOf(fmt.Sprint(i)), changes); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHas(b *testing.B) {
	var c contents
	full := c.parse(b, smallTree)
	s := openStore(b, tempDir(b))
	mustLayer(b, s, &c, nil, full)
	id := full.Identity()
	for b.Loop() {
		if !s.Has(id) {
			b.Fatal("gone")
		}
	}
}

func BenchmarkLayerThatIsThere(b *testing.B) {
	var c contents
	full := c.parse(b, smallTree)
	s := openStore(b, tempDir(b))
	changes := tree.Diff(nil, full)
	for b.Loop() {
		if _, err := s.Layer(b.Context(), full.Identity(), full, changes, c.open); err != nil {
			b.Fatal(err)
		}
	}
}
