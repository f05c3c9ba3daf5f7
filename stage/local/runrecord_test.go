package local_test

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// What a Run changed is in its record when it is little, and a blob else: one more file, and one to wait for.
func TestSmallChangesAreNoBlob(t *testing.T) {
	dir := t.TempDir()
	base := shell(t)
	blobs := func(s stage.Stage) (n int) {
		e := executor(t, dir, local.Options{})
		digest(t, build(t, e, s, stage.Request{}))
		again := build(t, e, s, stage.Request{})
		if again.Report().Ran() != 0 {
			t.Errorf("%d steps ran again", again.Report().Ran())
		}
		err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	none := blobs(base)
	few := blobs(base.Run("echo x > /f"))
	many := blobs(base.Run("for i in $(seq 200); do echo $i > /f$i; done"))
	if few-none+1 != many-few {
		t.Errorf("%d blobs more for one file, %d for 200: want one more", few-none, many-few)
	}
}
