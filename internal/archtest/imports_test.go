package archtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A rule is one line of imports.txt.
type rule struct {
	place   int // number of the line: a package may only import what stands above it
	allowed []string
}

// rules are the lines of imports.txt by package.
type rules map[string]rule

func parseRules(lines []string) (rules, []string) {
	r := rules{}
	var bad []string
	for i, line := range lines {
		name, list, _ := strings.Cut(line, ":")
		if _, ok := r[name]; ok {
			bad = append(bad, fmt.Sprintf("imports.txt: %s has two lines", name))
		}
		allowed := strings.Fields(list)
		for _, other := range allowed {
			if _, ok := r[other]; !ok && !thirdParty(other) && other != "testing" {
				bad = append(bad, fmt.Sprintf("imports.txt: %s names %s, which has no line above it: imports point upwards in the file", name, other))
			}
		}
		r[name] = rule{i, allowed}
	}
	return r, bad
}

// of finds the line of a package: its own, or one that ends in "/..." above it.
func (r rules) of(rel string) (rule, bool) {
	if x, ok := r[rel]; ok {
		return x, true
	}
	for dir := rel; ; {
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return rule{}, false
		}
		dir = dir[:i]
		if x, ok := r[dir+"/..."]; ok {
			return x, true
		}
	}
}

// thirdParty says whether an import path is outside the standard library and this module, as it is written in imports.txt.
func thirdParty(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return strings.Contains(first, ".") && importPath != "."
}

// checkImports compares the imports of every package with its line. Files for all operating systems count.
func checkImports(m *module, r rules) []string {
	var bad []string
	for _, p := range m.packages {
		line, ok := r.of(p.rel)
		if !ok {
			bad = append(bad, fmt.Sprintf("package %s has no line in imports.txt: see the package map of the design for its place", p.rel))
			continue
		}
		used := map[string]bool{}
		for _, f := range p.files {
			if f.external { // may import all that Go lets it, the facade too
				continue
			}
			for imported := range f.imports() {
				rel, ours := m.ours(imported)
				if !ours {
					rel = imported
				}
				used[rel] = true
				if problem := line.judge(r, f, rel, ours); problem != "" {
					bad = append(bad, fmt.Sprintf("%s imports %s: %s", f.name, imported, problem))
				}
			}
		}
		for _, other := range line.allowed {
			if _, own := r[p.rel]; own && thirdParty(other) && !used[other] {
				bad = append(bad, fmt.Sprintf("imports.txt lets %s import %s, and nothing there does: remove it", p.rel, other))
			}
		}
	}
	for name := range r {
		prefix, tree := strings.CutSuffix(name, "/...")
		if !slices.ContainsFunc(m.packages, func(p *pkg) bool {
			return p.rel == name || tree && strings.HasPrefix(p.rel, prefix+"/")
		}) {
			bad = append(bad, fmt.Sprintf("imports.txt has a line for %s, and there is no such package", name))
		}
	}
	return bad
}

// judge says what is wrong with one import, or nothing.
func (x rule) judge(r rules, f file, imported string, ours bool) string {
	allowed := slices.Contains(x.allowed, imported)
	switch {
	case allowed:
		return ""
	case imported == "testing" || strings.HasPrefix(imported, "testing/"):
		if f.test || slices.Contains(x.allowed, "testing") {
			return ""
		}
		return "only tests and the packages that imports.txt names may import it"
	case imported == "C":
		return "no cgo"
	case ours && f.test:
		if other, ok := r.of(imported); ok && other.place < x.place {
			return ""
		}
		return "a test inside its package may import only what stands above the package in imports.txt; move it to package x_test"
	case ours:
		return "imports.txt does not have this edge"
	case thirdParty(imported) && !f.test:
		return "imports.txt does not have this third-party package"
	}
	return ""
}

func TestImports(t *testing.T) {
	m := self(t)
	r, bad := parseRules(readLines(t, "testdata/imports.txt"))
	report(t, append(bad, checkImports(m, r)...))
}
