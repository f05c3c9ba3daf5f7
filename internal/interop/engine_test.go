package interop

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/interop/listing"
)

// engine is a container engine with a store of its own.
type engine interface {
	fmt.Stringer
	// load reads an archive for `docker load` of one image, which is then called name.
	load(t *testing.T, path, name string)
	// pull fetches an image of an architecture from a registry on loopback.
	pull(t *testing.T, ref, arch string)
	// same compares what the engine says about an image: ID, configuration, and the digest of what was pulled, "" when it was not.
	same(t *testing.T, ref, pulled string, want builtImage)
	// list lists the files as a container of the image has them.
	list(t *testing.T, ref, arch string) listing.Tree
	// start starts the image's own command, without any change, and returns its output.
	start(t *testing.T, ref, arch string) string
	// remove forgets the image with all that it consists of.
	remove(t *testing.T, ref string)
}

// check compares everything about one image that an engine has under a name, and then removes it.
func check(t *testing.T, e engine, medium, ref, pulled string, b *variant, want builtImage) {
	t.Helper()
	arch := want.platform.Architecture
	e.same(t, ref, pulled, want)
	files, got := maps.Clone(want.files), e.list(t, ref, arch)
	delete(files, "/") // the root's mode is the engine's: Podman gives it 0555 whatever a layer says, Docker 0755
	delete(got, "/")
	sameFiles(t, fmt.Sprintf("%s, %s, %s", e, medium, arch), files, got)
	what := []string{"digest", "config", "files"}
	if canRun(t, arch) {
		sameProcess(t, e.String(), want, e.start(t, ref, arch))
		what = append(what, "run")
	}
	e.remove(t, ref)
	compared(t, medium, e.String(), b.name+" "+arch, what...)
}

// sameProcess compares what the image's program found with the configuration.
func sameProcess(t *testing.T, who string, want builtImage, output string) {
	t.Helper()
	var got listing.Process
	if err := json.Unmarshal([]byte(output), &got); err != nil {
		t.Fatalf("%s: the program wrote %q: %v", who, output, err)
	}
	c := want.file.Config
	equal(t, who+": the program's arguments", c.Cmd, got.Args)
	equal(t, who+": its platform", want.platform.String(), got.Platform)
	equal(t, who+": its user", "1000:1001", got.User)
	equal(t, who+": its directory", c.WorkingDir, got.Dir)
	added := []string{"HOSTNAME=", "HOME=", "TERM=", "container="}
	env := slices.DeleteFunc(got.Env, func(v string) bool {
		return slices.ContainsFunc(added, func(name string) bool { return strings.HasPrefix(v, name) })
	})
	slices.Sort(env)
	equal(t, who+": its environment", slices.Sorted(slices.Values(c.Env)), env)
	if !strings.HasPrefix(got.Setuid, "0 ") {
		t.Errorf("%s: a setuid program of root has user and capabilities %q", who, got.Setuid)
	}
	equal(t, who+": user and capabilities of a program with cap_net_bind_service", "1000 0000000000000400", got.Capable)
}

// tree reads what the probe listed.
func parseListing(t *testing.T, output string) listing.Tree {
	t.Helper()
	var got listing.Tree
	if err := json.Unmarshal([]byte(output), &got); err != nil {
		t.Fatalf("the probe wrote %.200q: %v", output, err)
	}
	return got
}

// fields reads a JSON object.
func fields(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v in %.200q", err, text)
	}
	return m
}

// sameFields compares those fields of a configuration that the image sets with those of an engine; an engine adds fields of its own.
func sameFields(t *testing.T, what string, want, got map[string]any, except ...string) {
	t.Helper()
	picked := map[string]any{}
	expected := map[string]any{}
	for name, v := range want {
		if !slices.Contains(except, name) {
			expected[name], picked[name] = v, got[name]
		}
	}
	equal(t, what, expected, picked)
}
