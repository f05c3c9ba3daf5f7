package local_test

import (
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// modelOperations is how many operations TestModel does. A million of them ran without a
// difference, in twenty minutes beside other work.
const modelOperations = 10_000

// TestModel does random operations on stages and in a plain model of them, which must
// agree about files, configuration, and what is refused.
func TestModel(t *testing.T) {
	const seed = 1
	n := modelOperations
	if testing.Short() {
		n /= 10
	}
	e := memory(t, local.Options{})
	for done := uint64(0); n > 0; done++ {
		if done%500 == 499 {
			e = memory(t, local.Options{}) // so that the cache does not grow for ever
		}
		m := &mbuild{r: rand.New(rand.NewPCG(seed, done)), e: e}
		if err := m.run(t); err != nil {
			t.Fatalf("seed %d, stage %d: %v", seed, done, err)
		}
		n -= m.operations
	}
}

// mbuild is one random stage and its source, made twice.
type mbuild struct {
	r          *rand.Rand
	e          *local.Executor
	operations int

	stage, source      stage.Stage
	files, sourceFiles mfs
	config             image.Config
	compatible         bool
	log                []string
}

func (b *mbuild) run(t *testing.T) error {
	root := mfs{"": {kind: 'd', mode: 0o755}}
	b.stage, b.files = stage.Scratch(stage.As("source")), maps.Clone(root)
	for range 4 + b.r.IntN(12) {
		if err := b.step(t, b.fileOperation); err != nil {
			return err
		}
	}
	b.log = append(b.log, "-- the source ends")
	b.source, b.sourceFiles, b.files = b.stage, b.files, maps.Clone(root)
	b.compatible = b.r.IntN(2) == 0
	b.stage = stage.Scratch()
	if b.compatible {
		b.stage = docker()
	}
	b.config = image.Config{WorkingDir: "/", Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	for range 8 + b.r.IntN(12) {
		do := b.fileOperation
		switch b.r.IntN(6) {
		case 0, 1, 2:
			do = b.copyOperation
		case 3:
			do = b.configOperation
		}
		if err := b.step(t, do); err != nil {
			return err
		}
	}
	res, err := b.build(t, b.stage)
	if err != nil {
		return fmt.Errorf("%s\nfailed: %w", strings.Join(b.log, "\n"), err)
	}
	if diff := b.compare(res); diff != "" {
		return fmt.Errorf("%s\n%s", strings.Join(b.log, "\n"), diff)
	}
	return res.Close()
}

// step does one operation in both. One that the model refuses must fail in the build,
// and is left out.
func (b *mbuild) step(t *testing.T, operation func() (string, func(stage.Stage) stage.Stage, error)) error {
	before, config := maps.Clone(b.files), b.config.Clone()
	text, do, err := operation()
	b.operations++
	after := do(b.stage)
	if err == nil {
		b.stage, b.log = after, append(b.log, text)
		return nil
	}
	b.files, b.config = before, config
	if res, err := b.build(t, after); err == nil {
		res.Close()
		return fmt.Errorf("%s\nwas not refused: %s", strings.Join(b.log, "\n"), text)
	}
	return nil
}

func (b *mbuild) build(t *testing.T, s stage.Stage) (stage.Result, error) {
	g, err := stage.Compile(t.Context(), []stage.Stage{s}, stage.Options{Platforms: amd64})
	if err != nil {
		return nil, err
	}
	return b.e.Execute(t.Context(), g, stage.Request{})
}

func pick[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// path is a random path, sometimes through links and upwards.
func (b *mbuild) path() string {
	p := ""
	for range 1 + b.r.IntN(3) {
		p += "/" + pick(b.r, "a", "b", "c", "x.txt", "y.md")
	}
	return p
}

func (b *mbuild) fileOperation() (string, func(stage.Stage) stage.Stage, error) {
	p, ids := b.path(), [2]int{b.r.IntN(3), b.r.IntN(3)}
	owner := fmt.Sprintf("%d:%d", ids[0], ids[1])
	mode := pick[uint32](b.r, 0o644, 0o755, 0o600, 0o4711, 0o1777)
	dir := mfile{kind: 'd', mode: 0o755}
	switch b.r.IntN(7) {
	case 0, 1, 2:
		content := pick(b.r, "", "one", "two")
		return "file " + p, func(s stage.Stage) stage.Stage {
			return s.File(p, content, stage.Mode(mode), stage.Owner(owner))
		}, b.files.put(p, mfile{'f', mode, ids[0], ids[1], content})
	case 3, 4:
		return "mkdir " + p, func(s stage.Stage) stage.Stage { return s.Mkdir(p, stage.Mode(mode), stage.Owner(owner)) },
			b.files.makeDir(p, dir, mfile{'d', mode, ids[0], ids[1], ""})
	case 5:
		target := pick(b.r, "a", "../b", "/a", "c/a", "../../x.txt", "/b/c", "/", "..", "x.txt", "../..", "/none")
		return "symlink " + target + " " + p, func(s stage.Stage) stage.Stage { return s.Symlink(target, p) },
			b.files.put(p, mfile{'l', 0o777, 0, 0, target})
	}
	return "remove " + p, func(s stage.Stage) stage.Stage { return s.Remove(p) }, b.files.remove(p)
}

func (b *mbuild) copyOperation() (string, func(stage.Stage) stage.Stage, error) {
	c, opts := b.randomCopy()
	from := b.source
	return c.String(), func(s stage.Stage) stage.Stage { return s.CopyFrom(from, stage.Files(c.paths...), c.dest, opts...) },
		b.files.copy(b.sourceFiles, c)
}

func (c mcopy) String() string {
	mode := ""
	if c.chmod != nil {
		mode = c.chmod.text
	}
	return fmt.Sprintf("copy %q %s chown=%q chmod=%q exclude=%q parents=%v link=%v compatible=%v", c.paths, c.dest, c.chown, mode, c.exclude, c.parents, c.link, c.compatible)
}

// randomCopy is a copy and its options.
func (b *mbuild) randomCopy() (mcopy, []stage.CopyOption) {
	c := mcopy{compatible: b.compatible, parents: b.r.IntN(5) == 0, link: b.r.IntN(5) == 0}
	for range 1 + b.r.IntN(4)/3 {
		p := pick(b.r, ".", "*", "*/*", "a*", "?/*", "*.txt", "a/*", "b/*.md", "", "", "", "")
		if p == "" {
			p = b.path()[1:]
		}
		if !c.compatible && b.r.IntN(6) == 0 {
			p = pick(b.r, "**", "**/*.txt", "a/**", "**/b")
		}
		if c.parents && b.r.IntN(2) == 0 {
			if before, after, ok := strings.Cut(p, "/"); ok && after != "**" {
				p = before + "/./" + after
			}
		}
		if c.parents && p == "." {
			p = "a"
		}
		c.paths = append(c.paths, p)
	}
	c.dest = b.path() + pick(b.r, "", "", "/", "/", "/")
	if b.r.IntN(8) == 0 {
		c.dest = "/"
	}
	opts := []stage.CopyOption{}
	if c.parents {
		opts = append(opts, stage.Parents())
	}
	if c.link {
		opts = append(opts, stage.Link())
	}
	if b.r.IntN(4) == 0 {
		c.chown = pick(b.r, "3", "4:5", "0")
		opts = append(opts, stage.Chown(c.chown))
	}
	if b.r.IntN(3) == 0 {
		c.chmod = &mmodes[b.r.IntN(len(mmodes))]
		opts = append(opts, stage.Chmod(c.chmod.text))
	}
	if b.r.IntN(4) == 0 {
		c.exclude = pick(b.r, []string{"*.txt"}, []string{"**/*.md"}, []string{"a", "!a/x.txt"}, []string{"*", "!b"}, []string{"a/*", "c"}, []string{"**", "!**/x.txt"})
		opts = append(opts, stage.Exclude(c.exclude...))
	}
	return c, opts
}

// configOperation changes the configuration by the rules of the image specification's
// fields and Dockerfile instructions.
func (b *mbuild) configOperation() (string, func(stage.Stage) stage.Stage, error) {
	cfg := &b.config
	switch b.r.IntN(8) {
	case 0:
		name, value := pick(b.r, "A", "B", "PATH"), pick(b.r, "1", "two words", "x")
		at := slices.IndexFunc(cfg.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if cfg.Env = slices.Clone(cfg.Env); at >= 0 {
			cfg.Env[at] = name + "=" + value
		} else {
			cfg.Env = append(cfg.Env, name+"="+value)
		}
		if b.compatible {
			value = `"` + value + `"`
		}
		return "env " + name, func(s stage.Stage) stage.Stage { return s.Env(name, value) }, nil
	case 1:
		name, value := pick(b.r, "k", "l"), pick(b.r, "1", "2")
		cfg.Labels = maps.Clone(cfg.Labels)
		if cfg.Labels == nil {
			cfg.Labels = map[string]string{}
		}
		cfg.Labels[name] = value
		return "label " + name, func(s stage.Stage) stage.Stage { return s.Label(name, value) }, nil
	case 2:
		cfg.User = pick(b.r, "0", "7", "7:8")
		user := cfg.User
		return "user " + user, func(s stage.Stage) stage.Stage { return s.User(user) }, nil
	case 3:
		// An entry point takes the command away that an earlier stage left: here is none.
		cfg.Entrypoint = pick(b.r, []string{"/e"}, []string{"/e", "1"})
		argv := cfg.Entrypoint
		return "entrypoint", func(s stage.Stage) stage.Stage { return s.Entrypoint(argv...) }, nil
	case 4:
		cfg.Cmd = pick(b.r, []string{"/c"}, []string{"/c", "2"})
		argv := cfg.Cmd
		return "cmd", func(s stage.Stage) stage.Stage { return s.Cmd(argv...) }, nil
	}
	dir := pick(b.r, b.path(), b.path()[1:], "..")
	cfg.WorkingDir = path.Join(cfg.WorkingDir, dir)
	if path.IsAbs(dir) {
		cfg.WorkingDir = path.Clean(dir)
	}
	made := mfile{kind: 'd', mode: 0o755}
	if cfg.User != "" {
		made.uid, made.gid = mids(cfg.User)
		if !b.compatible && !strings.Contains(cfg.User, ":") {
			made.gid = 0 // nobody is in /etc/passwd
		}
	}
	return "workdir " + dir, func(s stage.Stage) stage.Stage { return s.Workdir(dir) }, b.files.makeDir(cfg.WorkingDir, made, made)
}

// compare tells the first difference between a result and the model.
func (b *mbuild) compare(res stage.Result) string {
	out := res.Outputs()[0]
	files, err := res.Files(out.Target.Step)
	if err != nil {
		return err.Error()
	}
	got := mfs{}
	err = fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n := info.Sys().(*tree.Node)
		f := mfile{kind: 'd', mode: n.Meta().Mode, uid: int(n.Meta().UID), gid: int(n.Meta().GID)}
		switch n.Kind() {
		case tree.File:
			text, err := fs.ReadFile(files, p)
			if err != nil {
				return err
			}
			f.kind, f.data = 'f', string(text)
		case tree.Symlink:
			f.kind, f.data = 'l', n.Target()
		}
		if p == "." {
			p = ""
		}
		got[p] = f
		return nil
	})
	if err != nil {
		return err.Error()
	}
	if diff := mdiff(got, b.files); diff != "" {
		return diff
	}
	file, err := out.Image.ConfigFile()
	if err != nil {
		return err.Error()
	}
	c, want := file.Config, b.config
	for _, f := range [][2]any{{c.Env, want.Env}, {c.Labels, want.Labels}, {c.User, want.User}, {c.WorkingDir, want.WorkingDir}, {c.Entrypoint, want.Entrypoint}, {c.Cmd, want.Cmd}} {
		if fmt.Sprint(f[0]) != fmt.Sprint(f[1]) {
			return fmt.Sprintf("configuration: got %q, want %q", f[0], f[1])
		}
	}
	return ""
}

// mdiff lists what differs between two sets of files.
func mdiff(got, want mfs) string {
	var diff []string
	for p, f := range want {
		if g, ok := got[p]; !ok || g != f {
			diff = append(diff, fmt.Sprintf("/%s: got %c %04o %d:%d %q, want %c %04o %d:%d %q", p, g.kind, g.mode, g.uid, g.gid, g.data, f.kind, f.mode, f.uid, f.gid, f.data))
		}
	}
	for p, g := range got {
		if _, ok := want[p]; !ok {
			diff = append(diff, fmt.Sprintf("/%s: got %c %04o, want nothing", p, g.kind, g.mode))
		}
	}
	slices.Sort(diff)
	return strings.Join(diff, "\n")
}
