package archtest

import (
	"errors"
	"fmt"
	"go/ast"
	"go/doc"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// public gives the packages that users of the module may import.
func public(t *testing.T) []*typedPackage {
	t.Helper()
	m := self(t)
	return slices.DeleteFunc(slices.Clone(typed(t).packages), func(p *typedPackage) bool {
		i := slices.IndexFunc(m.packages, func(q *pkg) bool { return q.rel == p.rel })
		return i < 0 || !m.packages[i].public()
	})
}

// TestAPI compares what every public package exports with its listing.
func TestAPI(t *testing.T) {
	const dir = "testdata/api"
	want := map[string]string{}
	for _, p := range public(t) {
		lines, internal := api(p, modulePath)
		report(t, internal)
		name := strings.ReplaceAll(p.rel, "/", "_") + ".txt"
		if p.rel == "." {
			name = p.types.Name() + ".txt"
		}
		want[name] = strings.Join(lines, "\n") + "\n"
	}
	old, err := filepath.Glob(dir + "/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range old {
		if _, ok := want[filepath.Base(name)]; ok {
			continue
		}
		if !*update {
			t.Errorf("%s lists a package that there is no more: run go test ./internal/archtest -update", name)
		} else if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
	for name, text := range want {
		name = filepath.Join(dir, name)
		got, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(got), "\n"), strings.Split(text, "\n")); diff == "" {
			continue
		} else if !*update {
			t.Errorf("the exported API is not what %s lists (-listed +is); if that is meant, run go test ./internal/archtest -update\n%s", name, diff)
		} else if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// api lists what a package exports, a line for each name, field and method, and what is wrong with it: types in signatures
// that users cannot name.
func api(p *typedPackage, modulePath string) (lines, bad []string) {
	var current types.Object
	qualifier := func(other *types.Package) string {
		if other == p.types {
			return ""
		}
		if strings.HasPrefix(other.Path(), modulePath+"/") && slices.Contains(strings.Split(other.Path(), "/"), "internal") {
			bad = append(bad, fmt.Sprintf("%s: %s.%s shows users a type of %s, which they cannot import",
				p.m.position(current.Pos()), p.types.Name(), current.Name(), other.Path()))
		}
		return other.Name()
	}
	scope := p.types.Scope()
	for _, name := range scope.Names() {
		current = scope.Lookup(name)
		if !current.Exported() {
			continue
		}
		switch o := current.(type) {
		case *types.Const:
			lines = append(lines, fmt.Sprintf("const %s %s = %s", name, types.TypeString(o.Type(), qualifier), o.Val().ExactString()))
		case *types.TypeName:
			lines = append(lines, typeLines(o, qualifier)...)
		default:
			lines = append(lines, types.ObjectString(o, qualifier))
		}
	}
	return lines, bad
}

func typeLines(o *types.TypeName, qualifier types.Qualifier) []string {
	head := "type " + o.Name()
	if o.IsAlias() {
		return []string{head + " = " + types.TypeString(types.Unalias(o.Type()), qualifier)}
	}
	named := o.Type().(*types.Named)
	if named.TypeParams().Len() > 0 {
		var params []string
		for p := range named.TypeParams().TypeParams() {
			params = append(params, p.Obj().Name()+" "+types.TypeString(p.Constraint(), qualifier))
		}
		head += "[" + strings.Join(params, ", ") + "]"
	}
	var lines []string
	switch u := named.Underlying().(type) {
	case *types.Struct:
		lines = append(lines, head+" struct")
		for f := range u.Fields() {
			if !f.Exported() {
				continue
			}
			text := f.Name() + " " + types.TypeString(f.Type(), qualifier)
			if f.Embedded() {
				text = "embedded " + types.TypeString(f.Type(), qualifier)
			}
			lines = append(lines, head+" struct, "+text)
		}
	case *types.Interface:
		lines = append(lines, head+" interface")
		sealed := false
		for method := range u.Methods() {
			if sealed = sealed || !method.Exported(); method.Exported() {
				lines = append(lines, head+" interface, "+method.Name()+strings.TrimPrefix(types.TypeString(method.Type(), qualifier), "func"))
			}
		}
		if sealed {
			lines = append(lines, head+" interface, sealed by unexported methods")
		}
		return lines
	default:
		lines = append(lines, head+" "+types.TypeString(u, qualifier))
	}
	value := types.NewMethodSet(named)
	pointer := types.NewMethodSet(types.NewPointer(named))
	for s := range pointer.Methods() {
		if !s.Obj().Exported() {
			continue
		}
		star := "*"
		if value.Lookup(s.Obj().Pkg(), s.Obj().Name()) != nil {
			star = ""
		}
		lines = append(lines, fmt.Sprintf("method (%s%s) %s%s", star, o.Name(), s.Obj().Name(),
			strings.TrimPrefix(types.TypeString(s.Type(), qualifier), "func")))
	}
	return lines
}

// checkInterfaces: an interface that others implement has one to four methods; more are optional interfaces.
func checkInterfaces(p *typedPackage) []finding {
	var found []finding
	for _, name := range p.types.Scope().Names() {
		o, ok := p.types.Scope().Lookup(name).(*types.TypeName)
		if !ok || !o.Exported() || o.IsAlias() {
			continue
		}
		i, ok := o.Type().Underlying().(*types.Interface)
		if !ok || !i.IsMethodSet() { // a constraint is implemented by types that exist
			continue
		}
		if n := i.NumMethods(); n < 1 || n > 4 {
			found = append(found, finding{rule: "interface", at: p.m.position(o.Pos()), places: []string{p.rel + ":" + name},
				problem: fmt.Sprintf("%s has %d methods, not one to four", name, n)})
		}
	}
	return found
}

// unshown is the list of exported functions that no checked example uses.
const unshown = "testdata/noexample.txt"

const unshownHead = `# Exported functions that no example with checked output uses, and no program under examples. The list may only shrink:
# go test ./internal/archtest -update takes away the lines of those that have an example by now, and adds none. A line
# added by hand is a promise to a reader that is not kept yet.
`

// TestExamples: every exported function is used by an example with checked output, or by a program under examples.
func TestExamples(t *testing.T) {
	missing := map[string]bool{}
	used := exampleUses(self(t))
	for _, p := range public(t) {
		for _, name := range p.types.Scope().Names() {
			if fn, ok := p.types.Scope().Lookup(name).(*types.Func); ok && fn.Exported() && !used[p.types.Path()+"."+name] {
				missing[strings.TrimPrefix(p.types.Path(), modulePath[:strings.LastIndexByte(modulePath, '/')+1])+"."+name] = true
			}
		}
	}
	old, err := os.ReadFile(unshown)
	if errors.Is(err, fs.ErrNotExist) && *update {
		old = []byte(unshownHead + strings.Join(slices.Sorted(maps.Keys(missing)), "\n") + "\n")
	} else if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for line := range strings.Lines(string(old)) {
		name := strings.TrimSpace(line)
		switch {
		case name == "" || name[0] == '#' || missing[name]:
			kept.WriteString(line)
			delete(missing, name)
		case !*update:
			t.Errorf("%s has an example by now, or is gone: go test ./internal/archtest -update takes its line out of %s", name, unshown)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("no example with checked output uses %s: write one, rather than a line in %s", name, unshown)
	}
	if *update {
		if err := os.WriteFile(unshown, []byte(kept.String()), 0o644); err != nil {
			t.Error(err)
		}
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// exampleUses gives "import/path.Name" of all that examples use: Example functions whose output is checked, and the programs
// under examples, whose own tests check it.
func exampleUses(m *module) map[string]bool {
	used := map[string]bool{}
	for _, p := range m.packages {
		program := strings.HasPrefix(p.rel, "examples/")
		for _, f := range p.files {
			names := map[string]string{}
			for imported, name := range f.imports() {
				names[name] = imported
			}
			collect := func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && names[x.Name] != "" {
						used[names[x.Name]+"."+s.Sel.Name] = true
					}
				}
				return true
			}
			switch {
			case program:
				ast.Inspect(f.ast, collect)
			case f.external:
				for _, e := range doc.Examples(f.ast) {
					if e.Output != "" || e.EmptyOutput {
						ast.Inspect(e.Code, collect)
					}
				}
			}
		}
	}
	return used
}
