//go:build linux

package snapshot_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
)

// A layer becomes a lower directory, a step writes to an upper, and the upper becomes the next layer.
func Example() {
	ctx := context.Background()
	cache, err := os.MkdirTemp("", "snapshot-example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(cache)
	store, err := snapshot.Open(cache, snapshot.Options{})
	if err != nil {
		panic(err)
	}
	defer store.Close()

	text := []byte("hello\n")
	edit := tree.Edit(nil)
	_ = edit.Put("greeting", tree.NewFile(tree.Meta{Mode: 0o644}, sha256.Sum256(text), int64(len(text)), 0))
	base := edit.Tree()
	open := func(tree.Digest) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text)), nil }
	lower, err := store.Layer(ctx, base.Identity(), base, tree.Diff(nil, base), open)
	if err != nil {
		panic(err)
	}
	onDisk, _ := os.ReadFile(filepath.Join(lower, "greeting"))
	fmt.Printf("lower: %s", onDisk)

	upper, err := store.NewUpper(ctx, base)
	if err != nil {
		panic(err)
	}
	defer upper.Discard()
	// A process in an overlay of upper.Dir on lower would do this:
	_ = os.WriteFile(filepath.Join(upper.Dir, "answer"), []byte("hi\n"), 0o600)

	changes, err := upper.Scan(ctx, base, snapshot.ScanOptions{Epoch: time.Unix(0, 0)})
	if err != nil {
		panic(err)
	}
	for _, c := range changes {
		fmt.Printf("changed: %s %s %o\n", c.Path, c.Node.Kind(), c.Node.Meta().Mode)
	}
	id := tree.Digest(sha256.Sum256(tree.Marshal(changes)))
	if _, err := upper.Adopt(ctx, id, changes); err != nil {
		panic(err)
	}
	fmt.Println("kept:", store.Has(id))
	// Output:
	// lower: hello
	// changed: answer file 600
	// kept: true
}
