package source

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func TestWhy(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f config.yaml x\nf config.yml x\nf src/main.go x\nf build/out/app x\nf Makefile x\nl link src\nf go.mod m")
	plant(t, dir, "f .dockerignore *.yaml")
	each(t, func(t *testing.T, open func(string) (beneath, error)) {
		d := mustDir(t, dir, DirOptions{Ignore: []string{"build"}})
		d.open = open
		in := "directory " + dir
		for path, want := range map[string]string{
			"config.yaml":     "config.yaml is in " + in + ", but .dockerignore:1 (*.yaml) ignores it",
			"build/out/app":   "build/out/app is in " + in + ", but DirOptions.Ignore:1 (build) ignores build",
			"src/main.go":     "src/main.go is a file in " + in,
			"./src/":          "src is a directory in " + in,
			"/":               ". is a directory in " + in,
			"makefile":        "makefile is not in " + in + "; did you mean Makefile",
			"srv/main.go":     "srv/main.go is not in " + in + ": there is no srv; did you mean src",
			"src/mian.go":     "src/mian.go is not in " + in + "; did you mean src/main.go",
			"confg.yml":       "confg.yml is not in " + in + "; near names are config.yml, config.yaml",
			"../../x":         "x is not in " + in,
			"link/main.go":    "link/main.go is not in " + in + ": link is a symbolic link",
			"Makefile/x":      "Makefile/x is not in " + in + ": Makefile is a file",
			"nothing like it": `"nothing like it" is not in ` + in,
			"a\x00b":          `"a\x00b" is not in ` + in,
		} {
			v, err := d.Why(path)
			if err != nil || v.String() != want {
				t.Errorf("Why(%q)\n got %s, %v\nwant %s", path, v, err, want)
			}
		}
		v, err := d.Why("build/out/app")
		if err != nil || !v.Exists || !v.Ignored || v.Rule != (Rule{"DirOptions.Ignore", 1, "build"}) || v.Hidden != "build" {
			t.Errorf("%+v, %v", v, err)
		}
	})
	f := FS(fstest.MapFS{"assets/logo.png": {}}, "assets")
	for path, want := range map[string]string{
		"assets/logo.pgn": "assets/logo.pgn is not in file system assets; did you mean assets/logo.png",
		"assets":          "assets is a directory in file system assets",
		"\xff":            `"\xff" is not in file system assets`,
	} {
		if v, err := f.Why(path); err != nil || v.String() != want {
			t.Errorf("Why(%q)\n got %s, %v\nwant %s", path, v, err, want)
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	long := strings.Repeat("\n", 100_000)
	for _, err := range []error{
		&ChangedError{Path: long}, &AccessError{Path: long, Err: errors.New("x")}, &LimitError{Path: long}, &IgnoreError{Rule: Rule{Line: 1, Pattern: long}, Err: errors.New("x")},
	} {
		if msg := err.Error(); len(msg) > 4000 || strings.Contains(msg, "\n") {
			t.Errorf("%T: message of %d bytes", err, len(msg))
		}
	}
}
