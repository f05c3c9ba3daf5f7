package local_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// memory returns an executor without a disk.
func memory(tb testing.TB, o local.Options) *local.Executor {
	tb.Helper()
	o.Store = cache.NewMemory()
	e, err := local.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { e.Close() })
	return e
}

// layout makes files below a new directory, one a line: "path", "path/" for a
// directory, "path = content", "path -> target", each with an octal mode in front if need be.
func layout(tb testing.TB, lines ...string) string {
	tb.Helper()
	dir := tb.TempDir()
	for _, line := range lines {
		mode, hasMode := fs.FileMode(0), false
		if len(line) > 5 && line[0] == '0' && line[4] == ' ' {
			if _, err := fmt.Sscanf(line, "%o", &mode); err != nil {
				tb.Fatal(err)
			}
			line, hasMode = line[5:], true
		}
		name, content, isFile := strings.Cut(line, " = ")
		name, target, isLink := strings.Cut(name, " -> ")
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch {
		case isLink:
			err = errors.Join(err, os.Symlink(target, p))
		case strings.HasSuffix(name, "/"):
			err = errors.Join(err, os.MkdirAll(p, 0o755))
		default:
			if !isFile {
				content = filepath.Base(name)
			}
			err = errors.Join(err, os.WriteFile(p, []byte(content), 0o644))
		}
		if hasMode {
			err = errors.Join(err, os.Chmod(p, mode))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// listing prints the files of a result, one a line: mode, owner, path, and what a
// link points to.
func listing(t *testing.T, res stage.Result) []string {
	t.Helper()
	files, err := res.Files(res.Outputs()[0].Target.Step)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	err = fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		meta := info.Sys().(*tree.Node).Meta()
		line := fmt.Sprintf("%04o %d:%d %s", meta.Mode, meta.UID, meta.GID, p)
		if d.IsDir() {
			line += "/"
		}
		if d.Type() == fs.ModeSymlink {
			target, err := fs.ReadLink(files, p)
			if err != nil {
				return err
			}
			line += " -> " + target
		}
		if !info.ModTime().Equal(epoch) {
			line += " " + info.ModTime().String()
		}
		list = append(list, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestCopy(t *testing.T) {
	context := layout(t, "0600 a.txt", "0755 run.sh", "d/x", "d/sub/y", "d/sub/z.txt", "link -> a.txt", "dirlink -> d", "d/inner -> ../a.txt",
		"abs -> /d/x", "up -> ../../../a.txt", "0777 wide/", "wide/f", "other.md", "[x].txt")
	accounts := stage.Scratch().
		File("/etc/passwd", "web:x:33:44::/:/bin/sh\n").File("/etc/group", "web:x:44:\nlog:x:50:\n")
	below := "0755 0:0 etc/\n0644 0:0 etc/group\n0644 0:0 etc/passwd\n"
	tests := []struct {
		name string
		s    stage.Stage
		want string
	}{
		{"file to a name", stage.Scratch().Copy("a.txt", "/f"), "0644 0:0 f"},
		{"file to a missing directory", stage.Scratch().Copy("a.txt", "/n/m/"), "0755 0:0 n/\n0755 0:0 n/m/\n0644 0:0 n/m/a.txt"},
		{"file into an existing directory", stage.Scratch().Mkdir("/n", stage.Mode(0o700)).Copy("a.txt", "/n"), "0700 0:0 n/\n0644 0:0 n/a.txt"},
		{"relative to the working directory", stage.Scratch().Workdir("/w").Copy("run.sh", "."), "0755 0:0 w/\n0755 0:0 w/run.sh"},
		{"contents of a directory", stage.Scratch().Copy("d", "/o"), "0755 0:0 o/\n0777 0:0 o/inner -> ../a.txt\n0755 0:0 o/sub/\n0644 0:0 o/sub/y\n0644 0:0 o/sub/z.txt\n0644 0:0 o/x"},
		{"modes are those of the rule", stage.Scratch().Copy("wide", "/w/"), "0755 0:0 w/\n0644 0:0 w/f"},
		{"several", stage.Scratch().Copy(stage.Files("a.txt", "d/x"), "/s/"), "0755 0:0 s/\n0644 0:0 s/a.txt\n0644 0:0 s/x"},
		{"wildcard", stage.Scratch().Copy("*.txt", "/s/"), "0755 0:0 s/\n0644 0:0 s/[x].txt\n0644 0:0 s/a.txt"},
		{"escaped wildcard", stage.Scratch().Copy("[[]x].txt", "/s/"), "0755 0:0 s/\n0644 0:0 s/[x].txt"},
		{"any depth", stage.Scratch().Copy("**/*.txt", "/s/"), "0755 0:0 s/\n0644 0:0 s/[x].txt\n0644 0:0 s/a.txt\n0644 0:0 s/z.txt"},
		{"a link named is followed", stage.Scratch().Copy("link", "/f"), "0644 0:0 f"},
		{"a link to a directory", stage.Scratch().Copy("dirlink/sub", "/f"), "0755 0:0 f/\n0644 0:0 f/y\n0644 0:0 f/z.txt"},
		{"links stay inside the context", stage.Scratch().Copy("up", "/f").Copy("abs", "/g"), "0644 0:0 f\n0644 0:0 g"},
		{"destination links", stage.Scratch().Mkdir("/real").Symlink("real", "/l").Copy("a.txt", "/l/"), "0777 0:0 l -> real\n0755 0:0 real/\n0644 0:0 real/a.txt"},
		{"through a dangling link", stage.Scratch().Symlink("/new/file", "/l").Copy("a.txt", "/l"), "0777 0:0 l -> /new/file\n0755 0:0 new/\n0644 0:0 new/file"},
		{"links of the destination stay in the root", stage.Scratch().Symlink("../../..", "/up").Copy("a.txt", "/up/x/"), "0777 0:0 up -> ../../..\n0755 0:0 x/\n0644 0:0 x/a.txt"},
		{"a nested link is replaced by a file", stage.Scratch().Symlink("/elsewhere", "/o/x").Copy("d/x", "/o/x2").CopyFrom(stage.Scratch().File("/s/x", "new"), "/s", "/o"), "0755 0:0 o/\n0644 0:0 o/x\n0644 0:0 o/x2"},
		{"merge keeps other files", stage.Scratch().File("/o/keep", "k").Copy("d/sub", "/o"), "0755 0:0 o/\n0644 0:0 o/keep\n0644 0:0 o/y\n0644 0:0 o/z.txt"},
		{"owner and mode of a stage are kept", stage.Scratch().CopyFrom(stage.Scratch().File("/f", "x", stage.Mode(0o4755), stage.Owner("5:6")), "/f", "/"), "4755 5:6 f"},
		{"nested directories take the source's mode", stage.Scratch().Mkdir("/o/m", stage.Mode(0o700)).CopyFrom(stage.Scratch().Mkdir("/s/m", stage.Mode(0o711), stage.Owner("1:2")), "/s", "/o"), "0755 0:0 o/\n0711 1:2 o/m/"},
		{"chown by name", accounts.Copy("a.txt", "/n/f", stage.Chown("web")), below + "0755 33:44 n/\n0644 33:44 n/f"},
		{"chown by name and group", accounts.Copy("a.txt", "/f", stage.Chown("web:log")), below + "0644 33:50 f"},
		{"chown by number", accounts.Copy("a.txt", "/f", stage.Chown("7")), below + "0644 7:7 f"},
		{"chmod", stage.Scratch().Copy("d/sub", "/n/m/", stage.Chmod("4640")), "0755 0:0 n/\n0755 0:0 n/m/\n4640 0:0 n/m/y\n4640 0:0 n/m/z.txt"},
		{"optional", stage.Scratch().File("/f", "x").Copy("no-such-file", "/g", stage.Optional()), "0644 0:0 f"},
		{"remove", stage.Scratch().File("/a/b/c", "x").Remove("/a/b").Remove("/no", stage.MayBeAbsent()), "0755 0:0 a/"},
		{"file replaces a link", stage.Scratch().Symlink("/x", "/f").File("/f", "y"), "0644 0:0 f"},
		{"working directory belongs to the user", accounts.User("web").Workdir("/w/x"), below + "0755 33:44 w/\n0755 33:44 w/x/"},
		{"directory source with ignore patterns", stage.Scratch().CopyFrom(stage.Dir(context, "d/sub", "*.md", "wide", "*link", "up", "abs", "*.txt", "d/inner"), ".", "/"), "0755 0:0 d/\n0644 0:0 d/x\n0755 0:0 run.sh"},
	}
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

func TestCopyMistakes(t *testing.T) {
	context := layout(t, "readme.md", "src/main.go", "secret/key", "broken -> nowhere", ".dockerignore = secret\n")
	tests := []struct {
		name string
		s    stage.Stage
		want []string
	}{
		{"near name", stage.Scratch().Copy("readme.txt", "/"), []string{"readme.txt is not in directory " + context, "did you mean readme.md"}},
		{"ignored", stage.Scratch().Copy("secret/key", "/"), []string{"secret/key is in directory " + context, ".dockerignore:1", "secret"}},
		{"wildcard", stage.Scratch().Copy("*.c", "/"), []string{"no file matches the pattern"}},
		{"broken link", stage.Scratch().Copy("broken", "/"), []string{`"broken" is a link to "nowhere"`}},
		{"several matches to a name", stage.Scratch().Copy("[rs]*", "/x"), []string{"not a directory", `end it in "/"`}},
		{"file onto a directory", stage.Scratch().Mkdir("/o/main.go").Copy("src", "/o"), []string{`cannot replace the directory "/o/main.go"`}},
		{"directory onto a file", stage.Scratch().File("/o", "").Copy("src", "/o"), []string{`cannot copy a directory onto "/o"`}},
		{"directory onto a link", stage.Scratch().Symlink("/x", "/o/src").Copy(".", "/o"), []string{`cannot copy a directory onto "/o/src"`}},
		{"below a file", stage.Scratch().File("/o", "").Copy("readme.md", "/o/f"), []string{`"/o" is a file, not a directory`}},
		{"in a stage", stage.Scratch().CopyFrom(stage.Scratch(stage.As("from")).File("/bin/app", ""), "/bin/ap", "/"), []string{`"/bin/ap" is not in stage from; that directory has app`}},
		{"unknown user", stage.Scratch().Copy("readme.md", "/", stage.Chown("web")), []string{`no user "web"`}},
		{"remove what is not there", stage.Scratch().Remove("/x"), []string{`"/x" does not exist`, "MayBeAbsent"}},
		{"working directory is a file", stage.Scratch().File("/w", "").Workdir("/w"), []string{`"/w" is a file`}},
		{"loop of links", stage.Scratch().Symlink("/b", "/a").Symlink("/a", "/b").Copy("readme.md", "/a/x"), []string{"too many levels of symbolic links"}},
	}
	e := memory(t, local.Options{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := e.Execute(t.Context(), compile(t, test.s), stage.Request{Context: stage.Dir(context)})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range append(test.want, "copy_test.go:") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q:\n%v", want, err)
				}
			}
		})
	}

	// All of them at once, before anything runs.
	s := stage.Scratch().Copy("one", "/").RunExec([]string{"never"}).Copy("two", "/").Copy("thr*", "/")
	_, err := e.Execute(t.Context(), compile(t, s), stage.Request{Context: stage.Dir(context), Progress: func(e stage.Event) { t.Errorf("%T before the mistakes were told", e) }})
	var all stage.Errors
	if !errors.As(err, &all) || len(all) != 3 || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want three mistakes", err)
	}
	if _, err := e.Execute(t.Context(), compile(t, s), stage.Request{}); err == nil || !strings.Contains(err.Error(), "no context") {
		t.Errorf("no context: %v", err)
	}
	if _, err := e.Execute(t.Context(), compile(t, s), stage.Request{Context: stage.Dir(filepath.Join(context, "readme.md"))}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("context is a file: %v", err)
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can read everything")
	}
	context := layout(t, "fine", "0000 closed")
	e := memory(t, local.Options{})
	_, err := e.Execute(t.Context(), compile(t, stage.Scratch().Copy(".", "/")), stage.Request{Context: stage.Dir(context)})
	if err == nil || !strings.Contains(err.Error(), "closed") || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	build(t, e, stage.Scratch().Copy("fine", "/"), stage.Request{Context: stage.Dir(context)})
}

// The digest of an image depends on its stages and files alone: not on the directory, the order
// of creation, the modes that a umask leaves, times, or parallelism. It is pinned:
// a change of it makes every user's layers new, and is made on purpose only.
func TestReproducible(t *testing.T) {
	const want = "sha256:634d851b053ee809eeb96f8d08c5f2b2b668b762db7618c8eac2a4624a900013"
	lines := []string{"a", "b/c", "b/d/e = content", "0755 b/run"}
	s := stage.Scratch().Copy(".", "/app/").File("/etc/x", "y", stage.Mode(0o600)).Symlink("app", "/l").
		Env("A", "b").Label("k", "v").Expose(80).Cmd("/app/b/run")
	for i, parallel := range []int{1, 8} {
		if i == 1 {
			slices.Reverse(lines)
		}
		context := layout(t, lines...)
		if i == 1 {
			for name, mode := range map[string]fs.FileMode{"a": 0o600, "b": 0o700, "b/c": 0o666, "b/run": 0o775} {
				if err := os.Chmod(filepath.Join(context, name), mode); err != nil {
					t.Fatal(err)
				}
			}
		}
		g, err := stage.Compile(t.Context(), []stage.Stage{s}, stage.Options{Platforms: amd64})
		if err != nil {
			t.Fatal(err)
		}
		res, err := memory(t, local.Options{Parallel: parallel}).Execute(t.Context(), g, stage.Request{Context: stage.Dir(context)})
		if err != nil {
			t.Fatal(err)
		}
		if got := digest(t, res); got != want {
			t.Errorf("parallel %d: %s, want %s", parallel, got, want)
		}
		res.Close()
	}
}

// A second build looks at files and opens none; a touched file changes nothing; an
// edited one is the only one that is read.
func TestUnchangedFilesAreNotRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can open what has no permissions, so that nothing would show it")
	}
	context := layout(t, "a", "b/c", "b/d")
	dir := t.TempDir()
	s := stage.Scratch().Copy(".", "/")
	first := digest(t, build(t, executor(t, dir, local.Options{}), s, stage.Request{Context: stage.Dir(context)}))
	for _, f := range []string{"a", "b/c", "b/d"} {
		// The change of mode changes ctime, so the file must be hashed once more first.
		if err := os.Chmod(filepath.Join(context, f), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	res := build(t, executor(t, dir, local.Options{}), s, stage.Request{Context: stage.Dir(context)})
	if got := digest(t, res); got != first || res.Report().Ran() != 0 {
		t.Errorf("another mode: digest %s, want %s; %d steps ran", got, first, res.Report().Ran())
	}
}

// Every file of the cache is damaged in turn: the build gives the same image, or a
// clear error, and never another image.
func TestDamagedCache(t *testing.T) {
	context := layout(t, "a", "b/c")
	dir := t.TempDir()
	s := stage.Scratch().Copy(".", "/").File("/f", "x")
	request := stage.Request{Context: stage.Dir(context)}
	run := func() (string, error) {
		disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
		if err != nil {
			return "", err
		}
		defer disk.Close()
		e, err := local.New(local.Options{Store: disk})
		if err != nil {
			return "", err
		}
		defer e.Close()
		res, err := e.Execute(t.Context(), compile(t, s), request)
		if err != nil {
			return "", err
		}
		defer res.Close()
		if err := validate.Image(res.Outputs()[0].Image); err != nil {
			return "", err
		}
		return digest(t, res), nil
	}
	want, err := run()
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, sub := range []string{"records", "blobs"} {
		err := filepath.WalkDir(filepath.Join(dir, sub), func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				files = append(files, p)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(files) < 5 {
		t.Fatalf("the cache has %d files", len(files))
	}
	for _, file := range files {
		good, err := os.ReadFile(file)
		if err != nil {
			continue // a damaged one was removed by the store, and did not come back
		}
		damages := map[string]func(){
			"flipped":   func() { bad := slices.Clone(good); bad[len(bad)/2] ^= 0x40; write(t, file, bad) },
			"truncated": func() { write(t, file, good[:len(good)/2]) },
			"emptied":   func() { write(t, file, nil) },
			"removed":   func() { os.Remove(file) },
		}
		for name, damage := range damages {
			damage()
			got, err := run()
			if err == nil && got != want {
				t.Errorf("%s %s: digest %s, want %s", file, name, got, want)
			}
			if err != nil {
				t.Logf("%s %s: %v", file, name, err)
			}
			write(t, file, good)
		}
	}
	if got, err := run(); err != nil || got != want {
		t.Errorf("afterwards: %s, %v", got, err)
	}
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	os.Remove(file)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
