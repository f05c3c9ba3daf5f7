package archtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A typedModule is a module's packages as the compiler sees them on this operating system.
type typedModule struct {
	packages []*typedPackage // by path
}

type typedPackage struct {
	rel   string
	m     *module // for positions: with the files of this reading
	files []*ast.File
	types *types.Package
	info  *types.Info
}

// typedSelf is this module, read when the first test asks.
var typedSelf struct {
	once   sync.Once
	module *typedModule
}

func typed(t *testing.T) *typedModule {
	t.Helper()
	m := self(t)
	needGo(t)
	typedSelf.once.Do(func() { typedSelf.module = check(t, m) })
	if typedSelf.module == nil {
		t.Fatal("the module does not compile; go build ./... tells more")
	}
	return typedSelf.module
}

// check type-checks the source of all packages of a module, with the compiler's own export data of what they import.
func check(t *testing.T, m *module) *typedModule {
	t.Helper()
	out := goTool(t, m.dir, nil, "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles,Standard", "./...")
	type listed struct {
		ImportPath, Export, Dir string
		GoFiles                 []string
		Standard                bool
	}
	exports := map[string]string{}
	var own []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
		if _, ours := m.ours(p.ImportPath); ours && !p.Standard {
			own = append(own, p)
		}
	}
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(importPath string) (io.ReadCloser, error) {
		if exports[importPath] == "" {
			return nil, fmt.Errorf("no export data of %s", importPath)
		}
		return os.Open(exports[importPath])
	})
	result := &typedModule{}
	for _, p := range own {
		rel, _ := m.ours(p.ImportPath)
		tp := &typedPackage{rel: rel, m: &module{dir: m.dir, fset: fset, path: m.path}, info: &types.Info{
			Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			tp.files = append(tp.files, f)
		}
		config := types.Config{Importer: imp}
		var err error
		if tp.types, err = config.Check(p.ImportPath, fset, tp.files, tp.info); err != nil {
			t.Fatal(err)
		}
		result.packages = append(result.packages, tp)
	}
	slices.SortFunc(result.packages, func(a, b *typedPackage) int { return strings.Compare(a.rel, b.rel) })
	return result
}

// checkState finds the variables of a package that are state: written after they were initialised, written through, or of a
// type that is made to change. Tables and sentinel errors that are only read are none.
func checkState(p *typedPackage) []finding {
	if p.types.Name() == "main" {
		return nil
	}
	var found []finding
	find := func(v *types.Var, pos token.Pos, problem string) {
		found = append(found, finding{rule: "state", at: p.m.position(pos), places: []string{p.rel, p.rel + ":" + v.Name()},
			problem: "the package's variable " + v.Name() + " " + problem})
	}
	for _, name := range p.types.Scope().Names() {
		v, ok := p.types.Scope().Lookup(name).(*types.Var)
		if !ok {
			continue
		}
		if problem := changeable(v.Type()); problem != "" {
			find(v, v.Pos(), problem)
		}
		if v.Exported() && !types.Identical(v.Type(), types.Universe.Lookup("error").Type()) {
			find(v, v.Pos(), "is exported, so anybody can write to it")
		}
	}
	written := func(x ast.Expr, pos token.Pos) {
		if v := p.rootVariable(x); v != nil {
			find(v, pos, "is written to")
		}
	}
	for _, f := range p.files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for _, x := range n.Lhs {
					written(x, n.Pos())
				}
			case *ast.IncDecStmt:
				written(n.X, n.Pos())
			case *ast.RangeStmt:
				written(n.Key, n.Pos())
				written(n.Value, n.Pos())
			case *ast.UnaryExpr:
				if n.Op == token.AND {
					written(n.X, n.Pos())
				}
			case *ast.CallExpr:
				if fn, ok := n.Fun.(*ast.Ident); ok && len(n.Args) > 0 && (fn.Name == "delete" || fn.Name == "clear" || fn.Name == "copy") {
					written(n.Args[0], n.Pos())
				}
			case *ast.SelectorExpr:
				s := p.info.Selections[n]
				if s == nil || s.Kind() != types.MethodVal {
					break
				}
				if signature := s.Obj().Type().(*types.Signature); signature.Recv() != nil {
					_, pointer := signature.Recv().Type().(*types.Pointer)
					_, already := s.Recv().Underlying().(*types.Pointer)
					if pointer && !already {
						written(n.X, n.Pos())
					}
				}
			}
			return true
		})
	}
	return found
}

// rootVariable gives the package's variable that an expression leads to through fields, elements and pointers.
func (p *typedPackage) rootVariable(x ast.Expr) *types.Var {
	for {
		switch e := x.(type) {
		case *ast.Ident:
			v, ok := p.info.Uses[e].(*types.Var)
			if ok && v.Parent() == p.types.Scope() {
				return v
			}
			return nil
		case *ast.SelectorExpr:
			x = e.X
		case *ast.IndexExpr:
			x = e.X
		case *ast.SliceExpr:
			x = e.X
		case *ast.StarExpr:
			x = e.X
		case *ast.ParenExpr:
			x = e.X
		default:
			return nil
		}
	}
}

// frozen are pointers and functions that hold no state that anybody can see.
var frozen = []string{"embed.FS", "*regexp.Regexp", "*strings.Replacer", "*unicode.RangeTable"}

// changeable says why a variable of the type is state, or nothing.
func changeable(t types.Type) string {
	name := types.TypeString(t, nil)
	if slices.Contains(frozen, name) {
		return ""
	}
	if named, ok := t.(*types.Named); ok && named.Obj().Pkg() != nil {
		if pkg := named.Obj().Pkg().Path(); pkg == "sync" || pkg == "sync/atomic" {
			return "is a " + name
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Chan:
		return "is a channel"
	case *types.Pointer:
		return "is a pointer, " + name
	case *types.Signature:
		return "is a function: a memo, or something that can be replaced"
	case *types.Struct:
		for f := range u.Fields() {
			if problem := changeable(f.Type()); problem != "" {
				return "has the field " + f.Name() + ", which " + problem
			}
		}
	case *types.Array:
		return changeable(u.Elem())
	}
	return ""
}
