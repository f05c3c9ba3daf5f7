package stagetest_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/stagetest"
)

// TestWhatATestIsTold: of what works nothing, of a failure all.
func TestWhatATestIsTold(t *testing.T) {
	noisy := stagetest.Script{
		"good": {Stdout: "compiled\n"},
		"bad":  {Stderr: "it does not compile\n", Code: 2},
	}
	for _, test := range []struct {
		name string
		test func(t testing.TB)
		want []string
		not  []string
	}{
		{name: "nothing wrong", test: func(t testing.TB) {
			stagetest.ImageWith(t, stage.Scratch().Run("good"), stagewright.Options{Runner: noisy})
		}},
		{name: "two mistakes", test: func(t testing.TB) {
			stagetest.Image(t, stage.Scratch().File("", "x").Env("", "y"))
		}, want: []string{"the build failed: 2 mistakes\n", "FILE", "ENV"}},
		{name: "one mistake", test: func(t testing.TB) {
			stagetest.Image(t, stage.Scratch().Copy("app", "/"))
		}, want: []string{"the build failed: ", "image_test.go:", "COPY app /"}, not: []string{"mistakes"}},
		{name: "a step fails", test: func(t testing.TB) {
			stagetest.ImageWith(t, stage.Scratch().Run("good").Run("bad"), stagewright.Options{Runner: noisy})
		}, want: []string{"what the build of", "| compiled", "| it does not compile", "exit code 2"}},
		{name: "the test fails after a command", test: func(t testing.TB) {
			stagetest.ImageWith(t, stage.Scratch().Run("good"), stagewright.Options{Runner: noisy}).WantUser("x")
		}, want: []string{"the user", "what the build of", "| compiled"}},
		{name: "the test fails without a command", test: func(t testing.TB) {
			stagetest.Image(t, stage.Scratch().File("/a", "")).WantUser("x")
		}, want: []string{"the user"}, not: []string{"what the build of"}},
		{name: "an unknown platform", test: func(t testing.TB) {
			stagetest.Image(t, stage.Scratch()).For("plan9/386")
		}, want: []string{"no image for plan9/386", "linux/"}},
		{name: "no platform", test: func(t testing.TB) { stagetest.Image(t, stage.Scratch()).For("linux") }, want: []string{`"linux"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := try(test.test)
			told := f.String()
			if f.failed != (len(test.want) > 0) || len(test.want) == 0 && told != "" {
				t.Errorf("failed: %v; told\n%s", f.failed, told)
			}
			for _, want := range test.want {
				if !strings.Contains(told, want) {
					t.Errorf("the test is not told %q but\n%s", want, told)
				}
			}
			for _, not := range test.not {
				if strings.Contains(told, not) {
					t.Errorf("the test is told %q:\n%s", not, told)
				}
			}
		})
	}
}

// A build that says more than anybody reads is told from near its end.
func TestLongOutput(t *testing.T) {
	long := stagetest.Script{"": {Stdout: strings.Repeat("a line of output that nobody reads\n", 20_000) + "the last line\n", Code: 1}}
	told := try(func(t testing.TB) {
		stagetest.ImageWith(t, stage.Scratch().Run("x"), stagewright.Options{Runner: long})
	}).String()
	if len(told) > 200_000 || !strings.Contains(told, "the beginning is left out") || !strings.Contains(told, "the last line") {
		t.Errorf("%d bytes: %.200s", len(told), told)
	}
}

// Only what needs the shared cache uses it.
func TestWhere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("os.UserCacheDir is told where by XDG_CACHE_HOME only on Linux")
	}
	reg := stagetest.Registry(t)
	reg.Push("base:1", stage.Scratch().File("/a", "a"))
	file := stage.Scratch().File("/a", "a")
	nothing := stagetest.Script{"": {}}
	for _, test := range []struct {
		name    string
		target  stage.Stage
		options func(dir string) stagewright.Options
		shared  bool
	}{
		{"files", file, nil, false},
		{"a mistake", stage.Scratch().File("", ""), nil, false},
		{"a base of this test", stage.From(reg.Ref("base:1")).File("/b", "b"), nil, false},
		{"a base from elsewhere", stage.From("registry.invalid/base:1").File("/b", "b"), nil, true},
		{"a Run step", file.Run("exit 1"), nil, true},
		{"a Run step of another stage", stage.Scratch().CopyFrom(file.Run("exit 1"), "/a", "/"), nil, true},
		{"a Run step that is chosen", stage.ForPlatform(func(platform.Platform) stage.Stage { return file.Run("exit 1") }), nil, true},
		{"a download", stage.Scratch().CopyFrom(stage.HTTPUnchecked("http://registry.invalid/file"), ".", "/"), nil, true},
		{"a repository", stage.Scratch().CopyFrom(stage.Git("https://registry.invalid/x.git"), ".", "/"), nil, true},
		{"a repository as context", stage.Scratch().Copy(".", "/"), func(string) stagewright.Options {
			return stagewright.Options{Context: stage.Git("https://registry.invalid/x.git")}
		}, true},
		// What a Runner of the test makes up must never be taken for real.
		{"a Runner", file.Run("x"), func(string) stagewright.Options { return stagewright.Options{Runner: nothing} }, false},
		{"a directory", file.Run("x"), func(dir string) stagewright.Options {
			return stagewright.Options{Runner: nothing, CacheDir: filepath.Join(dir, "mine")}
		}, false},
		{"a store", file.Run("exit 1"), func(string) stagewright.Options { return stagewright.Options{Store: cache.NewMemory()} }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("XDG_CACHE_HOME", home)
			var o stagewright.Options
			if test.options != nil {
				o = test.options(t.TempDir())
			}
			try(func(t testing.TB) { stagetest.ImageWith(t, test.target, o) }) // some fail, after they have opened their cache
			if _, err := os.Stat(filepath.Join(home, "stagewright")); (err == nil) != test.shared {
				t.Errorf("the shared cache: %v", err)
			}
		})
	}
}

// All is released when the test ends, also what it made on disk to run something.
func TestCleansUp(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("Run steps need Linux")
	}
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var during int
	f := try(func(t testing.TB) {
		runner := stagetest.Script{"": {Files: fstest.MapFS{"made": {Data: []byte("x")}}}}
		img := stagetest.ImageWith(t, stage.Scratch().Run("x"), stagewright.Options{Runner: runner})
		img.File("/made").WantContent("x")
		during = len(names(t, tmp))
		reg := stagetest.Registry(t)
		reg.Push("a", stage.Scratch().File("/a", ""))
		reg.Pull("a").File("/a").WantContent("")
	})
	if left := names(t, tmp); f.failed || during == 0 || len(left) != 0 {
		t.Errorf("during the test %d, left %q; %s", during, left, f)
	}
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// The test's own Progress and Sinks get what they would without stagetest.
func TestOptionsArePassedOn(t *testing.T) {
	events := 0
	stagetest.ImageWith(t, stage.Scratch().File("/a", "a"), stagewright.Options{
		Progress: func(stage.Event) { events++ },
		Labels:   map[string]string{"a": "b"},
	}).WantLabel("a", "b")
	if events == 0 {
		t.Error("Progress was not called")
	}
}

func TestCloseTwice(t *testing.T) {
	img := stagetest.Image(t, stage.Scratch().File("/a", "a"))
	if err := errors.Join(img.Close(), img.Close()); err != nil {
		t.Error(err)
	}
}

// Ten thousand images leave nothing behind: no memory, no goroutine, no open file.
func TestNoGrowth(t *testing.T) {
	if testing.Short() {
		t.Skip("ten thousand builds")
	}
	one := func() {
		f := try(func(t testing.TB) {
			img := stagetest.ImageWith(t, stage.Scratch().Copy(".", "/").Cmd("/app"), threeFiles)
			img.File("/etc/config.yaml").WantContent("a: 1\n")
		})
		if f.failed {
			t.Fatal(f)
		}
	}
	for range 200 {
		one()
	}
	before := measure(t)
	for range 10_000 {
		one()
	}
	after := measure(t)
	t.Logf("before %+v, after %+v", before, after)
	if after.heap > before.heap+1<<20 || after.goroutines > before.goroutines || after.files > before.files {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// One test can make thousands when it closes them.
func TestClosedIsGarbage(t *testing.T) {
	app := stage.Scratch().Copy(".", "/").Cmd("/app")
	before := measure(t)
	const n = 500
	for range n {
		if err := stagetest.ImageWith(t, app, threeFiles).Close(); err != nil {
			t.Fatal(err)
		}
	}
	after := measure(t)
	if each := (after.heap - before.heap) / n; each > 2<<10 {
		t.Errorf("a closed image keeps %d bytes", each)
	}
}

type usage struct {
	heap              int64
	goroutines, files int
}

func measure(t *testing.T) usage {
	t.Helper()
	var m runtime.MemStats
	for range 3 { // what a finalizer frees is gone after the next collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	u := usage{heap: int64(m.HeapAlloc), goroutines: runtime.NumGoroutine()}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.files = len(open)
	}
	return u
}

var threeFiles = stagewright.Options{Context: stagewright.FS(fstest.MapFS{
	"app":             {Data: []byte("#!/bin/sh\necho hello\n"), Mode: 0o755},
	"etc/config.yaml": {Data: []byte("a: 1\n")},
	"etc/passwd":      {Data: []byte("root:x:0:0::/:/bin/sh\n")},
})}

// An image of three small files, to its digest. The budget is 1 ms.
func BenchmarkImage(b *testing.B) {
	app := stage.Scratch().Copy(".", "/").Cmd("/app")
	for b.Loop() {
		img := stagetest.ImageWith(b, app, threeFiles)
		if _, err := img.Digest(); err != nil {
			b.Fatal(err)
		}
		if err := img.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// The same with what a test does with it.
func BenchmarkImageAndChecks(b *testing.B) {
	app := stage.Scratch().Copy(".", "/").Cmd("/app")
	for b.Loop() {
		img := stagetest.ImageWith(b, app, threeFiles)
		img.File("/app").WantMode(0o755).WantOwner(0, 0)
		img.File("/etc/config.yaml").WantContent("a: 1\n")
		img.WantCmd("/app")
		if err := img.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
