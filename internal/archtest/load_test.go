package archtest

import (
	"flag"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const modulePath = "github.com/stagewright/stagewright"

var update = flag.Bool("update", false, "write the listings of the exported API anew")

// A module is the source of all packages below a directory, for every operating system at once.
type module struct {
	path, dir string
	fset      *token.FileSet
	packages  []*pkg // by path
}

// A pkg is one directory with Go files.
type pkg struct {
	rel   string // path below the module, "." for its root
	files []file
}

type file struct {
	name     string // slash separated, below the module
	ast      *ast.File
	test     bool // *_test.go
	external bool // of package x_test
}

// code gives the files that are part of the package itself.
func (p *pkg) code() []file {
	return slices.DeleteFunc(slices.Clone(p.files), func(f file) bool { return f.test })
}

// name is that in the package clauses.
func (p *pkg) name() string {
	for _, f := range p.files {
		if !f.external {
			return f.ast.Name.Name
		}
	}
	return ""
}

// public says whether users of the module can import the package and are meant to.
func (p *pkg) public() bool {
	elements := strings.Split(p.rel, "/")
	return p.name() != "main" && elements[0] != "examples" && !slices.Contains(elements, "internal")
}

// ours gives an import path as it is below the module.
func (m *module) ours(importPath string) (rel string, ok bool) {
	if importPath == m.path {
		return ".", true
	}
	return strings.CutPrefix(importPath, m.path+"/")
}

// position names a place as "file:line" with the file below the module.
func (m *module) position(pos token.Pos) string {
	p := m.fset.Position(pos)
	name, err := filepath.Rel(m.dir, p.Filename)
	if err != nil {
		name = p.Filename
	}
	return filepath.ToSlash(name) + ":" + strconv.Itoa(p.Line)
}

// thisModule is the module that this test is part of.
var thisModule = sync.OnceValues(func() (*module, error) {
	dir, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	return load(dir, modulePath)
})

func self(t *testing.T) *module {
	t.Helper()
	m, err := thisModule()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func load(dir, modulePath string) (*module, error) {
	m := &module{path: modulePath, dir: dir, fset: token.NewFileSet()}
	byDir := map[string]*pkg{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() {
			if name == dir {
				return nil
			}
			if _, err := os.Lstat(filepath.Join(name, "go.mod")); err == nil || base == "testdata" || base[0] == '.' || base[0] == '_' {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(base, ".go") || base[0] == '.' || base[0] == '_' {
			return nil
		}
		parsed, err := parser.ParseFile(m.fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if ignored(parsed) {
			return nil
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		p := byDir[path.Dir(rel)]
		if p == nil {
			p = &pkg{rel: path.Dir(rel)}
			byDir[p.rel] = p
			m.packages = append(m.packages, p)
		}
		test := strings.HasSuffix(base, "_test.go")
		p.files = append(p.files, file{name: rel, ast: parsed, test: test,
			external: test && strings.HasSuffix(parsed.Name.Name, "_test")})
		return nil
	})
	slices.SortFunc(m.packages, func(a, b *pkg) int { return strings.Compare(a.rel, b.rel) })
	return m, err
}

// ignored says whether a file asks for "//go:build ignore": a program of its own.
func ignored(f *ast.File) bool {
	for _, group := range f.Comments {
		for _, c := range group.List {
			if c.Pos() > f.Package || !constraint.IsGoBuild(c.Text) {
				continue
			}
			if x, err := constraint.Parse(c.Text); err == nil {
				tag, ok := x.(*constraint.TagExpr)
				return ok && tag.Tag == "ignore"
			}
		}
	}
	return false
}

// imports gives the paths that a file imports, with the names they have in it.
func (f file) imports() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for _, spec := range f.ast.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue
			}
			name := path.Base(imported)
			if spec.Name != nil {
				name = spec.Name.Name
			}
			if !yield(imported, name) {
				return
			}
		}
	}
}

// readLines gives the lines of a data file that say something; an indented one continues the line before.
func readLines(t *testing.T, name string) []string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		switch text := strings.TrimSpace(line); {
		case text == "":
		case text != strings.TrimRight(line, " \t\r\n") && len(lines) > 0:
			lines[len(lines)-1] += " " + text
		default:
			lines = append(lines, text)
		}
	}
	return lines
}

// report fails the test with every finding, each once.
func report(t *testing.T, findings []string) {
	t.Helper()
	slices.Sort(findings)
	for _, f := range slices.Compact(findings) {
		t.Error(f)
	}
}
