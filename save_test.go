package stagewright_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
)

func TestSave(t *testing.T) {
	builder := stage.Scratch(stage.As("builder")).
		File("/out/app", "binary", stage.Mode(0o750), stage.Owner("7:8")).File("/out/share/doc", "text").Symlink("app", "/out/latest")
	target := stage.Scratch().CopyFrom(builder, "/out/app", "/app")
	res, err := stagewright.Build(t.Context(), target, stagewright.Options{Store: cache.NewMemory()})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	dir := t.TempDir()
	if err := res.Save(t.Context(), builder, "/out", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(filepath.Join(dir, "out", "latest"))
	if err != nil || fi.Mode() != 0o750 {
		t.Errorf("%v, %v", fi, err)
	}
	if err := res.Save(t.Context(), target, "app", filepath.Join(dir, "out", "app")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if err := res.Save(t.Context(), builder, "/none", filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "/none") {
		t.Errorf("a path that is not there: %v", err)
	}
	if err := res.Save(t.Context(), stage.Scratch(stage.As("other")).File("/x", "x"), "x", filepath.Join(dir, "x")); !errors.Is(err, stage.ErrUnknownStage) {
		t.Errorf("a stage that is not in the build: %v", err)
	}
}

// A program that one stage has compiled, without the rest of its image.
func ExampleResult_Save() {
	dir, err := os.MkdirTemp("", "save")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	builder := stage.Scratch(stage.As("builder")).File("/out/app", "what a compiler would write here\n", stage.Mode(0o755))
	ctx := context.Background()
	res, err := stagewright.Build(ctx, builder, stagewright.Options{Store: cache.NewMemory()})
	if err != nil {
		log.Fatal(err)
	}
	defer res.Close()
	if err := res.Save(ctx, builder, "/out/app", filepath.Join(dir, "bin", "app")); err != nil {
		log.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "bin", "app"))
	fmt.Print(string(text))
	// Output: what a compiler would write here
}
