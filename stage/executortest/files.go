package executortest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/stage"
)

// fileCases are about what file operations do.
var fileCases = []suiteCase{
	{"File", testFile},
	{"Mkdir", testMkdir},
	{"Symlink", testSymlink},
	{"Remove", testRemove},
	{"Workdir", testWorkdir},
	{"CopyContext", testCopyContext},
	{"CopyDestinations", testCopyDestinations},
	{"CopyFromDir", testCopyFromDir},
	{"CopyFromFS", testCopyFromFS},
	{"CopyFromStage", testCopyFromStage},
	{"CopyOptions", testCopyOptions},
	{"StageOnStage", testStageOnStage},
	{"Context", testContextKinds},
}

// want builds a stage and compares the files of its image and those that Files
// hands out with a listing.
func (f *fixture) want(s stage.Stage, r stage.Request, want ...string) {
	f.Helper()
	g, res := f.build(s, r)
	list, err := imageListing(res.Outputs()[0].Image)
	if err != nil {
		f.Fatalf("files of the image: %v", err)
	}
	if diff := cmp.Diff(want, list); diff != "" {
		f.Errorf("files of the image (-want +got):\n%s", diff)
	}
	fsys, err := res.Files(g.Targets()[0].Step)
	if err != nil {
		f.Fatalf("Files: %v", err)
	}
	list, err = fsListing(fsys)
	if err != nil {
		f.Fatalf("Files: %v", err)
	}
	if diff := cmp.Diff(withoutOwners(want), list); diff != "" {
		f.Errorf("Files of the last step (-want +got):\n%s", diff)
	}
}

func testFile(f *fixture) {
	s := stage.Scratch().
		Env("DIR", "etc").
		File("/a/b/hello", "world\n").
		File("/empty", "").
		File("/${DIR}/x", "$NOT ${EXPANDED}", stage.Mode(0o4750), stage.Owner("12:34")).
		File("/again", "old", stage.Mode(0o600)).
		File("/again", "new").
		File("late", "below the working directory")
	f.want(s, stage.Request{},
		`d 0755 0:0 a`,
		`d 0755 0:0 a/b`,
		`f 0644 0:0 a/b/hello "world\n"`,
		`f 0644 0:0 again "new"`,
		`f 0644 0:0 empty ""`,
		`d 0755 0:0 etc`,
		`f 4750 12:34 etc/x "$NOT ${EXPANDED}"`,
		`f 0644 0:0 late "below the working directory"`,
	)
}

func testMkdir(f *fixture) {
	s := stage.Scratch().
		Mkdir("/a/b/c").
		Mkdir("/tmp", stage.Mode(0o1777)).
		Mkdir("/own", stage.Owner("5:6"), stage.Mode(0o700)).
		Mkdir("/own") // there already: stays as it is
	f.want(s, stage.Request{},
		`d 0755 0:0 a`,
		`d 0755 0:0 a/b`,
		`d 0755 0:0 a/b/c`,
		`d 0700 5:6 own`,
		`d 1777 0:0 tmp`,
	)
}

func testSymlink(f *fixture) {
	s := stage.Scratch().
		File("/real/x", "1").
		Symlink("nowhere", "/dangling").
		Symlink("real", "/short").
		Symlink("/../../real", "/up"). // stays inside the root
		File("/short/y", "2").         // links above the path are followed
		File("/up/z", "3").
		Symlink("x", "/deep/down/link")
	f.want(s, stage.Request{},
		`l 0:0 dangling -> nowhere`,
		`d 0755 0:0 deep`,
		`d 0755 0:0 deep/down`,
		`l 0:0 deep/down/link -> x`,
		`d 0755 0:0 real`,
		`f 0644 0:0 real/x "1"`,
		`f 0644 0:0 real/y "2"`,
		`f 0644 0:0 real/z "3"`,
		`l 0:0 short -> real`,
		`l 0:0 up -> /../../real`,
	)
}

func testRemove(f *fixture) {
	s := stage.Scratch().
		File("/a/b/c", "1").
		File("/a/d", "2").
		File("/keep", "3").
		Symlink("keep", "/link").
		Remove("/a/b").
		Remove("/link"). // the link, not what it points to
		Remove("/nothing/here", stage.MayBeAbsent()).
		Remove("/a/d").
		File("/a/d", "4")
	f.want(s, stage.Request{},
		`d 0755 0:0 a`,
		`f 0644 0:0 a/d "4"`,
		`f 0644 0:0 keep "3"`,
	)
}

func testWorkdir(f *fixture) {
	s := stage.Scratch().
		Workdir("/srv/app").
		Workdir("data").
		User("7:8").
		Workdir("mine").
		File("here", "x")
	f.want(s, stage.Request{},
		`d 0755 0:0 srv`,
		`d 0755 0:0 srv/app`,
		`d 0755 0:0 srv/app/data`,
		`d 0755 7:8 srv/app/data/mine`,
		`f 0644 0:0 srv/app/data/mine/here "x"`,
	)
}

// tree writes a directory with the usual trouble in it: modes that a umask left,
// an executable, a link, an ignore file.
func (f *fixture) tree() string {
	f.Helper()
	dir := f.TempDir()
	for _, file := range []struct {
		path, content string
		mode          os.FileMode
	}{
		{".dockerignore", "*.log\nsecret\n", 0o644},
		{"main.go", "package main", 0o600},
		{"run.sh", "#!/bin/sh", 0o700},
		{"build.log", "noise", 0o644},
		{"secret/key", "s3cr3t", 0o600},
		{"sub/one.txt", "1", 0o664},
		{"sub/two.txt", "2", 0o640},
		{"sub/deep/three.md", "3", 0o644},
	} {
		path := filepath.Join(dir, filepath.FromSlash(file.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(file.content), file.mode); err != nil {
			f.Fatal(err)
		}
		if err := os.Chmod(path, file.mode); err != nil { // whatever the umask
			f.Fatal(err)
		}
	}
	if err := os.Symlink("one.txt", filepath.Join(dir, "sub", "link")); err != nil {
		f.Skipf("no symbolic links on this machine: %v", err)
	}
	return dir
}

func testCopyContext(f *fixture) {
	f.want(stage.Scratch().Copy(".", "/src"), stage.Request{Context: stage.Dir(f.tree())},
		`d 0755 0:0 src`,
		`f 0644 0:0 src/.dockerignore "*.log\nsecret\n"`,
		`f 0644 0:0 src/main.go "package main"`,
		`f 0755 0:0 src/run.sh "#!/bin/sh"`,
		`d 0755 0:0 src/sub`,
		`d 0755 0:0 src/sub/deep`,
		`f 0644 0:0 src/sub/deep/three.md "3"`,
		`l 0:0 src/sub/link -> one.txt`,
		`f 0644 0:0 src/sub/one.txt "1"`,
		`f 0644 0:0 src/sub/two.txt "2"`,
	)
}

func testCopyDestinations(f *fixture) {
	s := stage.Scratch().
		Workdir("/w").
		Copy("main.go", "renamed.go").
		Copy("main.go", "into/").
		Mkdir("/there").
		Copy("run.sh", "/there").
		Copy(stage.Files("main.go", "run.sh"), "/two/").
		Copy("sub/*.txt", "/glob/").
		Copy("sub/deep", "/there") // the contents, into what is there
	f.want(s, stage.Request{Context: stage.Dir(f.tree())},
		`d 0755 0:0 glob`,
		`f 0644 0:0 glob/one.txt "1"`,
		`f 0644 0:0 glob/two.txt "2"`,
		`d 0755 0:0 there`,
		`f 0755 0:0 there/run.sh "#!/bin/sh"`,
		`f 0644 0:0 there/three.md "3"`,
		`d 0755 0:0 two`,
		`f 0644 0:0 two/main.go "package main"`,
		`f 0755 0:0 two/run.sh "#!/bin/sh"`,
		`d 0755 0:0 w`,
		`d 0755 0:0 w/into`,
		`f 0644 0:0 w/into/main.go "package main"`,
		`f 0644 0:0 w/renamed.go "package main"`,
	)
}

func testCopyFromDir(f *fixture) {
	f.want(stage.Scratch().CopyFrom(stage.Dir(f.tree(), "sub/deep"), "sub", "/"), stage.Request{},
		`l 0:0 link -> one.txt`,
		`f 0644 0:0 one.txt "1"`,
		`f 0644 0:0 two.txt "2"`,
	)
}

func testCopyFromFS(f *fixture) {
	fsys := fstest.MapFS{
		"bin/tool":  {Data: []byte("ELF"), Mode: 0o755},
		"etc/hosts": {Data: []byte("::1 localhost\n"), Mode: 0o600},
	}
	f.want(stage.Scratch().CopyFrom(stage.FS(fsys), ".", "/"), stage.Request{},
		`d 0755 0:0 bin`,
		`f 0755 0:0 bin/tool "ELF"`,
		`d 0755 0:0 etc`,
		`f 0644 0:0 etc/hosts "::1 localhost\n"`,
	)
}

func testCopyFromStage(f *fixture) {
	builder := stage.Scratch(stage.As("builder")).
		File("/out/app", "binary", stage.Mode(0o750), stage.Owner("5:6")).
		File("/out/lib/a.so", "a", stage.Mode(0o444)).
		Symlink("a.so", "/out/lib/b.so").
		File("/left", "behind")
	s := stage.Scratch().
		CopyFrom(builder, "/out/app", "/app").
		CopyFrom(builder, "/out/lib", "/usr/lib")
	f.want(s, stage.Request{},
		`f 0750 5:6 app "binary"`,
		`d 0755 0:0 usr`,
		`d 0755 0:0 usr/lib`,
		`f 0444 0:0 usr/lib/a.so "a"`,
		`l 0:0 usr/lib/b.so -> a.so`,
	)
}

func testCopyOptions(f *fixture) {
	s := stage.Scratch().
		Copy("sub/one.txt", "/a", stage.Chown("3:4"), stage.Chmod("0600")).
		Copy("no-such-*", "/b/", stage.Optional())
	_, res := f.build(s, stage.Request{Context: stage.Dir(f.tree())})
	list, err := imageListing(res.Outputs()[0].Image)
	if err != nil {
		f.Fatal(err)
	}
	if want := `f 0600 3:4 a "1"`; !slices.Contains(list, want) {
		f.Errorf("the image has\n%s\nwant %s", strings.Join(list, "\n"), want)
	}
}

func testStageOnStage(f *fixture) {
	base := stage.Scratch(stage.As("base")).File("/a", "1").File("/b", "1")
	s := stage.From(base).File("/b", "2").Remove("/a").File("/c", "3")
	f.want(s, stage.Request{}, `f 0644 0:0 b "2"`, `f 0644 0:0 c "3"`)
}

// testContextKinds builds from the same files as a directory and as a file system:
// the image is the same, since nothing of the source but the files counts.
func testContextKinds(f *fixture) {
	dir := f.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("same"), 0o600); err != nil {
		f.Fatal(err)
	}
	g := f.compile(stage.Scratch().Copy(".", "/"))
	fromDir := f.digest(f.execute(f.executor(), g, stage.Request{Context: stage.Dir(dir)}))
	fsys := fstest.MapFS{"x": {Data: []byte("same"), Mode: 0o644}}
	fromFS := f.digest(f.execute(f.newExecutor(f.T), g, stage.Request{Context: stage.FS(fsys)}))
	if fromDir != fromFS {
		f.Errorf("the image of a directory is %s, that of a file system with the same files %s", fromDir, fromFS)
	}
}
