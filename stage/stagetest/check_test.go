package stagetest_test

import (
	"context"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/stagetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample has something for every assertion.
func sample(t testing.TB) *stagetest.Built {
	t.Helper()
	context := fstest.MapFS{"app": {Data: []byte("#!/bin/sh\n"), Mode: 0o755}}
	return stagetest.ImageWith(t, stage.Scratch().
		File("/etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:7:8::/:/bin/sh\n").
		File("/etc/app.conf", "port = 80\nhost = a\n", stage.Mode(0o640), stage.Owner("app")).
		Copy("app", "/bin/app").
		File("/bin/su", "su", stage.Mode(0o4755)).
		Symlink("app", "/bin/sh").Symlink("/nowhere", "/broken").Symlink("/etc", "/conf").
		Mkdir("/var/empty").
		File("/a file\n", "odd").
		File("/empty", "").
		Remove("/etc/passwd").
		Env("MODE", "fast").Label("who", "me").User("7:8").Workdir("/bin").ExposeSpec("80", "53/udp").Entrypoint("/bin/app").Cmd("-v"),
		stagewright.Options{Context: stagewright.FS(context), Annotations: map[string]string{"note": "a"}})
}

// TestWants: each assertion holds, and fails with a message that shows the difference.
func TestWants(t *testing.T) {
	img := sample(t)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	unpacked := func(t testing.TB) *stagetest.Checks { // the same assertions on an image that was not built here
		v, err := img.Image()
		if err != nil {
			t.Fatalf("%v", err)
		}
		return stagetest.Check(t, v)
	}
	for _, test := range []struct {
		name  string
		right func(c *stagetest.Checks)
		wrong func(c *stagetest.Checks)
		told  []string
	}{
		{"content", func(c *stagetest.Checks) { c.File("/etc/app.conf").WantContent("port = 80\nhost = a\n") },
			func(c *stagetest.Checks) { c.File("etc/app.conf").WantContent("port = 81\nhost = a\n") },
			[]string{"the content of etc/app.conf (-want +got):", `- 	"port = 81\n",`, `+ 	"port = 80\n",`, `  	"host = a\n",`}},
		{"content without a line end", nil, func(c *stagetest.Checks) { c.File("/etc/app.conf").WantContent("port = 80\nhost = a") },
			[]string{`- 	"host = a",`, `+ 	"host = a\n",`}},
		{"content that is no text", nil, func(c *stagetest.Checks) { c.File("/bin/su").WantContent("s\xff" + strings.Repeat("x", 100)) },
			[]string{"the content of /bin/su differs from byte 1 on: want 102 bytes", "got 2 bytes, \"u\""}},
		{"content of nothing", func(c *stagetest.Checks) { c.File("/empty").WantContent("") },
			func(c *stagetest.Checks) { c.File("/empty").WantContent("x") }, []string{"the content of /empty"}},
		{"content through a link", func(c *stagetest.Checks) { c.File("/bin/sh").WantContent("#!/bin/sh\n").WantMode(0o755) },
			func(c *stagetest.Checks) { c.File("/conf/app.conf").WantContent("x") }, []string{"/conf/app.conf"}},
		{"contains", func(c *stagetest.Checks) { c.File("/etc/app.conf").WantContains("host") },
			func(c *stagetest.Checks) { c.File("/etc/app.conf").WantContains("hosts") }, []string{`does not have "hosts" in it; it is`, "port = 80"}},
		{"a directory has no content", func(c *stagetest.Checks) { c.File("/etc").WantMode(0o755) },
			func(c *stagetest.Checks) { c.File("/etc").WantContent("") }, []string{"/etc is a directory, not a file"}},
		{"mode", func(c *stagetest.Checks) { c.File("/bin/su").WantMode(0o755 | os.ModeSetuid) },
			func(c *stagetest.Checks) { c.File("/bin/su").WantMode(0o755) }, []string{"the mode of /bin/su", "-rwxr-xr-x", "urwxr-xr-x"}},
		{"mode of a directory", func(c *stagetest.Checks) { c.File("/var/empty").WantMode(0o755 | os.ModeDir) },
			func(c *stagetest.Checks) { c.File("/empty").WantMode(0o644 | os.ModeDir) }, []string{"the mode of /empty"}},
		{"owner", func(c *stagetest.Checks) { c.File("/etc/app.conf").WantOwner(7, 8) },
			func(c *stagetest.Checks) { c.File("/etc/app.conf").WantOwner(0, 0) }, []string{"the owner of /etc/app.conf", `"0:0"`, `"7:8"`}},
		{"link", func(c *stagetest.Checks) { c.File("/bin/sh").WantLink("app") },
			func(c *stagetest.Checks) { c.File("/bin/sh").WantLink("/bin/app") }, []string{"the target of /bin/sh"}},
		{"broken link", func(c *stagetest.Checks) { c.File("/broken").WantLink("/nowhere") },
			func(c *stagetest.Checks) { c.File("/broken").WantContent("x") }, []string{"/broken is a symbolic link, not a file"}},
		{"no link", func(c *stagetest.Checks) { c.WantAbsent("/bin/bash", "/etc/passwd") },
			func(c *stagetest.Checks) { c.File("/bin/app").WantLink("x") }, []string{"/bin/app is a file, not a symbolic link"}},
		{"absent", func(c *stagetest.Checks) { c.WantAbsent("/bin/bash") },
			func(c *stagetest.Checks) { c.WantAbsent("/bin/bash", "/broken", "/var") },
			[]string{"/broken is there: a symbolic link", "/var is there: a directory"}},
		{"missing", func(c *stagetest.Checks) { c.File("/") },
			func(c *stagetest.Checks) {
				c.File("/etc/app/x.conf").WantContent("a").WantMode(1).WantOwner(1, 1).WantLink("").WantContains("x").Content()
			}, []string{"there is no /etc/app/x.conf; /etc has app.conf\n"}},
		{"missing at the root", nil, func(c *stagetest.Checks) { c.File("/x") }, []string{`there is no /x; / has "a file\n", bin, broken, conf,`}},
		{"env", func(c *stagetest.Checks) { c.WantEnv("MODE", "fast").WantNoEnv("MOD", "FAST") },
			func(c *stagetest.Checks) { c.WantEnv("MODES", "fast").WantNoEnv("MODE") },
			[]string{"the environment has no MODES; it is [", "the environment has MODE=fast"}},
		{"entrypoint", func(c *stagetest.Checks) { c.WantEntrypoint("/bin/app") },
			func(c *stagetest.Checks) { c.WantEntrypoint() }, []string{"the entrypoint", "/bin/app"}},
		{"cmd", func(c *stagetest.Checks) { c.WantCmd("-v") }, func(c *stagetest.Checks) { c.WantCmd("-v", "-x") }, []string{"the command", `"-x"`}},
		{"user", func(c *stagetest.Checks) { c.WantUser("7:8") }, func(c *stagetest.Checks) { c.WantUser("7") }, []string{"the user"}},
		{"workdir", func(c *stagetest.Checks) { c.WantWorkdir("/bin") }, func(c *stagetest.Checks) { c.WantWorkdir("/") }, []string{"the working directory"}},
		{"label", func(c *stagetest.Checks) { c.WantLabel("who", "me") },
			func(c *stagetest.Checks) { c.WantLabel("who", "you").WantLabel("whose", "mine") },
			[]string{"the label who", `no label whose; the labels are map["who":"me"]`}},
		{"annotation", func(c *stagetest.Checks) { c.WantAnnotation("note", "a") },
			func(c *stagetest.Checks) { c.WantAnnotation("note", "b").WantAnnotation("notes", "b") },
			[]string{"the annotation note", "no annotation notes; the annotations are map["}},
		{"ports", func(c *stagetest.Checks) { c.WantPorts("80/tcp", "53/udp") },
			func(c *stagetest.Checks) { c.WantPorts("80/tcp") }, []string{"the exposed ports", "53/udp"}},
		{"config", func(c *stagetest.Checks) { c.WantConfig(img.Config()) },
			func(c *stagetest.Checks) { c.WantConfig(image.Config{User: "7:8"}) }, []string{"the configuration (-want +got)", "Entrypoint"}},
		{"layers", func(c *stagetest.Checks) { c.WantLayers(11) }, func(c *stagetest.Checks) { c.WantLayers(1) }, []string{"has 11 layers; want 1"}},
		{"layer", func(c *stagetest.Checks) {
			c.WantLayer(-1, "/etc/.wh.passwd").WantLayer(0, "/etc/passwd").WantLayer(7, "/var/empty/")
		}, func(c *stagetest.Checks) { c.WantLayer(0, "/etc").WantLayer(11).WantLayer(-12) },
			[]string{"the paths of layer 0 (-want", "no layer 11; the image has 11", "no layer -12"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for where, checks := range map[string]func(testing.TB) *stagetest.Checks{
				"built":    func(t testing.TB) *stagetest.Checks { return sample(t).Checks },
				"unpacked": unpacked,
			} {
				if test.right != nil {
					test.right(checks(t))
				}
				f := try(func(t testing.TB) { test.wrong(checks(t)) })
				for _, want := range test.told {
					if !strings.Contains(f.String(), want) {
						t.Errorf("%s: the test is not told %q but\n%s", where, want, f)
					}
				}
				if !f.failed {
					t.Errorf("%s: the test does not fail", where)
				}
			}
		})
	}
	if again, err := sample(t).Digest(); again != digest {
		t.Errorf("built again it is %s, %v", again, err)
	}
}

// What is made once for several subtests fails the one that uses it.
func TestIn(t *testing.T) {
	var sub *fakeT
	parent := try(func(t testing.TB) {
		img, reg := sample(t), stagetest.Registry(t)
		sub = try(func(t testing.TB) {
			img.In(t).WantUser("x")
			reg.In(t).Pull("app:1")
		})
	})
	if told := sub.String(); parent.failed || !sub.failed || !strings.Contains(told, "the user") || !strings.Contains(told, "no such image") {
		t.Errorf("the parent is told\n%s\nand its subtest\n%s", parent, sub)
	}
}

func TestWantSame(t *testing.T) {
	base := stage.Scratch().File("/a", "1")
	one := stagetest.Image(t, base.File("/b", "2").Remove("/a"))
	one.WantSame(stagetest.Image(t, stage.Scratch().File("/b", "2")).Checks) // other layers
	f := try(func(t testing.TB) {
		stagetest.Image(t, base).WantSame(stagetest.Image(t, base.File("/b", "2").User("7")).Checks)
	})
	for _, want := range []string{"the configuration of the other image", `User:`, "the files of the other image", " /b"} {
		if !strings.Contains(f.String(), want) {
			t.Errorf("the test is not told %q but\n%s", want, f)
		}
	}
}

func TestWantTree(t *testing.T) {
	img := sample(t)
	img.WantTree("testdata/sample.txt")
	img.WantTree("testdata/sample-part.txt", "/bin", "/etc/app.conf")
}

// A golden file that is not there is written, and the test fails; one that differs stays unless -update is given.
func TestGoldenFile(t *testing.T) {
	golden := filepath.Join(t.TempDir(), "new", "tree.txt")
	tree := func(content string) *fakeT {
		return try(func(t testing.TB) { stagetest.Image(t, stage.Scratch().File("/a", content)).WantTree(golden) })
	}
	if f := tree("1"); !f.failed || !strings.Contains(f.String(), "was not there; it is written now") {
		t.Errorf("a new golden file: %s", f)
	}
	if f := tree("1"); f.failed {
		t.Errorf("the second time: %s", f)
	}
	crlf := strings.ReplaceAll(read(t, golden), "\n", "\r\n")
	if err := os.WriteFile(golden, []byte(crlf), 0o666); err != nil {
		t.Fatal(err)
	}
	if f := tree("1"); f.failed {
		t.Errorf("with other line ends: %s", f)
	}
	if f := tree("2"); !f.failed || !strings.Contains(f.String(), "-want +got") || read(t, golden) != crlf {
		t.Errorf("a difference: %s", f)
	}
	was := *update
	*update = true
	f := tree("2")
	*update = was
	if f.failed || !strings.Contains(read(t, golden), "sha256:d4735e3a265e16ee /a\n") {
		t.Errorf("with -update: %s; the file is\n%s", f, read(t, golden))
	}
	if f := try(func(t testing.TB) { stagetest.Image(t, stage.Scratch()).WantTree(filepath.Dir(golden)) }); !f.failed {
		t.Error("a directory is no golden file")
	}
	if f := try(func(t testing.TB) { stagetest.Image(t, stage.Scratch()).WantTree(golden, "/etc") }); !strings.Contains(f.String(), "there is no /etc; / is empty") {
		t.Errorf("a part that is not there: %s", f)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(b)
}

// An image that cannot be read ends the test, and says what could not be.
func TestBrokenImage(t *testing.T) {
	img, err := mutate.Append(empty.Image, mutate.Addendum{Layer: lyingLayer{}})
	if err != nil {
		t.Fatal(err)
	}
	f := try(func(t testing.TB) { stagetest.Check(t, img).File("/a") })
	if !f.failed || !strings.Contains(f.String(), "reading the image's files") {
		t.Errorf("told\n%s", f)
	}
}

func TestMustHitOfNothing(t *testing.T) {
	img := stagetest.Image(t, stage.Scratch().File("/a", "1"))
	f := try(func(t testing.TB) { stagetest.MustHit(t, img) })
	if told := f.String(); !strings.Contains(told, "1 step ran") || !strings.Contains(told, "FILE /a") || !strings.Contains(told, "The build was in memory") {
		t.Errorf("told\n%s", told)
	}
	other := stage.Scratch(stage.As("other")).File("/b", "")
	f = try(func(t testing.TB) { stagetest.MustHit(t, img, other) })
	if !strings.Contains(f.String(), "stage other is no part of the build") {
		t.Errorf("told\n%s", f)
	}
}

// The files of an executor that knows no owners are not looked at: the layers are.
func TestFilesOfAnotherExecutor(t *testing.T) {
	inner, err := local.New(local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	img := stagetest.ImageWith(t, stage.Scratch().File("/a", "1", stage.Owner("7:8")), stagewright.Options{Executor: ownerless{inner}})
	img.File("/a").WantContent("1").WantOwner(7, 8)
}

type ownerless struct{ stage.Executor }

func (o ownerless) Execute(ctx context.Context, g *stage.Graph, r stage.Request) (stage.Result, error) {
	res, err := o.Executor.Execute(ctx, g, r)
	return ownerlessResult{res}, err
}

type ownerlessResult struct{ stage.Result }

func (ownerlessResult) Files(int) (fs.FS, error) {
	return fstest.MapFS{"a": {Data: []byte("of the executor")}}, nil
}
