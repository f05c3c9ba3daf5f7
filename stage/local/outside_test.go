package local_test

import (
	"archive/tar"
	"bytes"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// TestLinksOfSourcesStayInside: a link of an archive or of a file system is one of its own
// tree, wherever it points: no file of this machine is found through it.
func TestLinksOfSourcesStayInside(t *testing.T) {
	targets := map[string]string{"abs": "/etc", "up": "../../../../../../../../../../etc", "self": ".", "loop": "loop", "top": "/"}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	fsys := fstest.MapFS{}
	for name, target := range targets {
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}); err != nil {
			t.Fatal(err)
		}
		fsys[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil }
	for _, src := range []stage.Source{stage.Tar(open, "links.tar"), stage.FS(fsys)} {
		for _, begin := range []stage.Stage{stage.Scratch(), stage.Scratch(stage.Compatible(stage.DockerRules{}))} {
			for _, path := range []string{"abs", "abs/", "abs/passwd", "up", "up/passwd", "loop", "loop/x", "top/abs/passwd", "self/up/passwd", "top/etc/passwd"} {
				for _, c := range []struct {
					target stage.Stage
					r      stage.Request
				}{
					{begin.CopyFrom(src, stage.Paths(stage.Files(path)), "/x/"), stage.Request{}},
					{begin.Copy(stage.Files(path), "/x/"), stage.Request{Context: src}},
				} {
					if res, err := memory(t, local.Options{}).Execute(t.Context(), compile(t, c.target), c.r); err == nil {
						res.Close()
						t.Errorf("%v: %s was copied", src, path)
					}
				}
			}
		}
	}
}
