package toolbox

import (
	"go/format"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// The template is no package of this module, so no other check sees it.
func TestTemplateIsFormattedAndVetted(t *testing.T) {
	files := 0
	err := templateFiles(func(name string, content []byte) error {
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		files++
		formatted, err := format.Source(content)
		if err != nil {
			return err
		}
		if string(formatted) != string(content) {
			t.Errorf("_template/%s is not as gofmt writes it", name)
		}
		if lines := strings.Count(string(content), "\n"); lines > 500 {
			t.Errorf("_template/%s has %d lines", name, lines)
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files, %v", files, err)
	}
	if testing.Short() {
		t.Skip("go vet compiles the dependencies' export data the first time")
	}
	command, err := findGo()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := writeTemplate(dir); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), command, "vet", "-mod=readonly", ".")
	cmd.Dir = dir
	cmd.Env = buildEnv(cmd.Environ(), runtime.GOARCH, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

func TestBuildKeyDependsOnVersionAndTarget(t *testing.T) {
	keys := map[string]bool{}
	for _, version := range []string{"go1.26.0", "go1.26.1"} {
		for _, arch := range []string{"amd64", "arm64"} {
			keys[buildKey(version, arch)] = true
		}
	}
	if len(keys) != 4 || !keys[buildKey("go1.26.0", "amd64")] {
		t.Errorf("keys: %v", keys)
	}
}
