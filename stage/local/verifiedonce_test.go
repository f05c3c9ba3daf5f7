package local_test

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/source"
)

// changingFS gives a file another content from its second opening on.
type changingFS struct {
	fstest.MapFS
	name  string
	then  []byte
	opens int
}

func (f *changingFS) Open(name string) (fs.File, error) {
	if name == f.name {
		if f.opens++; f.opens > 1 {
			return fstest.MapFS{name: {Data: f.then, Mode: 0o644}}.Open(name)
		}
	}
	return f.MapFS.Open(name)
}

// ReadFile hides the method of MapFS.
func (f *changingFS) ReadFile(name string) ([]byte, error) { return f.MapFS.ReadFile(name) }

// TestLayerOfChangedFile: a file that is not what it was when its digest was taken ends the build, by its name, however it differs.
func TestLayerOfChangedFile(t *testing.T) {
	const before = "what it was"
	for name, then := range map[string]string{"other bytes": "what it Was", "shorter": "what", "empty": "", "longer": before + "!"} {
		files := &changingFS{MapFS: fstest.MapFS{"d/f": {Data: []byte(before), Mode: 0o644}, "d/g": {Data: []byte("else"), Mode: 0o644}}, name: "d/f", then: []byte(then)}
		g := compile(t, stage.Scratch().Copy(".", "/srv"))
		res, err := executorOn(t, cache.NewMemory()).Execute(t.Context(), g, stage.Request{Context: stage.FS(files)})
		if err == nil {
			res.Close()
		}
		if changed, ok := errors.AsType[*source.ChangedError](err); !ok || changed.Path != "d/f" {
			t.Errorf("%s: %v", name, err)
		}
		if files.opens < 2 {
			t.Errorf("%s: the control: it was opened %d times", name, files.opens)
		}
	}
}
