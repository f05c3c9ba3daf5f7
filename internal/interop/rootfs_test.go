package interop

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stagewright/stagewright/image/rootfs"
	"github.com/stagewright/stagewright/internal/interop/listing"
)

// TestRootfs has the kernel read the directory, and GNU tar unpack the tar file.
func TestRootfs(t *testing.T) {
	for _, b := range only(fixtures(t), "grouped", "deep", "zstd") {
		t.Run(b.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			write(t, rootfs.Dir(dir), b.artifact)
			sameRootfs(t, b, "root filesystem", "the kernel", dir)

			file, unpacked := filepath.Join(t.TempDir(), "root.tar"), filepath.Join(t.TempDir(), "unpacked")
			write(t, rootfs.Tar(file), b.artifact)
			if err := os.Mkdir(unpacked, 0o755); err != nil {
				t.Fatal(err)
			}
			run(t, command{args: []string{"tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf", file, "-C", unpacked}})
			sameRootfs(t, b, "root filesystem tar", "GNU tar", unpacked)
		})
	}
}

// sameRootfs compares the directories that an index becomes.
func sameRootfs(t *testing.T, b *variant, medium, program, dir string) {
	t.Helper()
	for _, i := range b.images {
		at := filepath.Join(dir, i.platform.OS+"_"+i.platform.Architecture)
		got, err := listing.Read(at, listing.Options{Skip: listing.AddedByEngines, Xattrs: listing.Stored})
		if err != nil {
			t.Fatal(err)
		}
		sameFiles(t, medium+", "+i.platform.String(), i.files, got)
	}
	compared(t, medium, program, b.name, "files")
}
