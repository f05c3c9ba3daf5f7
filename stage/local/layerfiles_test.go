package local_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

// TestLayerAfterEditOfLargeFiles edits files that are larger than a block, in a directory, whose blocks are taken over while their bytes
// are read: the image is the one of a build that has no earlier layer, also when that is damaged.
func TestLayerAfterEditOfLargeFiles(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	dir := t.TempDir()
	names := []string{"a", "b/small", "c", "d"}
	content := map[string][]byte{}
	for _, name := range names {
		n := 2<<20 + r.IntN(1<<20)
		if name == "b/small" {
			n = 1000
		}
		content[name] = randomBytes(r, n)
	}
	for i := range content["d"] {
		content["d"][i] = byte(r.Uint32()) // nothing that gets smaller
	}
	write := func(name string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content[name], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image := func(e stage.Executor) v1.Hash {
		t.Helper()
		res := build(t, e, stage.Scratch().Copy(".", "/srv"), stage.Request{Context: stage.Dir(dir)})
		digest, err := res.Outputs()[0].Image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	for _, name := range names {
		write(name)
	}
	store := &damagedStore{Store: cache.NewMemory()}
	e := executorOn(t, store)
	image(e)
	for round := range 8 {
		name := names[round%len(names)]
		data := content[name]
		switch round {
		case 2: // what is behind it moves
			content[name] = append(data, fmt.Sprint(round)...)
		case 6:
			content[name] = data[:len(data)/2]
		default:
			data[r.IntN(len(data))] ^= 1
		}
		write(name)
		store.bad = round%4 == 3
		got := image(e)
		store.bad = false
		if want := image(executorOn(t, cache.NewMemory())); got != want {
			t.Fatalf("round %d: the image is %s, without an earlier layer it is %s", round, got, want)
		}
	}
	if store.given.Load() == 0 {
		t.Error("the control: no damaged byte was read")
	}
}
