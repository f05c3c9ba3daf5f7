package stagetest_test

import (
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/stagetest"
)

func ExampleMustHit() {
	test := func(t testing.TB) {
		source := fstest.MapFS{"go.mod": {Data: []byte("module app\n")}, "main.go": {Data: []byte("package main\n")}}
		o := stagewright.Options{Context: stagewright.FS(source), CacheDir: t.TempDir(), Runner: stagetest.Script{"": {}}}

		deps := stage.Scratch().
			Copy("go.mod", "/src/").
			Run("go mod download")
		app := deps.
			Copy(".", "/src/").
			Run("go build .")

		stagetest.ImageWith(t, app, o)
		source["main.go"] = &fstest.MapFile{Data: []byte("package main // changed\n")}
		again := stagetest.ImageWith(t, app, o)
		stagetest.MustHit(t, again, deps) // passes
		stagetest.MustHit(t, again)
	}
	show(test)
	// Output:
	// stagetest: 2 steps ran that should have been in the cache:
	// hit_example_test.go:21: COPY . /src/
	// 	main.go: content
	// hit_example_test.go:22: RUN /bin/sh -c go build .
	// 	stands on COPY . /src/, which changed (hit_example_test.go:21)
}
