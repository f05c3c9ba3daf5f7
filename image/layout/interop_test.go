package layout_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
	"github.com/stagewright/stagewright/image/layout"
)

func TestSkopeoReadsIt(t *testing.T) {
	imagetest.Tool(t, "skopeo")
	var opens imagetest.Opens
	dir := filepath.Join(t.TempDir(), "oci")
	img := imagetest.Image(t, &opens, "one")
	imagetest.Write(t, layout.Dir(dir, "app:1.0"), image.Artifact{Image: img})
	imagetest.Write(t, layout.Dir(dir, "app:multi"), image.Artifact{Index: imagetest.Index(t, &opens, "many")})
	var got struct {
		Digest, Os, Architecture string
		Env                      []string
		Layers                   []string
	}
	if err := json.Unmarshal([]byte(imagetest.Output(t, "skopeo", "inspect", "oci:"+dir+":1.0")), &got); err != nil {
		t.Fatal(err)
	}
	digest, _ := img.Digest()
	if got.Digest != digest.String() || got.Os != "linux" || got.Architecture != "amd64" || len(got.Env) != 1 || len(got.Layers) != 1 {
		t.Errorf("%+v, want digest %s", got, digest)
	}
	imagetest.Output(t, "skopeo", "inspect", "--override-arch", "arm64", "oci:"+dir+":multi")

	// skopeo writes into our layout, we into skopeo's, and neither loses what the other wrote.
	theirs := filepath.Join(t.TempDir(), "theirs")
	imagetest.Output(t, "skopeo", "copy", "-q", "oci:"+dir+":1.0", "oci:"+theirs+":copy")
	imagetest.Write(t, layout.Dir(theirs, "app:2.0"), image.Artifact{Image: imagetest.Image(t, &opens, "two")})
	imagetest.Output(t, "skopeo", "copy", "-q", "oci:"+theirs+":2.0", "oci:"+dir+":from-theirs")
	for dir, refs := range map[string][]string{dir: {"app:1.0", "app:multi", "from-theirs"}, theirs: {"copy", "app:2.0"}} {
		for _, ref := range refs {
			if _, err := layout.Read(dir, ref); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestUmociUnpacksIt(t *testing.T) {
	imagetest.Tool(t, "umoci")
	var opens imagetest.Opens
	dir, bundle := filepath.Join(t.TempDir(), "oci"), filepath.Join(t.TempDir(), "bundle")
	imagetest.Write(t, layout.Dir(dir, "app:1.0"), image.Artifact{Image: imagetest.Image(t, &opens, "the text")})
	args := []string{"unpack", "--image", dir + ":1.0", bundle}
	if os.Geteuid() != 0 {
		args = append(args, "--rootless")
	}
	imagetest.Output(t, "umoci", args...)
	got, err := os.ReadFile(filepath.Join(bundle, "rootfs", "app"))
	if err != nil || string(got) != "the text" {
		t.Errorf("%q, %v", got, err)
	}
}
