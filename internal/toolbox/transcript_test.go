package toolbox_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/*.txt with what the commands print now")

// system makes the same transcripts run with another PATH, to compare this toolbox with the tools of a distribution:
// go test -run Transcripts -system /usr/bin:/bin
var system = flag.String("system", "", "run the transcripts with the commands of this PATH")

// TestTranscripts runs testdata/*.txt. In them `# title` begins a group of commands that share an empty directory, `$ ` a script for
// sh -c (with `> ` before its further lines), whose output, both streams of it, follows, and `? n` after that is an exit status other
// than 0.
func TestTranscripts(t *testing.T) {
	bin := ""
	if *system == "" {
		bin = install(t)
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 5 {
		t.Fatalf("the transcripts are missing: %q, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for i, group := range strings.Split("\n"+string(want), "\n# ") {
				if i > 0 {
					runGroup(t, bin, group, &got)
				}
			}
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compareLines(t, file, string(want), got.String())
		})
	}
}

func runGroup(t *testing.T, bin, group string, got *bytes.Buffer) {
	dir := t.TempDir()
	title, rest, _ := strings.Cut(group, "\n")
	fmt.Fprintf(got, "# %s\n", title)
	lines := strings.Split(rest, "\n")
	for i := 0; i < len(lines); i++ {
		script, ok := strings.CutPrefix(lines[i], "$ ")
		if !ok {
			continue // the expected output
		}
		fmt.Fprintln(got, lines[i])
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "> ") {
			i++
			script += "\n" + lines[i][2:]
			fmt.Fprintln(got, lines[i])
		}
		runScript(t, bin, dir, script, got)
	}
	got.WriteString("\n")
}

func runScript(t *testing.T, bin, dir, script string, got *bytes.Buffer) {
	path, sh := bin, filepath.Join(bin, "sh")
	if *system != "" {
		path, sh = *system, "/bin/sh"
	}
	cmd := exec.Command(sh, "-c", script)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + path, "HOME=/", "TZ=UTC", "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	got.Write(out)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		got.WriteString("\\\n") // no newline at the end
	}
	if exit != nil {
		fmt.Fprintf(got, "? %d\n", exit.ExitCode())
	}
}

// compareLines reports the first differences, each with the script that it belongs to.
func compareLines(t *testing.T, file, want, got string) {
	t.Helper()
	split := func(s string) []string { return strings.Split(strings.TrimRight(s, "\n"), "\n$ ") }
	w, g := split(want), split(got)
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = strings.TrimRight(w[i], "\n")
		}
		if i < len(g) {
			b = strings.TrimRight(g[i], "\n")
		}
		if a != b {
			t.Errorf("%s: want\n$ %s\ngot\n$ %s", file, a, b)
		}
	}
}
