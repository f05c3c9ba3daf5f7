package dockerfile_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

// FuzzDockerfile: no text makes a panic; every mistake has a place inside the text; what
// can be read can be compiled, or its mistakes be told.
func FuzzDockerfile(f *testing.F) {
	seeds := 0
	for _, file := range []string{"testdata/frontend.txt", "testdata/mistakes.txt"} {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for part := range bytes.SplitSeq(data, []byte("\n=== ")) {
			_, text, _ := bytes.Cut(part, []byte("\n"))
			f.Add(text)
			seeds++
		}
	}
	if seeds < 160 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := bytes.Count(text, []byte("\n")) + 1
		file, err := dockerfile.Parse("Dockerfile", text, dockerfile.Options{})
		if err != nil {
			checkPlaces(t, err, lines)
			return
		}
		for _, w := range file.Warnings() {
			if w.Pos.Line < 1 || w.Pos.Line > lines || w.Rule == "" || w.Message == "" {
				t.Errorf("warning %+v of a text of %d lines", w, lines)
			}
		}
		file.Args()
		for _, target := range append(file.Stages(), "", "nobody") {
			s, err := file.Target(target)
			if err != nil {
				checkPlaces(t, err, lines)
				continue
			}
			_, err = stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{
				Args: arg.Values{"A": "given", "HTTP_PROXY": "http://p"}, Resolver: frontendBases{}, OnBuild: file.OnBuild,
			})
			if err != nil {
				checkPlaces(t, err, lines)
			}
			if _, err = stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{OnBuild: file.OnBuild}); err != nil {
				checkPlaces(t, err, lines)
			}
		}
	})
}

func checkPlaces(t *testing.T, err error, lines int) {
	t.Helper()
	var list stage.Errors
	if !errors.As(err, &list) {
		var one *stage.Error
		var lint *dockerfile.LintError
		if !errors.As(err, &one) && !errors.As(err, &lint) {
			t.Errorf("error %T: %v", err, err)
		}
		return
	}
	for _, e := range list {
		if e.Pos.File != "Dockerfile" || e.Pos.Line < 1 || e.Pos.Line > lines || e.Error() == "" {
			t.Errorf("%v: at %+v of a text of %d lines", e, e.Pos, lines)
		}
	}
}
