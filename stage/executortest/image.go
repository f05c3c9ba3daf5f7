package executortest

import (
	"errors"
	"strings"
	"sync"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// imageCases are about what comes out.
var imageCases = []suiteCase{
	{"Config", testConfig},
	{"History", testHistory},
	{"ValidImage", testValidImage},
	{"Outputs", testOutputs},
	{"FilesOfEachStep", testFilesOfEachStep},
	{"SameDigest", testSameDigest},
	{"Concurrent", testConcurrent},
	{"CloseTwice", testCloseTwice},
}

func described() stage.Stage {
	return stage.Scratch().
		Env("LANG", "C.UTF-8").
		Label("org.opencontainers.image.title", "app").
		Workdir("/srv").
		File("app", "binary", stage.Mode(0o755)).
		User("10:20").
		Expose(8080).
		Volume("/data").
		StopSignal("SIGINT").
		Entrypoint("/srv/app").
		Cmd("-v")
}

func (f *fixture) file(res stage.Result) image.File {
	f.Helper()
	file, err := image.FileOf(res.Outputs()[0].Image)
	if err != nil {
		f.Fatalf("configuration of the image: %v", err)
	}
	return file
}

// lastConfig is the configuration that a graph gives its first target.
func lastConfig(g *stage.Graph) image.Config {
	return *g.Steps()[g.Targets()[0].Step].Config
}

func testConfig(f *fixture) {
	g, res := f.build(described(), stage.Request{})
	file := f.file(res)
	if diff := cmp.Diff(lastConfig(g), file.Config, cmpopts.EquateEmpty()); diff != "" {
		f.Errorf("configuration (-of the last step +of the image):\n%s", diff)
	}
	p := g.Targets()[0].Platform
	if file.OS != p.OS || file.Architecture != p.Architecture || file.Variant != p.Variant {
		f.Errorf("the image is for %s/%s/%s, want %s", file.OS, file.Architecture, file.Variant, p)
	}
}

// testHistory wants one entry a step that has a history, in order, beginning with
// its text; those of steps with a layer are as many as there are layers.
func testHistory(f *fixture) {
	g, res := f.build(described(), stage.Request{})
	var want []string
	for id := g.Targets()[0].Step; id >= 0; id = g.Steps()[id].Parent {
		if h := g.Steps()[id].History; h != "" {
			want = append([]string{h}, want...)
		}
	}
	file := f.file(res)
	if len(file.History) != len(want) {
		f.Fatalf("%d entries of history, want %d: %q", len(file.History), len(want), want)
	}
	layers := 0
	for i, h := range file.History {
		if !strings.HasPrefix(h.CreatedBy, want[i]) {
			f.Errorf("history %d is %q, want %q", i, h.CreatedBy, want[i])
		}
		if !h.EmptyLayer {
			layers++
		}
	}
	if n := len(file.RootFS.DiffIDs); n != layers {
		f.Errorf("%d layers, and %d entries of history that have one", n, layers)
	}
}

func testValidImage(f *fixture) {
	for _, s := range []stage.Stage{described(), stage.Scratch(), stage.Scratch().File("/a", "1").Remove("/a")} {
		_, res := f.build(s, stage.Request{})
		if err := validate.Image(res.Outputs()[0].Image); err != nil {
			f.Errorf("%s: %v", s, err)
		}
	}
}

func testOutputs(f *fixture) {
	platforms := platform.MustParseSet("linux/arm64,linux/amd64,linux/arm/v7")
	tool := stage.Scratch(stage.As("tool")).File("/tool", "tool")
	app := stage.Scratch(stage.As("app")).File("/app", "app")
	g := f.compileFor(platforms, tool, app)
	outputs := f.execute(f.executor(), g, stage.Request{}).Outputs()
	if len(outputs) != len(g.Targets()) {
		f.Fatalf("%d outputs for %d targets", len(outputs), len(g.Targets()))
	}
	for i, target := range g.Targets() {
		o := outputs[i]
		if o.Target != target || o.Platform != target.Platform {
			f.Errorf("output %d is %v for %s, want %v", i, o.Target, o.Platform, target)
		}
		file, err := image.FileOf(o.Image)
		if err != nil {
			f.Fatal(err)
		}
		if p := target.Platform; file.OS != p.OS || file.Architecture != p.Architecture || file.Variant != p.Variant {
			f.Errorf("output %d: the configuration says %s/%s/%s, want %s", i, file.OS, file.Architecture, file.Variant, p)
		}
		list, err := imageListing(o.Image)
		if err != nil {
			f.Fatal(err)
		}
		if len(list) != 1 || pathOf(list[0]) != target.Stage {
			f.Errorf("output %d has the files %q, want those of stage %s", i, list, target.Stage)
		}
	}
}

func testFilesOfEachStep(f *fixture) {
	other := stage.Scratch(stage.As("other")).File("/o", "other")
	s := stage.Scratch().File("/a", "1").Env("X", "y").File("/b", "2").CopyFrom(other, "/o", "/c").Remove("/a")
	g, res := f.build(s, stage.Request{})
	want := map[string][]string{
		"FILE /a":   {`f 0644 a "1"`},
		"ENV":       {`f 0644 a "1"`},
		"FILE /b":   {`f 0644 a "1"`, `f 0644 b "2"`},
		"FILE /o":   {`f 0644 o "other"`},
		"COPY":      {`f 0644 a "1"`, `f 0644 b "2"`, `f 0644 c "other"`},
		"REMOVE /a": {`f 0644 b "2"`, `f 0644 c "other"`},
		"FROM":      nil,
	}
	for _, step := range g.Steps() {
		fsys, err := res.Files(step.ID)
		if err != nil {
			f.Errorf("Files(%d), %s: %v", step.ID, step.Text, err)
			continue
		}
		list, err := fsListing(fsys)
		if err != nil {
			f.Errorf("Files(%d), %s: %v", step.ID, step.Text, err)
			continue
		}
		diff := cmp.Diff(want[key(step)], list, cmpopts.EquateEmpty())
		if diff != "" {
			f.Errorf("Files(%d), %s (-want +got):\n%s", step.ID, step.Text, diff)
		}
	}
	for _, id := range []int{-1, len(g.Steps()), 1 << 30} {
		if _, err := res.Files(id); !errors.Is(err, stage.ErrUnknownStage) {
			f.Errorf("Files(%d): %v, want stage.ErrUnknownStage", id, err)
		}
	}
}

// key names a step of testFilesOfEachStep.
func key(s *stage.Step) string {
	switch op := s.Op.(type) {
	case *stage.FileOp:
		return "FILE " + op.Path
	case *stage.RemoveOp:
		return "REMOVE " + op.Path
	case *stage.CopyOp:
		return "COPY"
	case *stage.ConfigOp:
		return "ENV"
	}
	return "FROM"
}

// testSameDigest builds twice with executors that share nothing, from directories
// that differ in all that must not count.
func testSameDigest(f *fixture) {
	s := described().Copy(".", "/src")
	g := f.compile(s)
	first := f.digest(f.execute(f.executor(), g, stage.Request{Context: stage.Dir(f.tree())}))
	again := f.digest(f.execute(f.executor(), g, stage.Request{Context: stage.Dir(f.tree())}))
	second := f.digest(f.execute(f.newExecutor(f.T), f.compile(s), stage.Request{Context: stage.Dir(f.tree())}))
	if first != again || first != second {
		f.Errorf("digests %s, again %s, by another executor %s", first, again, second)
	}
	changed := f.digest(f.execute(f.executor(), f.compile(s.File("/more", "")), stage.Request{Context: stage.Dir(f.tree())}))
	if changed == first {
		f.Error("another stage has the same digest")
	}
}

func testConcurrent(f *fixture) {
	e := f.executor()
	base := stage.Scratch(stage.As("base")).File("/base", strings.Repeat("x", 100_000))
	g := f.compile(stage.From(base).File("/app", "1").CopyFrom(base, "/base", "/copy"))
	digests := make([]string, 8)
	errs := make([]error, len(digests))
	var wg sync.WaitGroup
	for i := range digests {
		wg.Go(func() {
			res, err := e.Execute(f.Context(), g, stage.Request{})
			if err != nil {
				errs[i] = err
				return
			}
			d, err := res.Outputs()[0].Image.Digest()
			digests[i], errs[i] = d.String(), errors.Join(err, validate.Image(res.Outputs()[0].Image), res.Close())
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		f.Fatal(err)
	}
	for _, d := range digests {
		if d != digests[0] {
			f.Fatalf("the digests differ: %q", digests)
		}
	}
}

func testCloseTwice(f *fixture) {
	res, err := f.executor().Execute(f.Context(), f.compile(described()), stage.Request{})
	if err != nil {
		f.Fatal(err)
	}
	for _, which := range []string{"first", "second"} {
		if err := res.Close(); err != nil {
			f.Errorf("%s Close: %v", which, err)
		}
	}
}
