package live

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

var corpus = flag.String("corpus", "", "directory of Dockerfiles for TestTexts; none without it")

// baseConfig is what every base image of TestTexts has.
const baseConfig = `{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/usr/local/bin:/usr/bin:/bin","LANG=C.UTF-8"],
"Cmd":["bash"],"WorkingDir":"/srv","User":"","Labels":{"base":"yes"}},"rootfs":{"type":"layers"},"history":[{"created_by":"base"}]}`

// TestTexts compares, for each Dockerfile of a directory, what BuildKit makes of its texts with what stagewright does: the configuration, the
// history, and of each RUN the command, the environment, the directory, the user and the mounts. Nothing is built, so any Dockerfile will do.
func TestTexts(t *testing.T) {
	if *corpus == "" {
		t.Skip("no -corpus")
	}
	counts := map[string]int{}
	err := filepath.WalkDir(*corpus, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, _ := filepath.Rel(*corpus, path)
		for _, target := range targets(file, text) {
			compareTexts(t, file, text, target, counts)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(counts)
}

// targets are the stages of a file: the last one as "", the others by their names.
func targets(file string, text []byte) []string {
	f, err := dockerfile.Parse(file, text, dockerfile.Options{})
	if err != nil {
		return []string{""}
	}
	names := f.Stages()
	named := slices.DeleteFunc(names[:len(names)-1], func(name string) bool {
		return strings.Trim(name, "0123456789") == "" // BuildKit knows no numbers here
	})
	return append(named, "")
}

func compareTexts(t *testing.T, file string, text []byte, target string, counts map[string]int) {
	t.Run(file+":"+target, func(t *testing.T) {
		theirs, theirErr := theirTexts(t.Context(), text, target)
		ours, ourErr := ourTexts(t.Context(), file, text, target)
		switch {
		case theirErr != nil && ourErr != nil:
			counts["both refuse"]++
		case theirErr != nil:
			counts["only BuildKit refuses"]++
			t.Errorf("only BuildKit refuses: %v", theirErr)
		case ourErr != nil:
			counts["only stagewright refuses"]++
			t.Errorf("only stagewright refuses: %v", ourErr)
		default:
			counts["both build"]++
			if diff := cmp.Diff(theirs, ours, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("(-BuildKit +stagewright):\n%s", diff)
			}
		}
	})
}

// texts are what a Dockerfile says, without files.
type texts struct {
	Author  string
	Config  map[string]any
	History []string
	Runs    []string
	Lint    []string
}

// run is one RUN as a line.
func run(args, env []string, dir, user, network string, mounts []string) string {
	slices.Sort(mounts)
	return fmt.Sprintf("%q %q %s %q %s %s", args, env, dir, user, network, mounts)
}

type resolver struct{}

func (resolver) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	return ref, digest.FromString(ref), []byte(baseConfig), nil
}

func (resolver) Resolve(_ context.Context, ref string, _ platform.Platform) (stage.BaseImage, error) {
	if _, err := name.ParseReference(ref); err != nil {
		return stage.BaseImage{}, err
	}
	file, err := image.ParseFile([]byte(baseConfig))
	return stage.BaseImage{Name: ref, Digest: digest.FromString(ref), File: file}, err
}

func theirTexts(ctx context.Context, text []byte, target string) (t texts, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	amd64 := ocispecs.Platform{OS: "linux", Architecture: "amd64"}
	var warnings []string
	main, caps := llb.Local("context"), pb.Caps.CapSet(pb.Caps.All())
	res, err := dockerfile2llb.Dockerfile2LLB(ctx, text, dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{Target: target, BuildPlatforms: []ocispecs.Platform{amd64}, TargetPlatforms: []ocispecs.Platform{amd64}},
		TargetPlatform: &amd64, MetaResolver: resolver{}, MainContext: &main, LLBCaps: &caps,
		Warn: func(rule, _, _, message string, at []parser.Range) {
			line := 0
			if len(at) > 0 {
				line = at[0].Start.Line
			}
			warnings = append(warnings, fmt.Sprintf("%d %s: %s", line, rule, message))
		},
	})
	if err != nil {
		return t, err
	}
	raw, err := json.Marshal(res.Image)
	if err != nil {
		return t, err
	}
	if t, err = fileTexts(raw); err != nil {
		return t, err
	}
	slices.Sort(warnings)
	t.Lint = slices.Compact(warnings)
	def, err := res.State.Marshal(ctx)
	if err != nil {
		return t, err
	}
	for _, dt := range def.Def {
		var op pb.Op
		if err := op.UnmarshalVT(dt); err != nil {
			return t, err
		}
		exec := op.GetExec()
		if exec == nil {
			continue
		}
		var mounts []string
		for _, m := range exec.Mounts {
			if m.Dest != "/" {
				mounts = append(mounts, strings.ToLower(m.MountType.String())+" "+m.Dest)
			}
		}
		for _, s := range exec.Secretenv {
			mounts = append(mounts, "secret "+s.Name)
		}
		t.Runs = append(t.Runs, run(exec.Meta.Args, exec.Meta.Env, exec.Meta.Cwd, exec.Meta.User, strings.ToLower(exec.Network.String()), mounts))
	}
	slices.Sort(t.Runs)
	return t, nil
}

// fileTexts reads the configuration file of an image.
func fileTexts(raw []byte) (texts, error) {
	var file struct {
		Author  string
		Config  map[string]any
		History []struct {
			CreatedBy string `json:"created_by"`
			Comment   string
			Author    string
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return texts{}, err
	}
	t := texts{Author: file.Author, Config: file.Config}
	for _, h := range file.History {
		if h.CreatedBy == "base" {
			continue
		}
		t.History = append(t.History, strings.TrimSuffix(h.CreatedBy, " # buildkit"))
	}
	return t, nil
}

func ourTexts(ctx context.Context, name string, text []byte, wanted string) (t texts, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	file, err := dockerfile.Parse(name, text, dockerfile.Options{})
	if err != nil {
		return t, err
	}
	target, err := file.Target(wanted)
	if err != nil {
		return t, err
	}
	amd64 := platform.MustParse("linux/amd64")
	g, err := stage.Compile(ctx, []stage.Stage{target}, stage.Options{
		Args: arg.Values{}, Platforms: platform.Set{amd64}, BuildPlatform: amd64, Resolver: resolver{}, OnBuild: file.OnBuild,
	})
	if err != nil {
		return t, err
	}
	steps := g.Steps()
	last := steps[g.Targets()[0].Step]
	for s := last; ; s = steps[s.Parent] {
		if layer, ok := s.Op.(*stage.LayerOp); ok {
			t.History = append(t.History, s.History)
			s = steps[layer.Since]
		}
		if s.Parent < 0 {
			break
		}
		if _, ok := s.Op.(*stage.LayerOp); !ok && s.History != "" {
			t.History = append(t.History, s.History)
		}
	}
	slices.Reverse(t.History)
	warnings, err := file.Lint(ctx, dockerfile.LintOptions{Target: wanted, Platform: amd64, BuildPlatform: amd64, Resolver: resolver{}})
	if err != nil {
		return t, err
	}
	for _, w := range warnings {
		t.Lint = append(t.Lint, fmt.Sprintf("%d %s: %s", w.Pos.Line, w.Rule, w.Message))
	}
	slices.Sort(t.Lint)
	t.Lint = slices.Compact(t.Lint)
	t.Author = last.Author
	raw, err := json.Marshal(last.Config)
	if err != nil {
		return t, err
	}
	for _, s := range steps {
		if op, ok := s.Op.(*stage.RunOp); ok {
			t.Runs = append(t.Runs, ourRun(op))
		}
	}
	slices.Sort(t.Runs)
	return t, errors.Join(err, json.Unmarshal(raw, &t.Config))
}

func ourRun(op *stage.RunOp) string {
	args := op.Argv
	var mounts []string
	if op.Script {
		args = []string{op.ScriptName}
		mounts = append(mounts, "bind "+filepath.Dir(op.ScriptName))
	}
	for _, m := range op.Mounts {
		if m.Type == stage.MountSecret && m.Env != "" {
			mounts = append(mounts, "secret "+m.Env)
		}
		if m.Target != "" {
			mounts = append(mounts, string(m.Type)+" "+m.Target)
		}
	}
	network := map[stage.Network]string{stage.NetworkDefault: "unset", stage.NetworkHost: "host", stage.NetworkNone: "none"}[op.Network]
	return run(args, op.Env, op.Dir, op.User, network, mounts)
}
