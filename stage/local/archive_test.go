package local

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/stagewright/stagewright/internal/tree"
)

// TestUnpackEndsWithItsContext: also while nothing is written that would notice.
func TestUnpackEndsWithItsContext(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o755}), w.Close()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	a := &archive{ctx: ctx, name: "a.tar", open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }}
	unpack := func() error {
		return a.unpack(tree.Edit(nil), "", func(_ tree.Kind, m tree.Meta) tree.Meta { return m }, tree.Meta{})
	}
	if err := unpack(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := unpack(); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
}
