package archtest

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A budget says which modules are allowed: value true for those that a program gets that imports stage, arg and platform.
type budget map[string]bool

func readBudget(t *testing.T) budget {
	b := budget{}
	for _, line := range readLines(t, "testdata/modules.txt") {
		fields := strings.Fields(line)
		b[fields[0]] = len(fields) == 2 && fields[1] == "light"
		if len(fields) > 2 || len(fields) == 2 && fields[1] != "light" {
			t.Errorf("modules.txt: %q: want a module, and \"light\" or nothing", line)
		}
	}
	return b
}

// needGo skips where there is no go command.
func needGo(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command on this machine: ", err)
	}
}

// goTool gives the output of the go command, run in dir.
func goTool(t *testing.T, dir string, env []string, args ...string) []byte {
	t.Helper()
	needGo(t)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), append([]string{"GOWORK=off", "GOFLAGS=-mod=readonly -buildvcs=false"}, env...)...)
	cmd.Stderr = new(strings.Builder)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%v", strings.Join(args, " "), err, cmd.Stderr)
	}
	return out
}

// TestModules: go.mod names the declared modules and no other, above all no grpc, containerd client or otel: what needs
// them is a nested module.
func TestModules(t *testing.T) {
	allowed := readBudget(t)
	var mod struct{ Require []struct{ Path string } }
	if err := json.Unmarshal(goTool(t, self(t).dir, nil, "mod", "edit", "-json"), &mod); err != nil {
		t.Fatal(err)
	}
	required := map[string]bool{}
	for _, r := range mod.Require {
		required[r.Path] = true
		if _, ok := allowed[r.Path]; !ok {
			t.Errorf("go.mod requires %s, which modules.txt does not have: everybody who uses this module would get it", r.Path)
		}
	}
	for path := range allowed {
		if !required[path] {
			t.Errorf("modules.txt has %s, which go.mod does not require: remove it", path)
		}
	}
}

// TestLight: what describes stages, and runs nothing, stays light on every operating system.
func TestLight(t *testing.T) {
	allowed := readBudget(t)
	used := map[string]bool{}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		got := dependencies(t, goos, "./stage", "./arg", "./platform")
		for path := range got {
			used[path] = true
			if !allowed[path] {
				t.Errorf("GOOS=%s: a program that imports stage, arg and platform gets %s, which is not \"light\" in modules.txt; go list -deps tells who imports it", goos, path)
			}
		}
	}
	for path, light := range allowed {
		if light && !used[path] {
			t.Errorf("modules.txt calls %s light, and stage, arg and platform do without it: remove the word", path)
		}
	}
	for path := range dependencies(t, "linux", "./arg") {
		t.Errorf("arg imports the module %s: it has the standard library only", path)
	}
}

// dependencies gives the other modules in the closure of some packages.
func dependencies(t *testing.T, goos string, packages ...string) map[string]bool {
	t.Helper()
	args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}}{{end}}{{end}}"}, packages...)
	out := goTool(t, self(t).dir, []string{"GOOS=" + goos}, args...)
	return maps.Collect(func(yield func(string, bool) bool) {
		for _, path := range slices.Compact(slices.Sorted(slices.Values(strings.Fields(string(out))))) {
			if !yield(path, true) {
				return
			}
		}
	})
}
