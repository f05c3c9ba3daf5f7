package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"strings"
	"testing"
)

// exceptions are the lines of exceptions.txt, "RULE WHERE # reason", where WHERE is a package, a file, or either with
// ":NAME". Each must be needed.
type exceptions map[string]bool // "RULE WHERE" -> used

func readExceptions(t *testing.T) exceptions {
	x := exceptions{}
	for _, line := range readLines(t, "testdata/exceptions.txt") {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			t.Errorf("exceptions.txt: %q: want a rule and a place", line)
			continue
		}
		x[fields[0]+" "+fields[1]] = false
	}
	return x
}

// except drops the findings that exceptions.txt allows.
func (x exceptions) except(findings []finding) []string {
	var bad []string
	for _, f := range findings {
		allowed := false
		for _, where := range f.places {
			if _, ok := x[f.rule+" "+where]; ok {
				x[f.rule+" "+where] = true
				allowed = true
			}
		}
		if !allowed {
			bad = append(bad, fmt.Sprintf("%s: %s: %s", f.at, f.rule, f.problem))
		}
	}
	return bad
}

// A finding breaks a rule of libraries.
type finding struct {
	rule    string
	at      string   // file:line
	places  []string // how exceptions.txt may name it
	problem string
}

// bannedNames are what a library has no business with, by import path, with the rule that each breaks. "*" is the whole package.
var bannedNames = map[string]map[string]string{
	"log":      {"*": "log"},
	"log/slog": {"*": "log"},
	"flag":     {"*": "flags"},
	"unsafe":   {"*": "unsafe"},
	"os": {
		"Exit": "exit", "Args": "process",
		"Getenv": "environment", "LookupEnv": "environment", "Environ": "environment", "ExpandEnv": "environment",
		"Setenv": "environment", "Unsetenv": "environment", "Clearenv": "environment",
		"UserCacheDir": "environment", "UserConfigDir": "environment", "UserHomeDir": "environment", "TempDir": "environment",
		"Stdin": "process", "Stdout": "process", "Stderr": "process", "Chdir": "process",
	},
	"syscall": {"Exit": "exit", "Getenv": "environment", "Environ": "environment", "Setenv": "environment", "Umask": "process", "Chdir": "process"},
	"golang.org/x/sys/unix": {"Exit": "exit", "Getenv": "environment", "Environ": "environment", "Setenv": "environment",
		"Umask": "process", "Chdir": "process"},
	"fmt":           {"Print": "process", "Println": "process", "Printf": "process"},
	"runtime/debug": {"SetGCPercent": "process", "SetMaxThreads": "process", "SetMemoryLimit": "process"},
}

const (
	maxFileLines     = 500
	maxFunctionLines = 80
)

// checkHabits looks for what libraries do not do. It reads the syntax, so files for every operating system count; examples
// and other programs are free.
func checkHabits(m *module) []finding {
	var found []finding
	for _, p := range m.packages {
		if p.name() == "main" {
			continue
		}
		for _, f := range p.code() {
			c := habitChecker{m: m, p: p, f: f, selectors: map[string]map[string]string{}}
			for imported, name := range f.imports() {
				if names := bannedNames[imported]; names["*"] != "" {
					c.find(f.ast.Package, names["*"], "imports "+imported)
				} else if names != nil {
					c.selectors[name] = names
				}
			}
			if lines := m.fset.Position(f.ast.FileEnd).Line; lines > maxFileLines {
				c.find(f.ast.Package, "size", fmt.Sprintf("the file has %d lines, more than %d", lines, maxFileLines))
			}
			for _, d := range f.ast.Decls {
				c.declaration(d)
			}
			found = append(found, c.found...)
		}
	}
	return found
}

type habitChecker struct {
	m         *module
	p         *pkg
	f         file
	selectors map[string]map[string]string // package name in this file -> banned name -> rule
	where     string                       // the function being read
	found     []finding
}

func (c *habitChecker) find(pos token.Pos, rule, problem string) {
	places := []string{c.p.rel, c.f.name}
	if c.where != "" {
		places = append(places, c.p.rel+":"+c.where)
	}
	c.found = append(c.found, finding{rule: rule, at: c.m.position(pos), places: places, problem: problem})
}

func (c *habitChecker) declaration(d ast.Decl) {
	c.where = ""
	if fn, ok := d.(*ast.FuncDecl); ok {
		c.where = fn.Name.Name
		if fn.Recv != nil {
			c.where = receiver(fn) + "." + c.where
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			c.find(fn.Pos(), "init", "importing a package does nothing")
		}
		if lines := c.m.fset.Position(fn.End()).Line - c.m.fset.Position(fn.Pos()).Line + 1; lines > maxFunctionLines {
			c.find(fn.Pos(), "size", fmt.Sprintf("%s has %d lines, more than %d", c.where, lines, maxFunctionLines))
		}
		plain := fn.Recv != nil && (fn.Name.Name == "Error" || fn.Name.Name == "Unwrap") // package errors documents them
		if fn.Doc == nil && !plain && fn.Name.IsExported() && (fn.Recv == nil || ast.IsExported(receiver(fn))) && c.p.public() {
			c.find(fn.Pos(), "doc", c.where+" has no comment")
		}
	}
	if g, ok := d.(*ast.GenDecl); ok && c.p.public() {
		c.documented(g)
	}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok {
				if rule := c.selectors[x.Name][n.Sel.Name]; rule != "" {
					c.find(n.Pos(), rule, "uses "+x.Name+"."+n.Sel.Name)
				}
			}
		case *ast.CallExpr:
			if x, ok := n.Fun.(*ast.Ident); ok && (x.Name == "panic" || x.Name == "print" || x.Name == "println") {
				c.find(n.Pos(), x.Name, "calls "+x.Name)
			}
		}
		return true
	})
}

// documented wants a comment for every exported type, variable and constant: its own, at its line's end, or its group's.
func (c *habitChecker) documented(g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			if s.Name.IsExported() && s.Doc == nil && g.Doc == nil {
				c.find(s.Pos(), "doc", s.Name.Name+" has no comment")
			}
		case *ast.ValueSpec:
			if s.Names[0].IsExported() && s.Doc == nil && s.Comment == nil && g.Doc == nil {
				c.find(s.Pos(), "doc", s.Names[0].Name+" has no comment")
			}
		}
	}
}

// receiver gives the name of a method's type.
func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// checkPackageComments wants one comment for every package, that begins as go doc expects.
func checkPackageComments(m *module) []string {
	var bad []string
	for _, p := range m.packages {
		var comments []string
		for _, f := range p.code() {
			if f.ast.Doc != nil {
				comments = append(comments, f.ast.Doc.Text())
			}
		}
		begin := "Package " + p.name() + " "
		switch {
		case len(p.code()) == 0:
		case len(comments) != 1:
			bad = append(bad, fmt.Sprintf("package %s has %d package comments, not one", p.rel, len(comments)))
		case p.name() == "main":
		case !strings.HasPrefix(comments[0], begin):
			bad = append(bad, fmt.Sprintf("the comment of package %s does not begin %q", p.rel, begin))
		}
		if name := p.name(); name != "main" && p.rel != "." && name != path.Base(p.rel) {
			bad = append(bad, fmt.Sprintf("package %s is called %s", p.rel, name))
		}
	}
	return bad
}

func TestHabits(t *testing.T) {
	m := self(t)
	x := readExceptions(t)
	found := checkHabits(m)
	for _, p := range typed(t).packages {
		found = append(found, checkState(p)...)
	}
	for _, p := range public(t) {
		found = append(found, checkInterfaces(p)...)
	}
	bad := append(x.except(found), checkPackageComments(m)...)
	for line, used := range x {
		if !used {
			bad = append(bad, "exceptions.txt: "+line+" is needed no more: remove it")
		}
	}
	report(t, bad)
}
