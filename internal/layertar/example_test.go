package layertar_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
)

func Example() {
	const text = "hello\n"
	e := tree.Edit(nil)
	if err := e.Put("motd", tree.NewFile(tree.Meta{Mode: 0o644}, sha256.Sum256([]byte(text)), int64(len(text)), 0)); err != nil {
		fmt.Println(err)
	}
	open := func(tree.Digest) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }

	var layer bytes.Buffer
	if err := layertar.Write(&layer, tree.Diff(nil, e.Tree()), open); err != nil {
		fmt.Println(err)
	}
	index, err := layertar.Read(&layer, layertar.Limits{})
	if err != nil {
		fmt.Println(err)
	}
	after, err := index.Apply(nil)
	fmt.Println(after.Identity() == e.Tree().Identity(), index.Offsets["motd"], err)
	// Output: true 512 <nil>
}
