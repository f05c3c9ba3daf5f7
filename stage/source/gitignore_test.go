package source

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestGitIgnoreAgreesWithGit lists trees of testdata/gitignore with the rules on, and asks
// git check-ignore about every path of them. Each file begins with what plant understands;
// a line "rules PATH" begins the text of an ignore file, up to a line ".".
func TestGitIgnoreAgreesWithGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("the program git is not installed")
	}
	cases, err := filepath.Glob("testdata/gitignore/*.txt")
	if err != nil || len(cases) < 5 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, c := range cases {
		t.Run(filepath.Base(c), func(t *testing.T) {
			text, err := os.ReadFile(c)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			plantRules(t, dir, string(text))
			checkAgainstGit(t, dir)
		})
	}
}

// plantRules makes the files of a case.
func plantRules(t testing.TB, dir, text string) {
	t.Helper()
	var files, rules strings.Builder
	name := ""
	for line := range strings.Lines(text) {
		switch {
		case name == "" && strings.HasPrefix(line, "#"):
		case name == "" && strings.HasPrefix(line, "rules "):
			name = strings.TrimSpace(strings.TrimPrefix(line, "rules "))
		case name != "" && strings.TrimRight(line, "\n") == ".":
			p := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(p, []byte(strings.ReplaceAll(rules.String(), "<CR>", "\r")), 0o644); err != nil {
				t.Fatal(err)
			}
			name = ""
			rules.Reset()
		case name != "":
			rules.WriteString(line)
		default:
			files.WriteString(line)
		}
	}
	plant(t, dir, files.String())
}

// checkAgainstGit compares the listing of dir, file by file, with what git ignores.
func checkAgainstGit(t *testing.T, dir string) {
	t.Helper()
	git := func(stdin string, args ...string) []byte {
		cmd := exec.Command("git", append([]string{"-C", dir, "-c", "core.excludesFile=/dev/null", "-c", "core.ignoreCase=false", "-c", "safe.directory=*"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/dev/null", "GIT_CONFIG_NOSYSTEM=1"}
		cmd.Stdin = strings.NewReader(stdin)
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != 1 {
			t.Fatalf("git %v: %v %s", args, err, said.String())
		}
		return out
	}
	git("", "init", "-q", "--template=")
	var all []string
	for _, e := range mustList(t, mustDir(t, dir, DirOptions{IgnoreFile: "-"})) {
		if e.Path != ".git" && !strings.HasPrefix(e.Path, ".git/") {
			all = append(all, e.Path)
		}
	}
	ignored := map[string]bool{}
	for p := range strings.SplitSeq(string(git(strings.Join(all, "\x00")+"\x00", "check-ignore", "--no-index", "-z", "--stdin")), "\x00") {
		ignored[p] = true
	}
	d := mustDir(t, dir, DirOptions{IgnoreFile: "-", GitIgnore: true})
	var got []string
	for _, e := range mustList(t, d) {
		got = append(got, e.Path)
	}
	for _, p := range all {
		if listed := slices.Contains(got, p); listed == ignored[p] {
			t.Errorf("%s: listed %v, but git ignores it: %v", p, listed, ignored[p])
		}
		v, err := d.Why(p)
		if err != nil || v.Ignored != ignored[p] {
			t.Errorf("Why(%s) = %+v, %v; git ignores it: %v", p, v, err, ignored[p])
		}
		if ignored[p] {
			where := strings.SplitN(string(git("", "check-ignore", "--no-index", "-v", "--", p)), ":", 3)
			if len(where) == 3 && (where[0] != v.Rule.File || where[1] != strconv.Itoa(v.Rule.Line)) {
				t.Errorf("%s is ignored by %s:%d; git says %s:%s", p, v.Rule.File, v.Rule.Line, where[0], where[1])
			}
		}
	}
	if len(got) > len(all) {
		t.Errorf("%d paths are listed of %d", len(got), len(all))
	}
}

func TestGitIgnoreBesideDockerignore(t *testing.T) {
	dir := t.TempDir()
	plantRules(t, dir, "f a.log x\nf b.txt x\nf sub/c.tmp x\nf sub/.git/HEAD x\nf keep x\nrules .gitignore\n*.log\n.\nrules .dockerignore\n*.txt\n**/*.tmp\n.\n")
	d := mustDir(t, dir, DirOptions{GitIgnore: true})
	if got := paths(mustList(t, d)); got != ".dockerignore .gitignore keep sub" {
		t.Errorf("%q", got)
	}
	v, err := d.Why("a.log")
	if err != nil || !strings.Contains(v.String(), ".gitignore:1 (*.log) ignores it") {
		t.Errorf("%v, %v", v, err)
	}
	// A link in place of the file is no file of rules.
	if err := os.Remove(filepath.Join(dir, ".gitignore")); err != nil {
		t.Fatal(err)
	}
	plant(t, dir, "l .gitignore keep")
	if got := paths(mustList(t, d)); !strings.Contains(got, "a.log") {
		t.Errorf("%q", got)
	}
}

// FuzzGitIgnore: no rules make the parser panic or the matcher slow, and a rule that
// has no wildcard matches itself.
func FuzzGitIgnore(f *testing.F) {
	cases, err := filepath.Glob("testdata/gitignore/*.txt")
	if err != nil || len(cases) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, c := range cases {
		text, err := os.ReadFile(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "src/deep/er/a.log")
	}
	f.Add("*.log\n!keep.log\n/a/**/b\n", "a/x/b")
	f.Add("[[:alpha:]-z]\\", "q")
	f.Add("**/**/**/**/***?[!a-", "a/b/c/d/e/f")
	f.Fuzz(func(t *testing.T, text, path string) {
		rules, err := parseGitIgnore([]byte(text), "f")
		if err != nil || !cleanRelative(path) {
			return
		}
		level := &gitLevel{rules: rules}
		level.match(path, true)
		for _, r := range rules {
			if r.glob.steps == nil && r.glob.literal != "" && !r.glob.match(r.glob.literal) {
				t.Fatalf("%q does not match itself", r.Pattern)
			}
		}
	})
}

// TestGitIgnoreRandomly compares made-up rules on made-up trees with git.
func TestGitIgnoreRandomly(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("the program git is not installed")
	}
	const rounds = 25
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 7))
		pick := func(parts ...string) string { return parts[r.IntN(len(parts))] }
		var text strings.Builder
		dirs := []string{""}
		for range 12 {
			dir := pick(dirs...)
			name := dir + pick("a", "b", "ab", "c.o", "bb", "a-b", "[a", "a b")
			if slices.Contains(dirs, name+"/") || strings.Contains(text.String(), "f "+name+" ") || strings.Contains(name, " ") {
				continue
			}
			if r.IntN(3) == 0 {
				dirs = append(dirs, name+"/")
			} else {
				text.WriteString("f " + name + " x\n")
			}
		}
		for _, dir := range dirs {
			if dir != "" {
				text.WriteString("f " + dir + "z x\n")
			}
			if dir != "" && r.IntN(2) == 0 {
				continue
			}
			text.WriteString("rules " + dir + ".gitignore\n")
			for range 1 + r.IntN(4) {
				line := pick("", "", "!") + pick("", "", "/", "**/", "*/")
				for range 1 + r.IntN(4) {
					line += pick("a", "b", "*", "?", "/", "**", "[ab]", "[!b]", "\\a", ".o", "/**/", "z")
				}
				text.WriteString(line + pick("", "", "/", "/**", " ") + "\n")
			}
			text.WriteString(".\n")
		}
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			dir := t.TempDir()
			plantRules(t, dir, text.String())
			checkAgainstGit(t, dir)
			if t.Failed() {
				t.Log(text.String())
			}
		})
	}
}
