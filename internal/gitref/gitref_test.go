package gitref

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// cases reads testdata/refs.txt: each line has a text and what it means.
func cases(t testing.TB) map[string]string {
	t.Helper()
	data, err := os.ReadFile("testdata/refs.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		text, want, ok := strings.Cut(line, " => ")
		if !ok {
			t.Fatalf("line without =>: %q", line)
		}
		all[text] = want
	}
	if len(all) < 40 {
		t.Fatalf("only %d cases", len(all))
	}
	return all
}

func describe(r Ref) string {
	words := []string{r.Remote, r.Ref, r.Subdir, r.Checksum}
	for i, w := range words {
		if w == "" {
			words[i] = "-"
		}
	}
	plain := len(words)
	add := func(yes bool, word string) {
		if yes {
			words = append(words, word)
		}
	}
	add(r.LikeLocal, "like-local")
	add(r.KeepGit != nil && *r.KeepGit, "keep")
	add(r.KeepGit != nil && !*r.KeepGit, "no-keep")
	add(r.Submodules != nil && *r.Submodules, "submodules")
	add(r.Submodules != nil && !*r.Submodules, "no-submodules")
	if len(words) == plain {
		words = append(words, "-")
	}
	return strings.Join(words, " ")
}

func TestParse(t *testing.T) {
	for text, want := range cases(t) {
		r, err := Parse(text)
		wrong, isWrong := strings.CutPrefix(want, "wrong: ")
		switch {
		case want == "none":
			if !errors.Is(err, ErrNotGit) {
				t.Errorf("Parse(%q) = %+v, %v; want ErrNotGit", text, r, err)
			}
		case isWrong:
			if err == nil || errors.Is(err, ErrNotGit) || !strings.Contains(err.Error(), wrong) {
				t.Errorf("Parse(%q): error %v; want one that says %q", text, err, wrong)
			}
		case err != nil:
			t.Errorf("Parse(%q): %v", text, err)
		default:
			if got := describe(r); got != want {
				t.Errorf("Parse(%q)\n got %s\nwant %s", text, got, want)
			}
			if err := errors.Join(CheckRemote(r.Remote), CheckRef(r.Ref)); err != nil {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

func TestChecksRefuseWhatGitWouldTakeForSomethingElse(t *testing.T) {
	for _, remote := range []string{
		"", "--upload-pack=touch /tmp/x", "-x", "ext::sh -c id", "file:///etc", "/etc/passwd", "ssh://-oProxyCommand=id/x", "git@-x:a",
		"git@host:-x", "https://", "https://a b/x.git", "https://host/x\n.git", "-u@host:x", "ssh://-x@host/y",
	} {
		if CheckRemote(remote) == nil {
			t.Errorf("the remote %q is taken", remote)
		}
	}
	for _, ref := range []string{"-x", "--upload-pack=x", "a..b", "main~1", "HEAD^{}", "a:b", "a b", "@", "@{u}", "x.lock", "a//b", "/a", "a/", ".a", "a\x01"} {
		if CheckRef(ref) == nil {
			t.Errorf("the ref %q is taken", ref)
		}
	}
	for _, ref := range []string{"", "main", "refs/heads/feature/x", "v1.2.3", "deadbeef", strings.Repeat("a", 40), "dependabot/go_modules/x-1.2"} {
		if err := CheckRef(ref); err != nil {
			t.Error(err)
		}
	}
	for sum, ok := range map[string]bool{"deadbee": true, "DEADBEEF": true, "dead": true, "": false, "xyz": false, "sha256:abcdef1": false} {
		if (CheckChecksum(sum) == nil) != ok {
			t.Errorf("checksum %q: taken is not %v", sum, ok)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:secret@host/x.git": "https://xxxxx:xxxxx@host/x.git",
		"https://token@host/x.git":       "https://xxxxx@host/x.git",
		"ssh://git@host/x":               "ssh://git@host/x",
		"git@host:x":                     "git@host:x",
		"https://host/x.git":             "https://host/x.git",
		"https://host/x@v1":              "https://host/x@v1",
		"https://${H}/x@v1":              "https://${H}/x@v1",
		"https://u:se%zzcret@host/x":     "https://xxxxx@host/x",
		"https://u:se/cret@host/x":       "https://xxxxx@host/x",
		"https://${U}:secret@host/x@v1":  "https://xxxxx@host/x@v1",
		"git+https://secret@host/x":      "git+https://xxxxx@host/x",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzParse: what is read can be written down again and read to the same.
func FuzzParse(f *testing.F) {
	for text := range cases(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text)
		if err != nil {
			return
		}
		if strings.HasPrefix(r.Subdir, "/") || r.Subdir == ".." || strings.HasPrefix(r.Subdir, "../") || strings.Contains(r.Subdir, "/../") {
			t.Fatalf("%q: the subdirectory %q leaves the repository", text, r.Subdir)
		}
		if CheckRemote(r.Remote) == nil && strings.HasPrefix(r.Remote, "-") {
			t.Fatalf("%q: the remote %q is an option", text, r.Remote)
		}
		if Redact(Redact(r.Remote)) != Redact(r.Remote) {
			t.Fatalf("%q: redacting twice differs", text)
		}
		again, err := Parse(r.Remote)
		if r.LikeLocal {
			return // "https://github.com/x" is not git on its own
		}
		if err != nil || again.Remote != r.Remote {
			t.Fatalf("%q: the remote %q is read as %q, %v", text, r.Remote, again.Remote, err)
		}
	})
}
