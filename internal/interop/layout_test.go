package interop

import (
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	gcrlayout "github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/archive"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/internal/interop/listing"
)

// write hands an artifact to a sink.
func write(t testing.TB, s image.Sink, a image.Artifact) {
	t.Helper()
	if err := s.Write(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

// skopeoReads has skopeo read an index at a place that it knows as ref, such as "oci:DIR:TAG", and copy it with every layer of every platform.
func skopeoReads(t *testing.T, medium, ref string, b *variant, options ...string) {
	t.Helper()
	tool(t, "skopeo", "skopeo")
	skopeo := func(args ...string) string { return run(t, command{args: append([]string{"skopeo"}, args...)}) }
	inspect := append([]string{"inspect", "--raw"}, options...)
	equal(t, medium+": digest", b.digest, hash([]byte(skopeo(append(inspect, ref)...))).String())
	for _, i := range b.images {
		config := skopeo(append([]string{"--override-os", i.platform.OS, "--override-arch", i.platform.Architecture}, append(inspect, "--config", ref)...)...)
		equal(t, medium+": config of "+i.platform.String(), string(i.config), config)
	}
	copied := "dir:" + filepath.Join(t.TempDir(), "copy")
	from := []string{"copy", "-q", "--all", "--preserve-digests"}
	for _, o := range options {
		from = append(from, "--src-"+o[2:])
	}
	skopeo(append(from, ref, copied)...)
	equal(t, medium+": digest of the copy", b.digest, hash([]byte(skopeo("inspect", "--raw", copied))).String())
	compared(t, medium, "skopeo inspect --raw, copy", b.name, "digest", "config", "layers")
}

func TestLayout(t *testing.T) {
	for _, b := range only(fixtures(t), "grouped", "deep", "zstd", "tar") {
		t.Run(b.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "oci")
			write(t, layout.Dir(path, "app:1.0", "other"), b.artifact)
			index, err := gcrlayout.ImageIndexFromPath(path)
			if err != nil {
				t.Fatal(err)
			}
			validates(t, "OCI layout", b, index)
			skopeoReads(t, "OCI layout", "oci:"+path+":1.0", b)
			for _, i := range b.images {
				if b.name != "zstd" { // newer than Debian's umoci
					umociUnpacks(t, b, i)
				}
			}
		})
	}
}

// validates has go-containerregistry compare everything with everything. It takes every layer for gzip, so of others only the descriptors.
func validates(t *testing.T, medium string, b *variant, index v1.ImageIndex) {
	t.Helper()
	var options []validate.Option
	what := []string{"digest", "config", "layers"}
	if b.name == "zstd" || b.name == "tar" {
		options, what = append(options, validate.Fast), what[:2]
	}
	if err := validate.Index(index, options...); err != nil {
		t.Error(err)
	}
	compared(t, medium, "go-containerregistry validate", b.name, what...)
}

// umociUnpacks has umoci unpack one image: of an index it would not know which one is wanted.
func umociUnpacks(t *testing.T, b *variant, i builtImage) {
	t.Helper()
	tool(t, "umoci", "umoci")
	dir := t.TempDir()
	oci, bundle := filepath.Join(dir, "oci"), filepath.Join(dir, "bundle")
	write(t, layout.Dir(oci, "app:1.0"), image.Artifact{Image: i.image})
	run(t, command{args: []string{"umoci", "unpack", "--image", oci + ":1.0", bundle}})
	got, err := listing.Read(filepath.Join(bundle, "rootfs"), listing.Options{Skip: listing.AddedByEngines, Xattrs: listing.Stored})
	if err != nil {
		t.Fatal(err)
	}
	sameFiles(t, "umoci unpack, "+i.platform.String(), i.files, got)
	bundleConfig(t, filepath.Join(bundle, "config.json"), i)
	compared(t, "OCI layout", "umoci unpack", b.name+" "+i.platform.Architecture, "files", "process")
}

func TestOCIArchive(t *testing.T) {
	for _, b := range only(fixtures(t), "grouped", "deep", "zstd", "tar") {
		t.Run(b.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.tar")
			write(t, archive.OCI(path, "app:1.0"), b.artifact)
			skopeoReads(t, "OCI archive", "oci-archive:"+path+":1.0", b)
		})
	}
}
