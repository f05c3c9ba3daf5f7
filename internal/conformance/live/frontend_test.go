package live

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

var updateFrontend = flag.Bool("update-frontend", false, "write BuildKit's answers to stage/dockerfile/testdata/frontend.golden")

// TestFrontend asks BuildKit's Dockerfile frontend, without a daemon, what the cases of
// stage/dockerfile mean, and compares with the answers that the package is tested with.
func TestFrontend(t *testing.T) {
	const dir = "../../../stage/dockerfile/testdata/"
	cases, err := os.ReadFile(dir + "frontend.txt")
	if err != nil {
		t.Fatal(err)
	}
	out := "What BuildKit's frontend makes of frontend.txt: written by internal/conformance/live, TestFrontend -update-frontend.\n"
	for _, part := range strings.Split(string(cases), "\n=== ")[1:] {
		name, text, _ := strings.Cut(part, "\n")
		args, target := map[string]string{}, ""
		for line := range strings.Lines(text) {
			if kv, ok := strings.CutPrefix(strings.TrimSpace(line), "#! arg "); ok {
				k, v, _ := strings.Cut(kv, "=")
				args[k] = v
			}
			if s, ok := strings.CutPrefix(strings.TrimSpace(line), "#! target "); ok {
				target = s
			}
		}
		out += "\n=== " + name + "\n" + strings.Join(frontend(t, text+"\n", args, target), "\n")
	}
	out += "\n"
	if *updateFrontend {
		if err := os.WriteFile(dir+"frontend.golden", []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(dir + "frontend.golden")
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != out {
		t.Error("BuildKit answers otherwise than frontend.golden says; see what -update-frontend changes")
	}
}

// frontendBases are the images of the cases.
type frontendBases struct{}

func (frontendBases) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config := ocispecs.ImageConfig{}
	full := map[string]any{"os": "linux", "architecture": "amd64", "history": []any{map[string]string{"created_by": "base"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest.FromString("layer").String()}}}
	base := strings.TrimPrefix(ref, "docker.io/library/")
	base, _, _ = strings.Cut(base, ":")
	if base != "plain" {
		config = ocispecs.ImageConfig{
			Env: []string{"PATH=/bin:/usr/bin", "BASE=1", "LANG=C"}, WorkingDir: "/base", Cmd: []string{"basecmd"}, Entrypoint: []string{"baseentry"},
			Labels: map[string]string{"a": "b"}, ExposedPorts: map[string]struct{}{"1/tcp": {}}, Volumes: map[string]struct{}{"/v": {}},
		}
	}
	data, err := json.Marshal(config)
	if err != nil {
		return "", "", nil, err
	}
	var c map[string]any
	if err := json.Unmarshal(data, &c); err != nil {
		return "", "", nil, err
	}
	switch base {
	case "onbuild":
		c["OnBuild"] = []string{"COPY . /src", "RUN make $BASE", "ENV T=$BASE"}
	case "user":
		c["User"] = "bob"
	}
	full["config"] = c
	data, err = json.Marshal(full)
	return ref, digest.FromString(ref), data, err
}

func frontend(t *testing.T, text string, args map[string]string, target string) []string {
	t.Helper()
	caps := pb.Caps.CapSet(pb.Caps.All())
	opt := dockerfile2llb.ConvertOpt{
		Config:         dockerui.Config{BuildArgs: args, Target: target},
		TargetPlatform: &ocispecs.Platform{OS: "linux", Architecture: "amd64"}, MetaResolver: frontendBases{}, LLBCaps: &caps,
	}
	var lines []string
	opt.Warn = func(rule, _, _, message string, at []parser.Range) {
		lines = append(lines, fmt.Sprintf("warning %d %s: %s", at[0].Start.Line, rule, message))
	}
	res, err := dockerfile2llb.Dockerfile2LLB(t.Context(), []byte(text), opt)
	if err != nil {
		return []string{"error"}
	}
	slices.Sort(lines)
	data, err := json.Marshal(res.Image.Config)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	data, err = json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	lines = append(lines, "config "+string(data))
	if res.Image.Author != "" {
		lines = append(lines, "author "+res.Image.Author)
	}
	for _, h := range res.Image.History {
		lines = append(lines, fmt.Sprintf("history %q", h.CreatedBy))
	}
	def, err := res.State.Marshal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return append(lines, frontendEffects(t, def.Def)...)
}

// frontendEffects are the processes and copies of a definition, sorted.
func frontendEffects(t *testing.T, def [][]byte) []string {
	t.Helper()
	ops := map[string]*pb.Op{}
	for _, data := range def {
		var op pb.Op
		if err := op.UnmarshalVT(data); err != nil {
			t.Fatal(err)
		}
		ops[digest.FromBytes(data).String()] = &op
	}
	var lines []string
	for _, op := range ops {
		if e := op.GetExec(); e != nil {
			env := slices.DeleteFunc(slices.Sorted(slices.Values(e.Meta.Env)), func(v string) bool { return strings.HasPrefix(v, "SSH_AUTH_SOCK=") })
			lines = append(lines, fmt.Sprintf("run %q env=%q cwd=%s user=%s net=%s mounts=%s", e.Meta.Args, env, path.Clean(e.Meta.Cwd), e.Meta.User, e.Network, strings.Join(frontendMounts(e), "; ")))
		}
		f := op.GetFile()
		if f == nil {
			continue
		}
		for _, a := range f.Actions {
			c := a.GetCopy()
			if c == nil {
				continue
			}
			mode := c.ModeStr
			if mode == "" && c.Mode >= 0 {
				mode = strings.TrimLeft(fmt.Sprintf("%o", c.Mode), "0")
			}
			src := c.Src
			if int(a.SecondaryInput) < len(op.Inputs) && a.SecondaryInput >= 0 {
				src = frontendSource(ops[op.Inputs[a.SecondaryInput].Digest], src)
			}
			if len(c.IncludePatterns) > 0 {
				src += " parents " + strings.Join(c.IncludePatterns, ",")
			}
			lines = append(lines, fmt.Sprintf("copy %s -> %s mode=%s owned=%v excl=%q unpack=%v", src, c.Dest, mode, c.Owner != nil, append([]string{}, c.ExcludePatterns...), c.AttemptUnpackDockerCompatibility))
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines)
}

// frontendSource says what a copy reads when that is no path: a URL, a repository, an inline
// file.
func frontendSource(op *pb.Op, src string) string {
	if f := op.GetFile(); f != nil && len(f.Actions) == 1 && f.Actions[0].GetMkfile() != nil {
		return fmt.Sprintf("inline %q", f.Actions[0].GetMkfile().Data)
	}
	s := op.GetSource()
	if s == nil {
		return src
	}
	if git, ok := strings.CutPrefix(s.Identifier, "git://"); ok {
		remote, fragment, _ := strings.Cut(git, "#")
		ref, subdir, _ := strings.Cut(fragment, ":")
		if full := s.Attrs["git.fullurl"]; full != "" {
			remote = full
		}
		return strings.Join([]string{remote, ref, subdir, fmt.Sprint(s.Attrs["git.keepgitdir"] == "true")}, " ")
	}
	if strings.HasPrefix(s.Identifier, "http") {
		return s.Identifier
	}
	return src
}

func frontendMounts(e *pb.ExecOp) []string {
	var lines []string
	for _, m := range e.Mounts {
		if m.Dest == "/" || strings.HasPrefix(m.Dest, "/dev/pipes") {
			continue
		}
		text := m.Dest + " " + strings.ToLower(m.MountType.String())
		switch m.MountType {
		case pb.MountType_CACHE:
			text += fmt.Sprintf(" id=%s sharing=%s ro=%v", strings.TrimPrefix(m.CacheOpt.ID, "/"), strings.ToLower(m.CacheOpt.Sharing.String()), m.Readonly)
		case pb.MountType_BIND:
			text += fmt.Sprintf(" ro=%v sel=%s", m.Readonly, m.Selector)
		case pb.MountType_TMPFS:
			text += fmt.Sprintf(" size=%d", m.TmpfsOpt.GetSize())
		case pb.MountType_SECRET:
			text += fmt.Sprintf(" id=%s mode=%o uid=%d gid=%d optional=%v", m.SecretOpt.ID, m.SecretOpt.Mode, m.SecretOpt.Uid, m.SecretOpt.Gid, m.SecretOpt.Optional)
		case pb.MountType_SSH:
			id := m.SSHOpt.ID
			if id == "" {
				id = "default"
			}
			text += fmt.Sprintf(" id=%s mode=%o uid=%d gid=%d optional=%v", id, m.SSHOpt.Mode, m.SSHOpt.Uid, m.SSHOpt.Gid, m.SSHOpt.Optional)
		}
		lines = append(lines, text)
	}
	for _, s := range e.Secretenv {
		lines = append(lines, fmt.Sprintf("env %s id=%s optional=%v", s.Name, s.ID, s.Optional))
	}
	slices.Sort(lines)
	return lines
}
