package dockerfile_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

var (
	update = flag.Bool("update", false, "rewrite the golden files in testdata")
	all    = flag.Bool("all", false, "compile the Go source of all conformance cases, instead of some")
)

// corpus are the cases of internal/conformance, where that package is to be had.
var corpus func(t *testing.T) []sourceCase

// sourceCase is one graph whose Go source is compiled and run.
type sourceCase struct {
	name      string
	targets   []stage.Stage
	platforms string
	args      map[string]string
	params    string // what the function is given
	file      *dockerfile.File
}

// compile compiles the targets, with the triggers of a Dockerfile as its stages have them.
func (c sourceCase) compile() (*stage.Graph, error) {
	if c.file != nil {
		return compileTriggers(c.targets, c.platforms, c.args, c.file.OnBuild)
	}
	return compileCase(c.targets, c.platforms, c.args)
}

// written are the Dockerfiles in testdata/written/*.txtar. "args: A=1" and "target: NAME" may stand at the top.
func written(t *testing.T) []sourceCase {
	t.Helper()
	paths, err := filepath.Glob("testdata/written/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no Dockerfiles in testdata/written")
	}
	var cases []sourceCase
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c := sourceCase{name: strings.TrimSuffix(filepath.Base(path), ".txtar"), args: map[string]string{}}
		target := ""
		for line := range strings.Lines(string(archive.Comment)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch key {
			case "target":
				target = value
			case "args":
				name, v, _ := strings.Cut(value, "=")
				c.args[name] = v
			case "platforms":
				c.platforms = value
			}
		}
		f, err := dockerfile.Parse("Dockerfile", file(archive, "Dockerfile"), dockerfile.Options{})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		s, err := f.Target(target)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		c.targets = []stage.Stage{s}
		cases = append(cases, c)
	}
	return cases
}

func file(a *txtar.Archive, name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// setFile replaces or adds a file, or removes it when it is empty.
func setFile(a *txtar.Archive, name string, data []byte) {
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return f.Name == name })
	if len(data) > 0 {
		a.Files = append(a.Files, txtar.File{Name: name, Data: data})
	}
}

// goldenPart compares a file of testdata/DIR/NAME.txtar.
func goldenPart(t *testing.T, dir, name, part string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", dir, name+".txtar")
	archive, err := txtar.ParseFile(path)
	if os.IsNotExist(err) && *update {
		archive, err = &txtar.Archive{}, os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		setFile(archive, part, got)
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(file(archive, part)), string(got)); diff != "" {
		t.Errorf("%s, %s differs; run with -update when that is meant (-want +got):\n%s", path, part, diff)
	}
}

// TestGoSource writes the source of each case, compiles all of them as packages of one program, and compares the
// graphs that the program makes with the ones that were written.
func TestGoSource(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command")
	}
	dir := t.TempDir()
	var list []sourceCase
	list = append(list, goCases()...)
	for _, c := range written(t) {
		c.name = "file-" + c.name
		list = append(list, c)
	}
	var calls bytes.Buffer
	want := map[string]string{}
	if corpus != nil {
		for i, c := range corpus(t) {
			if *all || i%16 == 0 { // each takes the compiler some time
				list = append(list, c)
			}
		}
	}
	for i, c := range list {
		g, err := c.compile()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want[c.name] = dump(g)
		function := fmt.Sprintf("Case%d", i)
		source, err := dockerfile.GoSource(g, dockerfile.GoOptions{Package: "cases", Func: function})
		var unsupported *dockerfile.UnsupportedError
		if c.file != nil && errors.As(err, &unsupported) && strings.HasPrefix(c.name, "onbuild/") {
			t.Logf("%s: %v", c.name, err)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		switch name, ok := strings.CutPrefix(c.name, "file-"); {
		case ok:
			program, err := dockerfile.GoSource(g, dockerfile.GoOptions{})
			if err != nil {
				t.Fatal(err)
			}
			goldenPart(t, "written", name, "main.go", program)
			writeFile(t, filepath.Join(dir, "programs", "file-"+name, "main.go"), program)
		case len(c.targets) > 1:
			program, err := dockerfile.GoSource(g, dockerfile.GoOptions{})
			if err != nil {
				t.Fatal(err)
			}
			goldenPart(t, "stages", c.name, "main.go", program)
			writeFile(t, filepath.Join(dir, "programs", c.name, "main.go"), program)
		case !strings.Contains(c.name, "/"):
			goldenPart(t, "stages", c.name, "source.go", bytes.ReplaceAll(source, []byte(function), []byte("Make")))
		}
		writeFile(t, filepath.Join(dir, "cases", function+".go"), source)
		fmt.Fprintf(&calls, "\tshow(%q, stages(cases.%s(%s)), %q, %#v)\n", c.name, function, c.params, c.platforms, c.args)
	}
	shared, err := os.ReadFile("gosourcedump_test.go")
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "dump.go"), bytes.Replace(shared, []byte("package dockerfile_test"), []byte("package main"), 1))
	writeFile(t, filepath.Join(dir, "main.go"), []byte(fmt.Sprintf(roundTripMain, calls.String())))
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	// The module takes the versions of this one, so that nothing is resolved anew.
	text := strings.Replace(string(module), "module github.com/stagewright/stagewright", "module "+roundTripModule, 1)
	text += "\nrequire github.com/stagewright/stagewright v0.0.0\n\nreplace github.com/stagewright/stagewright => " + root + "\n"
	writeFile(t, filepath.Join(dir, "go.mod"), []byte(text))
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "go.sum"), sums)
	if out, err := command(t, dir, goTool, "build", "-mod=mod", "-o", "roundtrip", ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if out, err := command(t, dir, goTool, "vet", "-mod=mod", "./programs/...").CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
	run := command(t, dir, filepath.Join(dir, "roundtrip"))
	run.Stderr = os.Stderr
	out, err := run.Output()
	if err != nil {
		t.Fatalf("the program: %v", err)
	}
	got := map[string]string{}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if got[c.name] == "" {
			continue // it was refused
		}
		if diff := cmp.Diff(want[c.name], got[c.name]); diff != "" {
			t.Errorf("%s: the source makes another graph (-want +got):\n%s", c.name, diff)
		}
	}
}

func command(t *testing.T, dir string, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOPROXY=off")
	return cmd
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

const roundTripModule = "roundtrip.test/roundtrip"

const roundTripMain = `package main

import (
	"encoding/json"
	"os"

	"github.com/stagewright/stagewright/stage"

	"roundtrip.test/roundtrip/cases"
)

var graphs = map[string]string{}

func stages(list ...stage.Stage) []stage.Stage { return list }

func show(name string, targets []stage.Stage, platforms string, args map[string]string) {
	g, err := compileCase(targets, platforms, args)
	if err != nil {
		graphs[name] = err.Error()
		return
	}
	graphs[name] = dump(g)
}

func main() {
%s
	if err := json.NewEncoder(os.Stdout).Encode(graphs); err != nil {
		panic(err)
	}
}
`
