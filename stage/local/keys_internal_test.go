package local

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

var update = flag.Bool("update", false, "rewrite the golden keys in testdata")

// bases resolves every reference, and has no image: recipes need none.
type bases struct{}

func (bases) Resolve(_ context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	return stage.BaseImage{Digest: digest.FromString(ref), File: image.File{OS: p.OS, Architecture: p.Architecture}}, nil
}

func (bases) Image(context.Context, string, platform.Platform) (v1.Image, error) {
	return nil, fs.ErrNotExist
}

// keysOf are the recipe key of the last step of a stage, and its content key if it has one.
func keysOf(t *testing.T, s stage.Stage, from stage.Source, o Options) (recipe, content string) {
	t.Helper()
	o.Store, o.Images = cache.NewMemory(), bases{}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	g, err := stage.Compile(t.Context(), []stage.Stage{s}, stage.Options{
		Resolver: bases{}, BuildPlatform: platform.MustParse("linux/amd64"), Platforms: platform.MustParseSet("linux/amd64"),
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := e.open(t.Context(), g, stage.Request{
		Context: from, Secrets: map[string]stage.Secret{"s": stage.SecretValue("x"), "z": stage.SecretValue("x")},
		SSH: map[string]stage.SSHAgent{"default": {Socket: "/none"}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.close()
	session.planning = true
	step := session.steps[session.below(g.Targets()[0].Step)]
	recipe = session.recipes[step.ID].Hex()
	if explained, err := session.recipe(step, session.keys, cache.NewExplainedKey); err != nil || explained.Sum().Hex() != recipe {
		t.Errorf("%s: the explained recipe has another key, or: %v", step.Text, err)
	}
	if !byContent(step.Op) {
		return recipe, ""
	}
	trees, err := session.trees(t.Context(), nil, append([]int{step.Parent}, step.Inputs...))
	if err != nil {
		t.Fatal(err)
	}
	key, err := session.contentKey(step, trees[0], trees[1:])
	if err != nil {
		t.Fatal(err)
	}
	return recipe, key.Hex()
}

// keyCase is a step whose keys are golden. A name "a, b" is a with an option b: its keys are others
// than those of "a", unless same says that the option is in no key.
type keyCase struct {
	name string
	same bool
	make func(stage.Stage) stage.Stage
}

var keyFiles = fstest.MapFS{"a": {Data: []byte("a"), Mode: 0o644}, "d/b": {Data: []byte("b"), Mode: 0o755}, "d/e/c": {Data: []byte("c"), Mode: 0o644}}

func fileCases() []keyCase {
	other := stage.Scratch(stage.As("other")).File("/o/f", "other")
	third := stage.Scratch(stage.As("third")).File("/o/f", "third")
	do := func(context.Context, fs.FS, stage.Writer) error { return nil }
	return []keyCase{
		{"file", false, func(s stage.Stage) stage.Stage { return s.File("/f", "x") }},
		{"file, path", false, func(s stage.Stage) stage.Stage { return s.File("/g", "x") }},
		{"file, content", false, func(s stage.Stage) stage.Stage { return s.File("/f", "y") }},
		{"file, mode", false, func(s stage.Stage) stage.Stage { return s.File("/f", "x", stage.Mode(0o600)) }},
		{"file, owner", false, func(s stage.Stage) stage.Stage { return s.File("/f", "x", stage.Owner("1:2")) }},
		{"file, label", true, func(s stage.Stage) stage.Stage { return s.Label("a", "b").Env("A", "b").File("/f", "x").Cmd("x") }},
		{"file, parent", false, func(s stage.Stage) stage.Stage { return s.Mkdir("/d").File("/f", "x") }},
		{"mkdir", false, func(s stage.Stage) stage.Stage { return s.Mkdir("/f") }},
		{"mkdir, mode", false, func(s stage.Stage) stage.Stage { return s.Mkdir("/f", stage.Mode(0o700)) }},
		{"mkdir, owner", false, func(s stage.Stage) stage.Stage { return s.Mkdir("/f", stage.Owner("1")) }},
		{"symlink", false, func(s stage.Stage) stage.Stage { return s.Symlink("a", "/l") }},
		{"symlink, target", false, func(s stage.Stage) stage.Stage { return s.Symlink("b", "/l") }},
		{"symlink, path", false, func(s stage.Stage) stage.Stage { return s.Symlink("a", "/m") }},
		{"remove", false, func(s stage.Stage) stage.Stage { return s.File("/f", "x").Remove("/f") }},
		{"remove, path", false, func(s stage.Stage) stage.Stage { return s.File("/f", "x").Remove("/g") }},
		{"remove, optional", false, func(s stage.Stage) stage.Stage { return s.File("/f", "x").Remove("/f", stage.MayBeAbsent()) }},
		{"workdir", false, func(s stage.Stage) stage.Stage { return s.Workdir("/w") }},
		{"workdir, path", false, func(s stage.Stage) stage.Stage { return s.Workdir("/v") }},
		{"workdir, user", false, func(s stage.Stage) stage.Stage { return s.User("7").Workdir("/w") }},
		{"merge", false, func(s stage.Stage) stage.Stage { return s.Merge(other) }},
		{"merge, stage", false, func(s stage.Stage) stage.Stage { return s.Merge(third) }},
		{"merge, two", false, func(s stage.Stage) stage.Stage { return s.Merge(other, third) }},
		{"apply", false, func(s stage.Stage) stage.Stage { return s.Apply(other, third) }},
		{"apply, the other way", false, func(s stage.Stage) stage.Stage { return s.Apply(third, other) }},
		{"func", false, func(s stage.Stage) stage.Stage { return s.Func("f", "1", do) }},
		{"func, name", false, func(s stage.Stage) stage.Stage { return s.Func("g", "1", do) }},
		{"func, version", false, func(s stage.Stage) stage.Stage { return s.Func("f", "2", do) }},
		{"func, cache key", false, func(s stage.Stage) stage.Stage { return s.Func("f", "1", do, stage.CacheKey("k")) }},
		{"func, age", true, func(s stage.Stage) stage.Stage { return s.Func("f", "1", do, stage.MaxAge(time.Hour)) }},
	}
}

func copyCases() []keyCase {
	all := stage.Files("a", "d")
	copied := func(o ...stage.CopyOption) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage { return s.Copy(all, "/x/", o...) }
	}
	paths := func(dest string, list ...string) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage { return s.Copy(stage.Files(list...), dest) }
	}
	from := func(content, path string, o ...stage.CopyOption) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage {
			return s.CopyFrom(stage.Scratch(stage.As("from")).File("/o/f", content), stage.Files(path), "/x/", o...)
		}
	}
	return []keyCase{
		{"copy", false, copied()},
		{"copy, destination", false, func(s stage.Stage) stage.Stage { return s.Copy(all, "/y/") }},
		{"copy, paths", false, paths("/x/", "a", "d/b")},
		{"copy, order", false, paths("/x/", "d", "a")},
		{"copy, chown", false, copied(stage.Chown("1:2"))},
		{"copy, chmod", false, copied(stage.Chmod("0600"))},
		{"copy, chmod of directories", false, copied(stage.ChmodDirs("0700"))},
		{"copy, parents", false, copied(stage.Parents())},
		{"copy, exclude", false, copied(stage.Exclude("e"))},
		{"copy, exclude nothing", false, copied(stage.Exclude("none"))},
		{"copy, link", false, copied(stage.Link())},
		{"copy, unpack", false, copied(stage.UnpackArchive())},
		{"copy, links kept", false, copied(stage.WithLinks(stage.LinksKept))},
		{"copy, links refused", false, copied(stage.WithLinks(stage.LinksRefused))},
		{"copy, inline", false, copied(stage.Inline("i", "x"))},
		{"copy, inline of another content", false, copied(stage.Inline("i", "y"))},
		{"copy, inline of another name", false, copied(stage.Inline("j", "x"))},
		{"copy, optional", false, copied(stage.Optional())},
		{"copy, cache key", false, copied(stage.CacheKey("k"))},
		{"copy, age", true, copied(stage.MaxAge(time.Hour))},
		{"copy, no cache", true, copied(stage.NoCache())},
		{"copy of a pattern", false, paths("/x/", "*")},
		{"copy of kept directories", false, func(s stage.Stage) stage.Stage { return s.Copy(stage.Files("d/*/c"), "/x/", stage.Parents()) }},
		{"copy of a stage", false, from("1", "/o/f")},
		{"copy of a stage, another", false, from("2", "/o/f")},
		{"copy of a stage, path", false, from("1", "/o")},
		{"copy of a stage, link", false, from("1", "/o/f", stage.Link())},
	}
}

func runCases() []keyCase {
	run := func(o ...stage.RunOption) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage { return s.Run("make", o...) }
	}
	after := func(f func(stage.Stage) stage.Stage) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage { return f(s).Run("make") }
	}
	files := stage.FS(keyFiles)
	other := stage.Scratch(stage.As("other")).File("/o/f", "other")
	third := stage.Scratch(stage.As("third")).File("/o/f", "third")
	script := func(text string, o ...stage.RunOption) func(stage.Stage) stage.Stage {
		return func(s stage.Stage) stage.Stage { return s.Script(text, o...) }
	}
	return []keyCase{
		{"run", false, run()},
		{"run, parent", false, after(func(s stage.Stage) stage.Stage { return s.File("/f", "x") })},
		{"run, command", false, func(s stage.Stage) stage.Stage { return s.Run("make all") }},
		{"run, exec", false, func(s stage.Stage) stage.Stage { return s.RunExec([]string{"make"}) }},
		{"run, shell", false, after(func(s stage.Stage) stage.Stage { return s.Shell("/bin/bash", "-c") })},
		{"run, variable", false, after(func(s stage.Stage) stage.Stage { return s.Env("A", "1") })},
		{"run, variable of another value", false, after(func(s stage.Stage) stage.Stage { return s.Env("A", "2") })},
		{"run, user", false, after(func(s stage.Stage) stage.Stage { return s.User("0:7") })},
		{"run, label", true, after(func(s stage.Stage) stage.Stage { return s.Label("a", "b").Volume("/v").Cmd("x").StopSignal("TERM") })},
		{"run, network", false, run(stage.WithNetwork(stage.NetworkNone))},
		{"run, host", false, run(stage.ExtraHost("h", "10.0.0.1"))},
		{"run, another host", false, run(stage.ExtraHost("i", "10.0.0.1"))},
		{"run, input", false, run(stage.Stdin("x"))},
		{"run, empty input", false, run(stage.Stdin(""))},
		{"run, exit codes", false, run(stage.AllowExit(1, 2))},
		{"run, capture", false, run(stage.Capture())},
		{"run, cache key", false, run(stage.CacheKey("k"))},
		{"run, time", true, run(stage.Timeout(time.Minute))},
		{"run, retries", true, run(stage.Retry(2))},
		{"run, age", true, run(stage.MaxAge(time.Hour))},
		{"run, no cache", true, run(stage.NoCache())},
		{"run, cache", false, run(stage.CacheMount("/c"))},
		{"run, cache elsewhere", false, run(stage.CacheMount("/d", stage.ID("/c")))},
		{"run, cache of an id", false, run(stage.CacheMount("/c", stage.ID("i")))},
		{"run, cache with a mode", false, run(stage.CacheMount("/c", stage.MountMode(0o700)))},
		{"run, cache with an owner", false, run(stage.CacheMount("/c", stage.MountOwner(1, 2)))},
		{"run, cache to read", false, run(stage.CacheMount("/c", stage.ReadOnly()))},
		{"run, tmpfs", false, run(stage.TmpfsMount("/t", 1<<20))},
		{"run, larger tmpfs", false, run(stage.TmpfsMount("/t", 2<<20))},
		{"run, secret", false, run(stage.SecretMount("s"))},
		{"run, another secret", false, run(stage.SecretMount("z"))},
		{"run, secret in a variable", false, run(stage.SecretEnv("s", "S"))},
		{"run, agent", false, run(stage.SSHMount("default"))},
		{"run, directory", false, run(stage.BindMount(files, "d", "/m"))},
		{"run, another directory", false, run(stage.BindMount(files, "d/e", "/m"))},
		{"run, directory to write", false, run(stage.BindMount(files, "d", "/m", stage.Writable()))},
		{"run, stage", false, run(stage.BindMount(other, "/o", "/m"))},
		{"run, another stage", false, run(stage.BindMount(third, "/o", "/m"))},
		{"run, two mounts", false, run(stage.CacheMount("/c"), stage.CacheMount("/d"))},
		{"run, two mounts in another order", false, run(stage.CacheMount("/d"), stage.CacheMount("/c"))},
		{"script", false, script("a\nb")},
		{"script, text", false, script("a\nc")},
		{"script, program", false, script("#!/bin/x\na")},
		{"script, place", false, script("#!/bin/x\na", stage.ScriptPath("/p"))},
		{"cache mount", false, run(stage.CacheMount("/c"))},
		{"cache mount, sharing", true, run(stage.CacheMount("/c", stage.WithSharing(stage.Locked)))},
		{"cache mount, seed", true, run(stage.CacheMount("/c", stage.SeedFrom(files, "d")))},
	}
}

// A change of these keys makes the steps of every cache in the world misses: one that is meant changes
// recipeVersion or contentVersion, or the fields, and testdata/keys.txt with them.
func TestKeysGolden(t *testing.T) {
	cases := append(append(fileCases(), copyCases()...), runCases()...)
	cases = append(cases,
		keyCase{"base", false, func(stage.Stage) stage.Stage { return stage.From("docker.io/library/a:1") }},
		keyCase{"base, another", false, func(stage.Stage) stage.Stage { return stage.From("docker.io/library/a:2") }})
	var out strings.Builder
	type keys struct{ recipe, content string }
	known, names := map[string]keys{}, map[keys]string{}
	for _, c := range cases {
		recipe, content := keysOf(t, c.make(stage.Scratch()), stage.FS(keyFiles), Options{})
		k := keys{recipe, content}
		known[c.name] = k
		fmt.Fprintf(&out, "%s: recipe %s", c.name, recipe)
		if content != "" {
			fmt.Fprintf(&out, " content %s", content)
		}
		out.WriteByte('\n')
		kind, _, option := strings.Cut(c.name, ", ")
		switch other := names[k]; {
		case c.same && k != known[kind]:
			t.Errorf("%q: the option is in the key", c.name)
		case option && !c.same && other != "" && !strings.HasPrefix(c.name, "cache mount"):
			t.Errorf("%q has the keys of %q", c.name, other)
		}
		if names[k] == "" {
			names[k] = c.name
		}
	}
	path := filepath.Join("testdata", "keys.txt")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("%s differs; run with -update when that is meant (-want +got):\n%s", path, diff)
	}
}

// Epoch and what a step can see are in its keys; the directory, its name, the umask, the clock of the files and
// their owner are not.
func TestKeysOfEqualContexts(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and owners are those of Unix")
	}
	app := func() stage.Stage {
		labels := map[string]string{"z": "1", "y": "2", "x": "3", "w": "4"}
		s := stage.Scratch(stage.As("app"))
		for k, v := range labels { // in whatever order: no step sees them
			s = s.Label(k, v)
		}
		return s.Copy(".", "/app/").Run("make", stage.BindMount(stage.Context(), "d", "/m"))
	}
	type variant struct {
		name  string
		perm  fs.FileMode // that a umask leaves
		clock time.Time
		owner int
	}
	var first [2]string
	for i, v := range []variant{
		{"as it is", 0, time.Time{}, -1},
		{"another umask", 0o077, time.Time{}, -1},
		{"another clock", 0, time.Unix(1e9, 5), -1},
		{"another owner", 0, time.Time{}, 12345},
	} {
		if v.owner >= 0 && os.Geteuid() != 0 {
			t.Logf("%s: only root can give files away", v.name)
			continue
		}
		dir := filepath.Join(t.TempDir(), strings.Repeat("n", i+1))
		if err := os.CopyFS(dir, keyFiles); err != nil {
			t.Fatal(err)
		}
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			mode := fs.FileMode(0o666)
			if d.IsDir() || filepath.Base(p) == "b" {
				mode = 0o777
			}
			if err := os.Chmod(p, mode&^max(v.perm, 0o022)); err != nil {
				return err
			}
			if v.owner >= 0 {
				if err := os.Lchown(p, v.owner, v.owner); err != nil {
					return err
				}
			}
			if v.clock.IsZero() {
				return nil
			}
			return os.Chtimes(p, v.clock, v.clock)
		})
		if err != nil {
			t.Fatal(err)
		}
		recipe, content := keysOf(t, app(), stage.Dir(dir), Options{})
		if got := [2]string{recipe, content}; i == 0 {
			first = got
		} else if got != first {
			t.Errorf("%s: keys %v, want %v", v.name, got, first)
		}
	}
	recipe, content := keysOf(t, app(), stage.FS(keyFiles), Options{Epoch: time.Unix(1, 0)})
	if recipe == first[0] || content == first[1] {
		t.Error("the epoch is in no key")
	}
}
