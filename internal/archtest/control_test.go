package archtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// broken is a module that breaks the rules: a check that finds nothing in it checks nothing.
func broken(t *testing.T) *module {
	t.Helper()
	dir := t.TempDir()
	_, text, _ := strings.Cut(readText(t, "testdata/broken.txt"), "\n")
	for part := range strings.SplitSeq("\n"+text, "\n== ") {
		name, content, ok := strings.Cut(part, "\n")
		if !ok {
			continue
		}
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	m, err := load(dir, "example.com/broken")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func wantFindings(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Errorf("findings (-want +got)\n%s", diff)
	}
}

func TestControlImports(t *testing.T) {
	m := broken(t)
	_, bad := parseRules([]string{"low: internal/secret example.org/stale", "internal/secret:", "high:", "other:", "shown: internal/secret", "gone:", "low:"})
	wantFindings(t, bad,
		"imports.txt: low names internal/secret, which has no line above it: imports point upwards in the file",
		"imports.txt: low has two lines")
	r, bad := parseRules([]string{"internal/secret:", "low: internal/secret example.org/stale", "high:", "other:", "shown: internal/secret", "gone:"})
	wantFindings(t, append(bad, checkImports(m, r)...),
		"package . has no line in imports.txt: see the package map of the design for its place",
		"imports.txt has a line for gone, and there is no such package",
		"imports.txt lets low import example.org/stale, and nothing there does: remove it",
		"low/low.go imports example.com/broken/high: imports.txt does not have this edge",
		"low/low_test.go imports example.com/broken/other: a test inside its package may import only what stands above the package in imports.txt; move it to package x_test",
		"high/high.go imports testing: only tests and the packages that imports.txt names may import it",
		"high/high_windows.go imports example.org/third/party: imports.txt does not have this third-party package")
}

func TestControlHabits(t *testing.T) {
	m := broken(t)
	x := exceptions{"init other": false, "log elsewhere": false}
	var got []string
	for _, line := range x.except(checkHabits(m)) {
		place, problem, _ := strings.Cut(line, ": ")
		name, _, _ := strings.Cut(place, ":")
		got = append(got, name+": "+problem)
	}
	wantFindings(t, got,
		"high/high.go: flags: imports flag",
		"high/high.go: log: imports log",
		"other/other.go: doc: Undocumented has no comment",
		"other/other.go: doc: Undocumented2 has no comment",
		"other/other.go: environment: uses environment.Getenv",
		"other/other.go: exit: uses os.Exit",
		"other/other.go: panic: calls panic",
		"other/other.go: print: calls print")
	if !x["init other"] || x["log elsewhere"] {
		t.Errorf("used exceptions: %v", x)
	}
	wantFindings(t, checkPackageComments(m), "package other has 0 package comments, not one")
}

func TestControlTypes(t *testing.T) {
	m := broken(t)
	// What does not compile is not for the type checker.
	for _, dir := range []string{"low", "high"} {
		if err := os.RemoveAll(filepath.Join(m.dir, dir)); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, p := range check(t, m).packages {
		lines, bad := api(p, m.path)
		if p.rel == "shown" && !slices.Contains(lines, "func Show() []secret.T") {
			t.Errorf("the listing is %q", lines)
		}
		got = append(got, bad...)
		for _, f := range append(checkState(p), checkInterfaces(p)...) {
			got = append(got, f.rule+": "+f.problem)
		}
	}
	for i, line := range got {
		if strings.HasPrefix(line, "shown/shown.go:") {
			_, got[i], _ = strings.Cut(line, ": ")
		}
	}
	variable := func(name, problem string) string {
		return fmt.Sprintf("state: the package's variable %s %s", name, problem)
	}
	wantFindings(t, got,
		"shown.Show shows users a type of example.com/broken/internal/secret, which they cannot import",
		"interface: Wide has 5 methods, not one to four",
		"interface: Empty has 0 methods, not one to four",
		variable("Table", "is exported, so anybody can write to it"),
		variable("written", "is written to"),
		variable("counter", "is written to"),
		variable("addressed", "is written to"),
		variable("lock", "is a sync.Mutex"),
		variable("lock", "is written to"),
		variable("memo", "is a function: a memo, or something that can be replaced"),
		variable("pointer", "is a pointer, *int"))
}

func TestControlExamples(t *testing.T) {
	used := exampleUses(broken(t))
	if !used["example.com/broken/shown.Show"] || used["example.com/broken/shown.Unchecked"] {
		t.Errorf("examples use %v", used)
	}
}
