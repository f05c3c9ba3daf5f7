package dockerfile_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

// TestFrontend compares with what BuildKit's Dockerfile frontend makes of the same texts:
// warnings, configuration, history, processes, copies, and whether there is an error. The
// answers are in testdata/frontend.golden; internal/conformance/live has the program
// that asks (go test -run Frontend -update-frontend).
func TestFrontend(t *testing.T) {
	cases, want := sections(t, "testdata/frontend.txt"), map[string]string{}
	for _, c := range sections(t, "testdata/frontend.golden") {
		want[c.name] = c.text
	}
	if len(cases) < 140 || len(cases) != len(want) {
		t.Fatalf("%d cases, %d answers", len(cases), len(want))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(meaning(c), "\n")
			if diff := cmp.Diff(strings.TrimSpace(want[c.name]), got); diff != "" {
				t.Errorf("(-BuildKit +here):\n%s", diff)
			}
		})
	}
}

type section struct {
	name, text string
	args       arg.Values
	target     string
}

// sections reads a file of cases: "=== NAME" and a text; lines "#! arg" and "#! target" are
// options.
func sections(t *testing.T, file string) []section {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []section
	for _, part := range strings.Split(string(data), "\n=== ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		c := section{name: name, text: text + "\n", args: arg.Values{}}
		for line := range strings.Lines(text) {
			if kv, ok := strings.CutPrefix(strings.TrimSpace(line), "#! arg "); ok {
				k, v, _ := strings.Cut(kv, "=")
				c.args[k] = v
			}
			if target, ok := strings.CutPrefix(strings.TrimSpace(line), "#! target "); ok {
				c.target = target
			}
		}
		list = append(list, c)
	}
	return list
}

// frontendBases answers with the images that the program in internal/conformance/live has.
type frontendBases struct{}

func (frontendBases) Resolve(_ context.Context, ref string, _ platform.Platform) (stage.BaseImage, error) {
	file := image.File{OS: "linux", Architecture: "amd64", History: []image.History{{CreatedBy: "base"}}}
	if ref != "plain" {
		file.Config = image.Config{
			Env: []string{"PATH=/bin:/usr/bin", "BASE=1", "LANG=C"}, WorkingDir: "/base", Cmd: []string{"basecmd"}, Entrypoint: []string{"baseentry"},
			Labels: map[string]string{"a": "b"}, ExposedPorts: map[string]struct{}{"1/tcp": {}}, Volumes: map[string]struct{}{"/v": {}},
		}
	}
	switch ref {
	case "onbuild":
		file.Config.OnBuild = []string{"COPY . /src", "RUN make $BASE", "ENV T=$BASE"}
	case "user":
		file.Config.User = "bob"
	}
	return stage.BaseImage{Name: ref, Digest: digest.FromString(ref), File: file}, nil
}

// meaning is what a case means here, in the words of the golden file.
func meaning(c section) []string {
	f, err := dockerfile.Parse("Dockerfile", []byte(c.text), dockerfile.Options{})
	if err != nil {
		return []string{"error"}
	}
	amd64 := platform.MustParse("linux/amd64")
	target := c.target
	if target == "" {
		target = f.Stages()[len(f.Stages())-1]
	}
	warnings, err := f.Lint(context.Background(), dockerfile.LintOptions{Target: target, Args: c.args, Platform: amd64, BuildPlatform: amd64, Resolver: frontendBases{}})
	if err != nil {
		return []string{"error"}
	}
	var lines []string
	for _, w := range warnings {
		lines = append(lines, fmt.Sprintf("warning %d %s: %s", w.Pos.Line, w.Rule, w.Message))
	}
	slices.Sort(lines)
	s, err := f.Target(c.target)
	if err != nil {
		return []string{"error"}
	}
	g, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{
		Args: c.args, Platforms: platform.Set{amd64}, BuildPlatform: amd64, Resolver: frontendBases{}, OnBuild: f.OnBuild,
	})
	if err != nil {
		return []string{"error"}
	}
	last := g.Steps()[g.Targets()[0].Step]
	lines = append(lines, "config "+sortedJSON(last.Config))
	if last.Author != "" {
		lines = append(lines, "author "+last.Author)
	}
	lines = append(lines, history(g, last)...)
	return append(lines, effects(g)...)
}

// sortedJSON is a value's JSON with sorted keys.
func sortedJSON(v any) string {
	data, _ := json.Marshal(v)
	var m map[string]any
	json.Unmarshal(data, &m)
	data, _ = json.Marshal(m)
	return string(data)
}

func history(g *stage.Graph, last *stage.Step) []string {
	var chain []*stage.Step
	for s := last; ; s = g.Steps()[s.Parent] {
		chain = append(chain, s)
		if group, ok := s.Op.(*stage.LayerOp); ok {
			// The steps of a group have its entry.
			for s.Parent != group.Since {
				s = g.Steps()[s.Parent]
			}
		}
		if s.Parent < 0 {
			break
		}
	}
	var lines []string
	for _, s := range slices.Backward(chain) {
		text := s.History
		switch op := s.Op.(type) {
		case *stage.BaseOp:
			for _, h := range op.File.History {
				lines = append(lines, fmt.Sprintf("history %q", h.CreatedBy))
			}
		case *stage.RunOp, *stage.CopyOp, *stage.LayerOp:
			text += " # buildkit"
		}
		if text != "" {
			lines = append(lines, fmt.Sprintf("history %q", text))
		}
	}
	return lines
}

// effects are the processes and copies of a graph, sorted.
func effects(g *stage.Graph) []string {
	var lines []string
	for _, s := range g.Steps() {
		switch op := s.Op.(type) {
		case *stage.RunOp:
			env := slices.Sorted(slices.Values(op.Env))
			network := map[stage.Network]string{stage.NetworkDefault: "UNSET", stage.NetworkHost: "HOST", stage.NetworkNone: "NONE"}[op.Network]
			lines = append(lines, fmt.Sprintf("run %q env=%q cwd=%s user=%s net=%s mounts=%s", op.Argv, env, op.Dir, op.User, network, strings.Join(mounts(op.Mounts), "; ")))
		case *stage.CopyOp:
			flags := fmt.Sprintf(" -> %s mode=%s owned=%v excl=%q unpack=", op.Dest, strings.TrimLeft(op.Chmod, "0"), op.Chown != "", append([]string{}, op.Exclude...))
			for _, p := range op.Paths {
				lines = append(lines, "copy "+copied(op, p)+flags+fmt.Sprint(op.Unpack != ""))
			}
			for _, f := range op.Inline { // a text is no archive
				lines = append(lines, fmt.Sprintf("copy inline %q", f.Content)+flags+"false")
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

func copied(op *stage.CopyOp, p string) string {
	switch from := op.From.(type) {
	case stage.HTTPSource:
		return from.URL
	case stage.GitSource:
		return strings.Join([]string{from.Remote, from.Ref, from.Subdir, fmt.Sprint(from.KeepGit)}, " ")
	}
	if p == "." {
		p = ""
	}
	if !op.Parents {
		return "/" + p
	}
	before, after, pivot := strings.Cut(p, "/./")
	if !pivot {
		before, after = "", p
	}
	return "/" + before + " parents " + after
}

func mounts(list []stage.Mount) []string {
	var lines []string
	for _, m := range list {
		uid, gid, _ := strings.Cut(m.Owner, ":")
		if m.Owner == "" {
			uid, gid = "0", "0"
		}
		text := m.Target + " " + string(m.Type)
		switch m.Type {
		case stage.MountCache:
			text += fmt.Sprintf(" id=%s sharing=%s ro=%v", m.ID, m.Sharing, m.ReadOnly)
		case stage.MountBind:
			text += fmt.Sprintf(" ro=%v sel=%s", !m.Writable, strings.TrimSuffix("/"+strings.TrimPrefix(m.Path, "."), "/"))
		case stage.MountTmpfs:
			text += fmt.Sprintf(" size=%d", m.Size)
		case stage.MountSecret, stage.MountSSH:
			mode := m.Mode
			if mode == 0 {
				mode = map[stage.MountType]uint32{stage.MountSecret: 0o400, stage.MountSSH: 0o600}[m.Type]
			}
			if m.Env != "" {
				lines = append(lines, fmt.Sprintf("env %s id=%s optional=%v", m.Env, m.ID, m.Optional))
			}
			if m.Target == "" {
				continue
			}
			text += fmt.Sprintf(" id=%s mode=%o uid=%s gid=%s optional=%v", m.ID, mode, uid, gid, m.Optional)
		}
		lines = append(lines, text)
	}
	slices.Sort(lines)
	return lines
}
