package conformance_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/conformance"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

var every = flag.Int("every", 16, "the Go source of every n-th case is compiled; 1 for all")

// The Go source of a case, compiled, builds what its Dockerfile builds. All are one program.
func TestGoSource(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command")
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	cases, err := conformance.LoadCases(filepath.Join(*data, "cases"))
	if err != nil {
		t.Fatal(err)
	}
	p := &program{runner: newRunner(t), files: map[string]string{}, dir: t.TempDir(), want: map[string]string{}}
	for i, c := range cases {
		if c.Fails == "" && !c.LiveOnly && wanted.MatchString(c.Name) && (*only != "" || i%*every == 0) {
			p.add(t, c)
		}
	}
	for line := range strings.Lines(p.run(t, goTool)) {
		name, got, _ := strings.Cut(strings.TrimSpace(line), " ")
		if got != p.want[name] {
			t.Errorf("%s: the Dockerfile gives %s, the Go source %s", name, p.want[name], got)
		}
		delete(p.want, name)
	}
	for name := range p.want {
		t.Errorf("%s: the program does not say what it made", name)
	}
}

// program is the generated program.
type program struct {
	*runner
	dir   string
	files map[string]string // for the go command: the place in the module, and the file that is there
	want  map[string]string
	table bytes.Buffer
}

func (p *program) add(t *testing.T, c *conformance.Case) {
	if bytes.Contains(c.Dockerfile, []byte("RUN")) && p.noSandbox != nil {
		return
	}
	dir, err := p.server.Prepare(t.Context(), c, c.Dir())
	if err != nil {
		t.Logf("%s: %v", c.Name, err)
		return
	}
	want, err := p.builder.Digest(t.Context(), c, dir, nil)
	if err != nil {
		return // TestGoldens says it
	}
	function := fmt.Sprintf("Case%d", len(p.want))
	source, err := p.builder.GoSource(t.Context(), c, dir, dockerfile.GoOptions{Package: "cases", Func: function})
	if err != nil {
		t.Errorf("%s: %v", c.Name, err)
		return
	}
	p.write(t, "cases/"+function+".go", source)
	p.want[c.Name] = want
	fmt.Fprintf(&p.table, "\t%q: cases.%s,\n", c.Name, function)
}

func (p *program) write(t *testing.T, name string, text []byte) {
	t.Helper()
	path := filepath.Join(p.dir, strings.ReplaceAll(name, "/", "-"))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs("generated")
	if err != nil {
		t.Fatal(err)
	}
	p.files[filepath.Join(here, filepath.FromSlash(name))] = path
}

// run compiles the program, which is inside of this module in an overlay only, and returns what it says.
func (p *program) run(t *testing.T, goTool string) string {
	p.write(t, "main.go", fmt.Appendf(nil, programText, p.table.Bytes()))
	overlay, err := json.Marshal(map[string]any{"Replace": p.files})
	if err != nil {
		t.Fatal(err)
	}
	path, binary := filepath.Join(p.dir, "overlay.json"), filepath.Join(p.dir, "program")
	if err := os.WriteFile(path, overlay, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), goTool, "build", "-overlay", path, "-o", binary, "./generated").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), binary, *data, p.server.Dir(), p.builder.CacheDir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the program: %v", err)
	}
	return string(out)
}

const programText = `package main

import (
	"context"
	"fmt"
	"os"

	"github.com/stagewright/stagewright/internal/conformance"
	"github.com/stagewright/stagewright/internal/conformance/generated/cases"
	"github.com/stagewright/stagewright/stage"
)

func main() {
	err := conformance.Program(context.Background(), os.Stdout, os.Args[1], os.Args[2], os.Args[3], map[string]func() stage.Stage{
%s	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`
