package source

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

func mustIgnore(t testing.TB, text string) *Ignore {
	t.Helper()
	i, err := ParseIgnore(strings.NewReader(text), ".dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestIgnoreRules holds the cases of Docker's documented and measured behaviour:
// one line each, the ignore file (; for a line end), then paths with + for kept
// and - for ignored.
func TestIgnoreRules(t *testing.T) {
	for _, c := range []struct{ file, paths string }{
		{"\xef\xbb\xbffoo", "-foo +bar"},
		{"# foo;bar", "+foo -bar"},
		{"  # x", "-#\u00a0x +x"},
		{";;  ;foo", "-foo"},
		{"  foo  ", "-foo"},
		{"./a/../foo/", "-foo -foo/x +a"},
		{"/foo", "-foo +a/foo"},
		{"*;! keep", "+keep -other"},
		{"a\u00a0b", "-a\u00a0b +a"},
		{"foo;!foo/keep", "-foo -foo/x +foo/keep +foo/keep/y"},
		{"!foo/keep;foo", "-foo/keep"},
		{"*.md", "-README.md +sub/README.md"},
		{"*.md;!README.md", "+README.md -x.md"},
		{"*.md;!README.md;README*", "-README.md -x.md"},
		{"**/node_modules", "-node_modules -a/node_modules -a/b/node_modules/c +node_modules2"},
		{"docs/**", "+docs -docs/a -docs/a/b"},
		{"node_modules", "-node_modules/a +a/node_modules"},
		{"a?c", "-abc +ac +a/c"},
		{"[a-c]x", "-bx +dx"},
		{`\[a`, "-[a +a"},
		{`a\*`, "-a* +ab"},
		{"**", "-a -a/b"},
		{"*", "-a -a/b"},
		{"*/*", "+a -a/b -a/b/c"},
		{"*;!src;src/*;!src/x", "+src -src/y +src/x -z"},
		{".", "+a +a/b"},
		{"/", "+a"},
		{"..", "+a"},
		{"../x", "+x"},
		{"/!foo;", "+foo"},
		{"!!x", "+x"},
		{"x;!!x", "-x"},
		{"^a*", "-abc +^abc"},
		{"**/*.go;!**/main.go", "-a/b.go +a/main.go +main.go"},
		{"**/tmp/**", "+tmp -tmp/a -a/tmp/b"},
	} {
		i := mustIgnore(t, strings.ReplaceAll(strings.ReplaceAll(c.file, ";", "\n"), "\u00a0", " "))
		for p := range strings.FieldsSeq(strings.ReplaceAll(c.paths, "\u00a0", "\x01")) {
			name := strings.ReplaceAll(p[1:], "\x01", " ")
			if got, rule := i.Match(name); got != (p[0] == '-') {
				t.Errorf("%q: Match(%q) = %t by %q", c.file, name, got, rule.Pattern)
			}
		}
	}
}

// dockerChain is the verdict that Docker's client reaches: the library, asked
// from the top directory down.
func dockerChain(t *testing.T, file, p string) bool {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	m, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	var info patternmatcher.MatchInfo
	var ignored bool
	parts := strings.Split(p, "/")
	for n := range parts {
		if ignored, info, err = m.MatchesUsingParentResults(strings.Join(parts[:n+1], "/"), info); err != nil {
			t.Fatal(err)
		}
	}
	return ignored
}

func TestIgnoreAgainstDocker(t *testing.T) {
	names := []string{"a", "b", "ab", "^a", "!a", "a.b", "aa", "a|b", "b.{b}", "ba", "a\nb"}
	parts := []string{"a", "b", "*", "**", "?", "a*", "[ab]", "^a*", "*b", "!a", "a**", "**b", "[^a]", `\a`, "***", "a.b", "a.*", "a|b*", "a{2}*", "*.{b}", "*a*b", "b?", "b**a"}
	var paths []string
	for _, x := range names {
		paths = append(paths, x)
		for _, y := range names {
			paths = append(paths, x+"/"+y)
			for _, z := range names[:3] {
				paths = append(paths, x+"/"+y+"/"+z)
			}
		}
	}
	seed := uint64(1)
	next := func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed >> 33 % uint64(n))
	}
	checked, bad := 0, 0
	for range 2500 {
		var file strings.Builder
		for range 1 + next(4) {
			file.WriteString([]string{"", "", "!", "! ", "/", "!/"}[next(6)])
			for k := range 1 + next(3) {
				if k > 0 {
					file.WriteByte('/')
				}
				file.WriteString(parts[next(len(parts))])
			}
			file.WriteByte('\n')
		}
		ours, err := ParseIgnore(strings.NewReader(file.String()), "x")
		if err != nil {
			bad++
			continue
		}
		for range 25 {
			p := paths[next(len(paths))]
			got, rule := ours.Match(p)
			if want := dockerChain(t, file.String(), p); got != want {
				t.Fatalf("file %q path %q: ignored %t by %+v, Docker says %t", file.String(), p, got, rule, want)
			}
			checked++
		}
	}
	if bad > 400 || checked < 30_000 {
		t.Fatalf("only %d verdicts compared, %d files refused", checked, bad)
	}
}

// TestReincludesBelowNeverMisses proves that pruning an ignored directory hides
// nothing that a rule includes again.
func TestReincludesBelowNeverMisses(t *testing.T) {
	for _, file := range []string{
		"*\n!a/b/c", "*\n!**/c", "*\n!a/*/c", "**\n!a/b*/c", "a\n!a/b/[cd]", "*\n!a/b\na/b/*\n!a/b/c", `a` + "\n" + `!a/\b/c`, "a\n!^a*/b/c",
	} {
		i := mustIgnore(t, file)
		ignored, _ := i.Match("a/b/c")
		for _, dir := range []string{"a", "a/b"} {
			hid, rule := i.Match(dir)
			if !hid || ignored {
				continue
			}
			by := -1
			for n := range i.rules {
				if i.rules[n].Rule == rule {
					by = n
				}
			}
			if !i.reincludesBelow(dir, by) {
				t.Errorf("%q: %s would be pruned though a/b/c is wanted", file, dir)
			}
		}
	}
	i := mustIgnore(t, "node_modules\nvendor\n!*.md\n!vendor/keep")
	if i.reincludesBelow("node_modules", 0) {
		t.Error("node_modules is entered though no rule can match below it")
	}
	if !i.reincludesBelow("vendor", 1) {
		t.Error("vendor is pruned")
	}
}

func TestIgnoreErrors(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"a\n!\n", `.dockerignore:2: bad ignore pattern "!": nothing follows the "!"; name what to include again`},
		{"a\n\n[", `.dockerignore:3: bad ignore pattern "[": syntax error in pattern; write \ before a [ that stands for itself`},
		{"[z-a]", ".dockerignore:1: bad ignore pattern \"[z-a]\": syntax error in pattern"},
		{"\xff*", ".dockerignore:1: bad ignore pattern \"\\xff*\": a pattern with wildcards must be valid UTF-8 without NUL"},
		{strings.Repeat("a\n", maxIgnorePatterns+1), ".dockerignore: number of patterns is beyond the limit of 10000"},
		{strings.Repeat("a", maxIgnoreBytes+1), ".dockerignore: size in bytes is beyond the limit of 1048576"},
	} {
		_, err := ParseIgnore(strings.NewReader(c.file), ".dockerignore")
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%.20q: error %v, want %s", c.file, err, c.want)
		}
	}
	var bad *IgnoreError
	if _, err := ParseIgnore(strings.NewReader("x\n[\n"), "f"); !errors.As(err, &bad) || bad.Rule.Line != 2 {
		t.Errorf("error %v, want an IgnoreError on line 2", err)
	}
}

func TestIgnoreLiteralBytes(t *testing.T) {
	i := mustIgnore(t, "caf\xe9\nx\x00y")
	if hit, _ := i.Match("caf\xe9"); !hit {
		t.Error("a literal name that is not UTF-8 must be ignored")
	}
}

func TestIgnoreExplain(t *testing.T) {
	i := mustIgnore(t, "# generated\nbuild\n!build/keep\n*.log")
	_, rule, at := i.explain("build/out/app")
	if rule != (Rule{File: ".dockerignore", Line: 2, Pattern: "build"}) || at != "build" {
		t.Errorf("rule %+v at %q", rule, at)
	}
}

func FuzzParseIgnore(f *testing.F) {
	for _, s := range []string{"", "a", "!a\n*", "**/x\n!y", "[a-b]", "\\", "***/[^a]", "# c\n  # d"} {
		f.Add(s, "a/b")
	}
	f.Fuzz(func(t *testing.T, file, p string) {
		if i, err := ParseIgnore(strings.NewReader(file), "f"); err == nil {
			i.Match(p)
		}
	})
}

func ExampleParseIgnore() {
	ignore, err := ParseIgnore(strings.NewReader("*.log\nbuild\n!build/keep\n"), ".dockerignore")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range []string{"main.go", "a.log", "build/x", "build/keep"} {
		ignored, rule := ignore.Match(p)
		fmt.Println(p, ignored, rule.Line)
	}
	// Output:
	// main.go false 0
	// a.log true 1
	// build/x true 2
	// build/keep false 0
}
