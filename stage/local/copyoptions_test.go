package local_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// docker is a stage that follows the rules of Dockerfiles.
func docker() stage.Stage { return stage.Scratch(stage.Compatible(stage.DockerRules{})) }

type copyTest struct {
	name string
	s    stage.Stage
	want string
}

func runCopyTests(t *testing.T, context string, tests []copyTest) {
	t.Helper()
	e := memory(t, local.Options{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			res := build(t, e, test.s, stage.Request{Context: stage.Dir(context)})
			if got := strings.Join(listing(t, res), "\n"); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
			if err := validate.Image(res.Outputs()[0].Image); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCopyOptions(t *testing.T) {
	context := layout(t, "a.txt", "0755 run.sh", "s/a/b/c.txt", "s/a/b/d.md", "s/a/e.txt", "s/f.txt", "link -> s/a", "broken -> nowhere", "s/top.md")
	accounts := stage.Scratch().File("/etc/passwd", "web:x:33:44::/:/bin/sh\n")
	runCopyTests(t, context, []copyTest{
		{"symbolic mode", stage.Scratch().Copy("s/a", "/o/", stage.Chmod("go-rx,u+X")), "0755 0:0 o/\n0700 0:0 o/b/\n0600 0:0 o/b/c.txt\n0600 0:0 o/b/d.md\n0600 0:0 o/e.txt"},
		{"permissions and a class", stage.Scratch().Copy("a.txt", "/", stage.Chmod("u=rwg,g=u-r")), "0404 0:0 a.txt"},
		{"directories apart", stage.Scratch().Copy("s/a", "/o/", stage.Chmod("600"), stage.ChmodDirs("u=rwx,go=")), "0755 0:0 o/\n0700 0:0 o/b/\n0600 0:0 o/b/c.txt\n0600 0:0 o/b/d.md\n0600 0:0 o/e.txt"},
		{"parents", stage.Scratch().Copy(stage.Files("s/a/b/c.txt", "a.txt"), "/o/", stage.Parents()), "0755 0:0 o/\n0644 0:0 o/a.txt\n0755 0:0 o/s/\n0755 0:0 o/s/a/\n0755 0:0 o/s/a/b/\n0644 0:0 o/s/a/b/c.txt"},
		{"parents from a pivot", stage.Scratch().Copy("s/a/./b/*.txt", "/o/", stage.Parents()), "0755 0:0 o/\n0755 0:0 o/b/\n0644 0:0 o/b/c.txt"},
		{"parents at any depth", stage.Scratch().Copy("s/./**/*.txt", "/o/", stage.Parents()), "0755 0:0 o/\n0755 0:0 o/a/\n0755 0:0 o/a/b/\n0644 0:0 o/a/b/c.txt\n0644 0:0 o/a/e.txt\n0644 0:0 o/f.txt"},
		{"parents of a directory", stage.Scratch().Copy("s/a/b", "/o/", stage.Parents()), "0755 0:0 o/\n0755 0:0 o/s/\n0755 0:0 o/s/a/\n0755 0:0 o/s/a/b/\n0644 0:0 o/s/a/b/c.txt\n0644 0:0 o/s/a/b/d.md"},
		{"exclude", stage.Scratch().Copy("s", "/o/", stage.Exclude("*.txt", "**/*.md", "!a/b/d.md")), "0755 0:0 o/\n0755 0:0 o/a/\n0755 0:0 o/a/b/\n0644 0:0 o/a/b/c.txt\n0644 0:0 o/a/b/d.md\n0644 0:0 o/a/e.txt"},
		{"exclude a directory, but not what is in it", stage.Scratch().Copy("s", "/o/", stage.Exclude("a", "*.*", "!a/b/c.txt")), "0755 0:0 o/\n0755 0:0 o/a/\n0755 0:0 o/a/b/\n0644 0:0 o/a/b/c.txt"},
		{"exclude files that are sources", stage.Scratch().Copy(stage.Files("a.txt", "run.sh"), "/o/", stage.Exclude("*.txt")), "0755 0:0 o/\n0755 0:0 o/run.sh"},
		{"exclude below a pivot", stage.Scratch().Copy("s/./a/**", "/o/", stage.Parents(), stage.Exclude("a/b")), "0755 0:0 o/\n0755 0:0 o/a/\n0644 0:0 o/a/e.txt"},
		{"inline", stage.Scratch().Copy("a.txt", "/o/", stage.Inline("x", "one"), stage.Inline("y", ""), stage.Chown("1:2")), "0755 1:2 o/\n0644 1:2 o/a.txt\n0644 1:2 o/x\n0644 1:2 o/y"},
		{"inline alone", stage.Scratch().Copy("", "/etc/motd", stage.Inline("x", "hello")), "0755 0:0 etc/\n0644 0:0 etc/motd"},
		{"link does not follow links", stage.Scratch().Mkdir("/usr/lib").Symlink("usr/lib", "/lib").Copy("a.txt", "/lib/", stage.Link()), "0755 0:0 lib/\n0644 0:0 lib/a.txt\n0755 0:0 usr/\n0755 0:0 usr/lib/"},
		{"link keeps what it does not replace", stage.Scratch().File("/o/x", "1").Copy("a.txt", "/o/", stage.Link()), "0755 0:0 o/\n0644 0:0 o/a.txt\n0644 0:0 o/x"},
		{"links are followed", stage.Scratch().Copy("link", "/o/"), "0755 0:0 o/\n0755 0:0 o/b/\n0644 0:0 o/b/c.txt\n0644 0:0 o/b/d.md\n0644 0:0 o/e.txt"},
		{"links are kept", stage.Scratch().Copy(stage.Files("link", "brok*", "a.txt"), "/o/", stage.WithLinks(stage.LinksKept), stage.Chmod("600")), "0755 0:0 o/\n0600 0:0 o/a.txt\n0777 0:0 o/broken -> nowhere\n0777 0:0 o/link -> s/a"},
		{"links are kept with parents", stage.Scratch().Copy("./li*", "/o/", stage.Parents(), stage.WithLinks(stage.LinksKept)), "0755 0:0 o/\n0777 0:0 o/link -> s/a"},
		{"links in the middle are followed", stage.Scratch().Copy("link/e.txt", "/", stage.WithLinks(stage.LinksRefused)), "0644 0:0 e.txt"},
		{"keep modes", stage.Scratch().Copy("run.sh", "/", stage.KeepModes(), stage.Chown("1:2")), "0755 1:2 run.sh"},
		{"merge", stage.Scratch().File("/a/x", "1").Merge(stage.Scratch().File("/a/y", "2", stage.Mode(0o600)), accounts.Remove("/etc/passwd"), stage.Scratch().Symlink("y", "/a/x")), "0755 0:0 a/\n0777 0:0 a/x -> y\n0600 0:0 a/y\n0755 0:0 etc/"},
		{"apply", func() stage.Stage {
			lower := stage.Scratch().File("/a/x", "1").File("/gone", "2")
			return stage.Scratch().File("/gone", "3").File("/stays", "4").Apply(lower, lower.Remove("/gone").File("/a/y", "5"))
		}(), "0755 0:0 a/\n0644 0:0 a/y\n0644 0:0 stays"},
		{"squash", stage.From(accounts).File("/x", "1").Remove("/x").File("/y", "2").Squash(), "0755 0:0 etc/\n0644 0:0 etc/passwd\n0644 0:0 y"},
	})
}

// What BuildKit does where the Go API refuses or differs.
func TestCopyCompatible(t *testing.T) {
	context := layout(t, "a.txt = a", "b.txt = b", "d/x = x", "d/sub/y = y", "d/sub/z.txt = z", "link -> a.txt", "suid", "0700 closed/", "0600 closed/f", "dirs/one/f", "dirs/two/g")
	if err := os.Chmod(filepath.Join(context, "suid"), 0o750|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	from := stage.Scratch().File("/etc/passwd", "web:x:33:44::/:/bin/sh\n").File("/etc/group", "log:x:50:\n")
	withUsers := stage.From(from, stage.Compatible(stage.DockerRules{}))
	users := "0755 0:0 etc/\n0644 0:0 etc/group\n0644 0:0 etc/passwd\n"
	runCopyTests(t, context, []copyTest{
		{"the last of several", docker().Copy(stage.Files("a.txt", "b.txt"), "/f"), "0644 0:0 f"},
		{"a pattern without a match", docker().Copy("*.c", "/f/"), ""},
		{"two stars are one", docker().Copy("**/*.txt", "/f/"), ""},
		{"a pattern of directories", docker().Copy("dirs/*", "/f/"), "0755 0:0 f/\n0644 0:0 f/f\n0644 0:0 f/g"},
		{"outside of the context", docker().Copy("../../a.txt", "/").Copy("/b.txt", "/"), "0644 0:0 a.txt\n0644 0:0 b.txt"},
		{"modes of the context", docker().Copy("suid", "/").Copy("closed", "/c/").Copy(".", "/all/", stage.Exclude("*", "!closed")), "0755 0:0 all/\n0700 0:0 all/closed/\n0600 0:0 all/closed/f\n0755 0:0 c/\n0600 0:0 c/f\n4750 0:0 suid"},
		{"octal mode of parents", docker().Copy("a.txt", "/n/m/", stage.Chmod("4640")), "0640 0:0 n/\n0640 0:0 n/m/\n4640 0:0 n/m/a.txt"},
		{"symbolic mode and parents", docker().Copy("d", "/n/m/", stage.Chmod("g-r,o=")), "0755 0:0 n/\n0755 0:0 n/m/\n0710 0:0 n/m/sub/\n0600 0:0 n/m/sub/y\n0600 0:0 n/m/sub/z.txt\n0600 0:0 n/m/x"},
		{"exclude and a file", docker().Copy("a.txt", "/", stage.Exclude("*.txt")), "0644 0:0 a.txt"},
		{"unknown owners", withUsers.Copy("a.txt", "/1", stage.Chown("nobody")).Copy("a.txt", "/2", stage.Chown("web:nobody")).Copy("a.txt", "/3", stage.Chown("web:log")).Copy("a.txt", "/4", stage.Chown("7")).Copy("a.txt", "/5", stage.Chown("web:")).Copy("a.txt", "/6", stage.Chown(":log")),
			"0644 0:0 1\n0644 33:44 2\n0644 33:50 3\n0644 7:7 4\n0644 33:44 5\n0644 0:50 6\n" + strings.TrimSuffix(users, "\n")},
		{"working directory of a number", docker().User("7").Workdir("/w/x"), "0755 7:7 w/\n0755 7:7 w/x/"},
		{"working directory of nobody known", docker().Mkdir("/v").User("nobody").Workdir("/w"), "0755 0:0 v/\n0755 0:0 w/"},
		{"link is dropped with a mode", docker().Mkdir("/r").Symlink("r", "/l").Copy("a.txt", "/l/", stage.Link(), stage.Chmod("600")), "0777 0:0 l -> r\n0755 0:0 r/\n0600 0:0 r/a.txt"},
		{"link over a link", docker().Mkdir("/r").Symlink("r", "/l").Copy("a.txt", "/l/", stage.Link()), "0755 0:0 l/\n0644 0:0 l/a.txt\n0755 0:0 r/"},
		{"parents", docker().Copy("d/sub/*.txt", "/o/", stage.Parents()).Copy("d/./**/y", "/p", stage.Parents()), "0755 0:0 o/\n0755 0:0 o/d/\n0755 0:0 o/d/sub/\n0644 0:0 o/d/sub/z.txt\n0755 0:0 p/\n0755 0:0 p/sub/\n0644 0:0 p/sub/y"},
		{"parents leave links alone", docker().Copy("link", "/o/", stage.Parents()), "0755 0:0 o/\n0777 0:0 o/link -> a.txt"},
		{"destination with a dot", docker().Copy("a.txt", "/x/."), "0755 0:0 x/\n0644 0:0 x/a.txt"},
		{"a file into a directory that it made itself", docker().Copy(stage.Files("d", "a.txt"), "/o"), "0755 0:0 o/\n0644 0:0 o/a.txt\n0755 0:0 o/sub/\n0644 0:0 o/sub/y\n0644 0:0 o/sub/z.txt\n0644 0:0 o/x"},
		{"an existing destination keeps its mode", docker().Mkdir("/o", stage.Mode(0o711)).Copy("closed", "/o").Copy(".", "/o", stage.Exclude("*", "!closed")), "0711 0:0 o/\n0700 0:0 o/closed/\n0600 0:0 o/closed/f\n0600 0:0 o/f"},
		{"inline", docker().Copy("", "/o/", stage.Inline("EOF", "text"), stage.Chmod("700")), "0700 0:0 o/\n0700 0:0 o/EOF"},
	})
}

func TestCopyCompatibleMistakes(t *testing.T) {
	context := layout(t, "a.txt", "src/main.go", "broken -> nowhere")
	e := memory(t, local.Options{})
	for _, test := range []struct {
		name string
		s    stage.Stage
		want string
	}{
		{"missing", docker().Copy("b.txt", "/"), "b.txt is not in"},
		{"missing before a wildcard", docker().Copy("no/*", "/"), `"/no"`},
		{"missing with parents", docker().Copy("src/main.c", "/", stage.Parents()), "main.c is not in"},
		{"broken", docker().Copy("brok*", "/"), `a link to "nowhere"`},
		{"bad pattern", docker().Copy("[a", "/"), "syntax error"},
		{"bad exclude", docker().Copy("src", "/", stage.Exclude("[a")), "syntax error"},
		{"file onto a directory", docker().Mkdir("/o/main.go").Copy("src", "/o"), `cannot replace to directory`},
		{"directory onto a file", docker().File("/o", "").Copy("src", "/o"), `cannot copy to non-directory`},
		{"directory onto a nested link", docker().Mkdir("/t").Symlink("/t", "/o/src").Copy(".", "/o", stage.Exclude("broken")), `cannot copy to non-directory`},
		{"a name where nothing is", docker().Copy("a.txt", "/", stage.Chown("web")), `"web"`},
		{"a user where nothing is", docker().User("web").Workdir("/w"), `"web"`},
		{"parents of everything", docker().Copy(".", "/o/", stage.Parents()), "copy it without"},
		{"a link that is refused", stage.Scratch().Copy("broken", "/", stage.WithLinks(stage.LinksRefused)), `"broken" is a link to "nowhere"; copy what it leads to`},
		{"a link that is refused, by a wildcard", stage.Scratch().Copy("bro*", "/", stage.WithLinks(stage.LinksRefused)), `"broken" is a link to "nowhere"`},
		{"no archive", stage.Scratch().Copy("a.txt", "/", stage.UnpackArchive()), "no tar archive"},
	} {
		_, err := e.Execute(t.Context(), compile(t, test.s), stage.Request{Context: stage.Dir(context)})
		if err == nil || !strings.Contains(fmt.Sprintf("%v", err), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// tarOf makes an archive; a name that ends in "/" is a directory, "a -> b" a symbolic and
// "a => b" a hard link.
func tarOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		h := &tar.Header{Name: name, Mode: 0o640, Uid: 5, Gid: 6, Typeflag: tar.TypeReg, Size: int64(len(name))}
		if from, to, ok := strings.Cut(name, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = from, to, tar.TypeSymlink, 0
		} else if from, to, ok := strings.Cut(name, " => "); ok {
			h.Name, h.Linkname, h.Typeflag, h.Size = from, to, tar.TypeLink, 0
		} else if strings.HasSuffix(name, "/") {
			h.Typeflag, h.Size, h.Mode = tar.TypeDir, 0, 0o750
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func compressed(t *testing.T, data []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAdd(t *testing.T) {
	dir := layout(t, "text", "empty.tar.gz = ")
	plain := tarOf(t, "d/", "d/f", "e/g", "h => d/f", ".wh.x", "l -> /d", "l/through")
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	small := tarOf(t, "f")
	write("plain", plain)
	write("small.gz", compressed(t, small, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil }))
	write("small.xz", compressed(t, small, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }))
	write("small.zst", compressed(t, small, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) }))
	write("escape", tarOf(t, "../../up"))
	f := "0755 0:0 o/\n0640 5:6 o/f"
	runCopyTests(t, dir, []copyTest{
		{"gzip", stage.Scratch().Add("small.gz", "/o"), f},
		{"xz", stage.Scratch().Add("small.xz", "/o/"), f},
		{"zstd", docker().Add("small.zst", "/o/"), f},
		{"copied", docker().Copy("small.zst", "/o/"), "0755 0:0 o/\n0644 0:0 o/small.zst"},
		{"not unpacked", stage.Scratch().Add("small.xz", "/o/", stage.NoUnpack()), "0755 0:0 o/\n0644 0:0 o/small.xz"},
		{"no archives", stage.Scratch().Add(stage.Files("text", "empty.tar.gz"), "/o/"), "0755 0:0 o/\n0644 0:0 o/empty.tar.gz\n0644 0:0 o/text"},
		{"owner", docker().Add("small.gz", "/o", stage.Chown("7")), "0755 7:7 o/\n0640 7:7 o/f"},
		{"mode is not for archives", docker().Add("small.gz", "/o", stage.Chmod("700")), f},
		{"mode", stage.Scratch().Add("small.gz", "/o", stage.Chmod("u=rw,go=")), "0755 0:0 o/\n0600 5:6 o/f"},
		{"out of a stage", stage.Scratch().CopyFrom(stage.Scratch().Copy("small.xz", "/a"), "/a", "/o", stage.UnpackArchive()), f},
		{"upwards", docker().Add("escape", "/o/"), "0755 0:0 o/\n0640 5:6 o/up"},
		{"link", docker().Symlink("/elsewhere", "/o").Add("small.gz", "/o", stage.Link()), f},
	})

	e := memory(t, local.Options{})
	request := stage.Request{Context: stage.Dir(dir)}
	want := "0750 5:6 d/\n0640 5:6 d/f\n0640 5:6 d/through\n0755 0:0 e/\n0640 5:6 e/g\n0640 5:6 h\n0777 5:6 l -> /d"
	// What looks like a whiteout is a file, which no layer can hold.
	res := build(t, e, stage.Scratch().CopyFrom(stage.Scratch().Add("plain", "/"), "/", "/x/", stage.Exclude(".wh.*")), request)
	if got := strings.ReplaceAll(strings.Join(listing(t, res), "\n"), " x/", " "); got != "0755 0:0 \n"+want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	files, err := res.Files(res.Outputs()[0].Target.Step)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x/d/f": "d/f", "x/h": "d/f", "x/d/through": "l/through", "x/e/g": "e/g"} {
		if got, err := fs.ReadFile(files, name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := e.Execute(t.Context(), compile(t, stage.Scratch().Add("plain", "/")), request); err == nil || !strings.Contains(err.Error(), ".wh.") || !strings.Contains(err.Error(), "rename the file") {
		t.Errorf("a layer with a name like a whiteout: %v", err)
	}
	if _, err := e.Execute(t.Context(), compile(t, stage.Scratch().Add("escape", "/o/")), request); err == nil || !strings.Contains(err.Error(), `".."`) {
		t.Errorf("an archive that leads out: %v", err)
	}
}

// A Link copy is made once, whatever is below it, and its layer is the same.
func TestLinkIsIndependent(t *testing.T) {
	dir := layout(t, "app")
	e := memory(t, local.Options{})
	var layers []string
	for i, base := range []stage.Stage{stage.Scratch().File("/os", "1"), stage.Scratch().File("/os", "2").Symlink("/os", "/srv")} {
		res := build(t, e, stage.From(base).Copy("app", "/srv/", stage.Link()).File("/after", "x"), stage.Request{Context: stage.Dir(dir)})
		for _, step := range res.Report().Steps {
			if strings.HasPrefix(step.Text, "COPY") && (step.Status == stage.Hit) != (i > 0) {
				t.Errorf("base %d: %s: %s", i, step.Text, step.Status)
			}
		}
		all, err := res.Outputs()[0].Image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		digest, err := all[len(all)-2].Digest()
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, digest.String())
		if got := listing(t, res); got[len(got)-1] != "0644 0:0 srv/app" {
			t.Errorf("base %d: %q", i, got)
		}
	}
	if layers[0] != layers[1] {
		t.Errorf("layers %q", layers)
	}
}

// A function is called once for the same files, and what it wrote outlives it.
func TestFunc(t *testing.T) {
	dir := t.TempDir()
	calls := 0
	upper := func(version string) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage {
			return s.Func("upper", version, func(ctx context.Context, in fs.FS, out stage.Writer) error {
				calls++
				text, err := fs.ReadFile(in, "in/f")
				if err != nil {
					return err
				}
				if err := out.Remove("/none"); !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("remove: %w", err)
				}
				return errors.Join(out.WriteFile("out/f", 0o600, strings.NewReader(strings.ToUpper(string(text)))),
					out.Mkdir("/dir", 0o711|fs.ModeSticky), out.Symlink("f", "/out/l"), out.Remove("in/gone"))
			})
		}
	}
	s := stage.Scratch().File("/in/f", "text").File("/in/gone", "x")
	e := executor(t, dir, local.Options{})
	want := "1711 0:0 dir/\n0755 0:0 in/\n0644 0:0 in/f\n0755 0:0 out/\n0600 0:0 out/f\n0777 0:0 out/l -> f"
	res := build(t, e, s.With(upper("1")), stage.Request{})
	if got := strings.Join(listing(t, res), "\n"); got != want {
		t.Errorf("got\n%s", got)
	}
	first := digest(t, res)
	// The same files, made in another way; a new process; another version.
	build(t, e, stage.Scratch().File("/in/gone", "x").File("/in/f", "text").With(upper("1")), stage.Request{})
	res = build(t, executor(t, dir, local.Options{}), s.With(upper("1")), stage.Request{})
	if calls != 1 || digest(t, res) != first {
		t.Errorf("%d calls, digests %s and %s", calls, first, digest(t, res))
	}
	files, err := res.Files(res.Outputs()[0].Target.Step)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.ReadFile(files, "out/f"); err != nil || string(got) != "TEXT" {
		t.Errorf("%q, %v", got, err)
	}
	build(t, e, s.With(upper("2")), stage.Request{})
	if calls != 2 {
		t.Errorf("%d calls after a new version", calls)
	}
	wrong := errors.New("wrong")
	_, err = e.Execute(t.Context(), compile(t, s.Func("fails", "1", func(context.Context, fs.FS, stage.Writer) error { return wrong })), stage.Request{})
	if !errors.Is(err, wrong) || !strings.Contains(err.Error(), "copyoptions_test.go:") {
		t.Errorf("got %v", err)
	}
}

// Groups of steps have one layer and one line of history.
func TestLayers(t *testing.T) {
	lines := func(s stage.Stage) []string {
		res := build(t, memory(t, local.Options{}), s, stage.Request{})
		img := res.Outputs()[0].Image
		if err := validate.Image(img); err != nil {
			t.Error(err)
		}
		layers, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		file, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		out := []string{fmt.Sprint(len(layers))}
		for _, h := range file.History {
			line := h.CreatedBy
			if h.EmptyLayer {
				line += " (empty)"
			}
			out = append(out, line)
		}
		return out
	}
	two := func(s stage.Stage) stage.Stage { return s.File("/a", "1").Env("X", "y").File("/b", "2") }
	base := stage.Scratch().File("/base", "x")
	for _, test := range []struct {
		name string
		s    stage.Stage
		want []string
	}{
		{"apart", base.With(two), []string{"3", "FILE /base # buildkit", "FILE /a # buildkit", "ENV X=y (empty)", "FILE /b # buildkit"}},
		{"group", base.Layer(two, "both"), []string{"2", "FILE /base # buildkit", "both # buildkit"}},
		{"texts", base.Layer(two), []string{"2", "FILE /base # buildkit", "FILE /a; ENV X=y; FILE /b # buildkit"}},
		{"in a group", base.Layer(func(s stage.Stage) stage.Stage { return s.Layer(two, "in").File("/c", "3") }, "out"), []string{"2", "FILE /base # buildkit", "out # buildkit"}},
		{"nothing changed", base.Layer(func(s stage.Stage) stage.Stage { return s.File("/c", "3").Remove("/c") }, "nothing"), []string{"1", "FILE /base # buildkit", "nothing (empty)"}},
		{"squash", base.With(two).Squash(), []string{"1", "FILE /base; FILE /a; ENV X=y; FILE /b # buildkit"}},
		{"squash of the stage's own", stage.From(base).With(two).Squash().File("/c", "3"), []string{"3", "FILE /base # buildkit", "FILE /a; ENV X=y; FILE /b # buildkit", "FILE /c # buildkit"}},
	} {
		if got := lines(test.s); strings.Join(got, "\n") != strings.Join(test.want, "\n") {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// A file that stands in the stage itself is no archive, also for ADD.
func TestAddInline(t *testing.T) {
	s := stage.Scratch().Add(stage.Files(), "/d/", stage.Inline("f", "text"))
	res := build(t, memory(t, local.Options{}), s, stage.Request{Context: stage.FS(fstest.MapFS{"x": {}})})
	if got := read(t, res, "d/f"); got != "text" {
		t.Errorf("got %q", got)
	}
}
