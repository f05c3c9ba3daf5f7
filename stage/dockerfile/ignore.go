package dockerfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stagewright/stagewright/stage"
)

// Context is a directory as the build context of the Dockerfile at path: with the rules
// of PATH.dockerignore where that file exists, else with those of the directory's
// .dockerignore, if there is one. An empty path is a Dockerfile that comes from elsewhere.
//
// It only looks whether the file exists; the build reads it, and reports what is wrong in
// it. The error is that of looking.
func Context(dir, path string) (stage.DirSource, error) {
	source := stage.Dir(dir)
	if path == "" {
		return source, nil
	}
	name := path + ".dockerignore"
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		return source, nil
	} else if err != nil {
		return stage.DirSource{}, fmt.Errorf("ignore file: %w", err)
	}
	if rel, err := filepath.Rel(dir, name); err == nil && filepath.IsLocal(rel) {
		source.IgnoreFile = filepath.ToSlash(rel)
		return source, nil
	}
	name, err := filepath.Abs(name)
	if err != nil {
		return stage.DirSource{}, fmt.Errorf("ignore file: %w", err)
	}
	source.IgnoreFile = name
	return source, nil
}
