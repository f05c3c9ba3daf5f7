package archive_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/internal/imagetest"
)

// TestWriteDockerIsTheFile: a stream has the bytes of the file, and one that cannot be whole says so.
func TestWriteDockerIsTheFile(t *testing.T) {
	var opens imagetest.Opens
	a := image.Artifact{Index: imagetest.Index(t, &opens, "text")}
	path := filepath.Join(t.TempDir(), "app.tar")
	imagetest.Write(t, archive.Docker(path, "app", "app:2"), a)
	var buf bytes.Buffer
	if err := archive.WriteDocker(t.Context(), &buf, archive.Options{}, a, "app", "app:2"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(buf.Bytes(), must(os.ReadFile(path))) || opens.Load() != 2 {
		t.Errorf("the stream differs from the file, or more than its layer was opened: %d", opens.Load())
	}
	broken := imagetest.Make(t, image.Spec{Layers: []v1.Layer{imagetest.Broken(1000, nil)}, File: imagetest.File("linux", "amd64")})
	if err := archive.WriteDocker(t.Context(), &buf, archive.Options{}, image.Artifact{Image: broken}); !errors.Is(err, imagetest.ErrBroken) {
		t.Errorf("error %v", err)
	}
}
