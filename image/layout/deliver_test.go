package layout_test

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/layout"
)

// TestDeliveries: what was sent and what was there, of the media that are files.
func TestDeliveries(t *testing.T) {
	var opens imagetest.Opens
	const layerSize = 5 << 20 / 2
	img := image.Artifact{Image: imagetest.Big(t, &opens, layerSize)}
	blobs := 3 // layer, config, manifest
	dir := t.TempDir()
	for name, sink := range map[string]func(refs ...string) image.Sink{
		"layout":         func(refs ...string) image.Sink { return layout.Dir(filepath.Join(dir, "layout"), refs...) },
		"OCI archive":    func(refs ...string) image.Sink { return archive.OCI(filepath.Join(dir, "oci.tar"), refs...) },
		"Docker archive": func(refs ...string) image.Sink { return archive.Docker(filepath.Join(dir, "docker.tar"), refs...) },
	} {
		var mu sync.Mutex
		moved := map[string][]int64{}
		first, err := image.Deliver(t.Context(), sink("app:1"), img, func(at image.Transfer) {
			mu.Lock()
			defer mu.Unlock()
			moved[at.What] = append(moved[at.What], at.Done)
		})
		if err != nil {
			t.Fatal(err)
		}
		if first.How != "written" || first.Blobs != blobs || first.Skipped != 0 || first.Bytes < layerSize || first.Sink == "" ||
			!slices.Equal(first.Refs, []string{"docker.io/library/app:1"}) {
			t.Errorf("%s: %+v", name, first)
		}
		m, err := img.Image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		of := moved[m.Layers[0].Digest.String()]
		if len(moved) != blobs || len(of) < 2 || of[len(of)-1] != layerSize || !slices.IsSorted(of) {
			t.Errorf("%s: moved %v", name, moved)
		}
		again, err := image.Deliver(t.Context(), sink("app:1"), img, func(at image.Transfer) { t.Errorf("%s: moved again: %+v", name, at) })
		if err != nil || again.How != "there already" || again.Blobs != 0 || again.Bytes != 0 || again.Skipped != blobs {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
	named, err := image.Deliver(t.Context(), layout.Dir(filepath.Join(dir, "layout"), "other:1"), img, nil)
	if err != nil || named.How != "written" || named.Blobs != 0 || named.Skipped != blobs {
		t.Errorf("another name: %+v, %v", named, err)
	}
	for _, sink := range []image.Sink{layout.Dir(""), archive.OCI("")} {
		if err := sink.Write(t.Context(), img); err == nil {
			t.Errorf("%s was written", sink)
		}
	}
}
