package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stagewright/stagewright/internal/conformance/live/buildkitd"
)

// A job is one build, or several at once, that a side is to do.
type job struct {
	workload workload
	dirs     []string // contexts
	push     string   // reference; the i-th of several builds has "-i" behind it
	tar      string   // path of an OCI archive; then nothing is pushed
	base     string   // reference of the first base
	again    int      // builds more in the same process, whose times count
}

// ref is where the i-th build goes.
func (j job) ref(i int) string {
	if j.workload.builds == 0 {
		return j.push
	}
	return fmt.Sprintf("%s-%d", j.push, i)
}

// A side is one of those that are compared.
type side interface {
	name() string
	// reset forgets everything that builds have left.
	reset(ctx context.Context) error
	run(ctx context.Context, j job) (sample, error)
}

// ours is stagewright, each time in a new process.
type ours struct{ dir string }

func newOurs(ctx context.Context, dir string) (*ours, error) {
	o := &ours{dir}
	for out, pkg := range map[string]string{
		"dockerfile": "github.com/stagewright/stagewright/examples/dockerfile",
		"program":    "github.com/stagewright/stagewright/internal/bench/program",
	} {
		if err := compile(ctx, filepath.Join(dir, out), pkg); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// compile compiles one of this project's programs.
func compile(ctx context.Context, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, said)
	}
	return nil
}

func (o *ours) name() string  { return "stagewright" }
func (o *ours) cache() string { return filepath.Join(o.dir, "cache") }
func (o *ours) out() string   { return filepath.Join(o.dir, "out") }

func (o *ours) reset(context.Context) error {
	return errors.Join(os.RemoveAll(o.cache()), os.RemoveAll(o.out()), os.MkdirAll(o.out(), 0o755))
}

func (o *ours) run(ctx context.Context, j job) (sample, error) {
	args := []string{filepath.Join(o.dir, "program"), "-form", j.workload.program, "-base", j.base, "-push", j.push, "-cache", o.cache(),
		"-out", o.out(), "-again", strconv.Itoa(j.again)}
	if j.workload.program == "" {
		args = []string{filepath.Join(o.dir, "dockerfile"), "--cache-dir", o.cache(), "--progress", "quiet", "-t", j.push}
		if j.tar != "" {
			args = append(args, "--output", "type=oci,dest="+j.tar)
		} else {
			args = append(args, "--push")
		}
		if j.workload.platforms != "" {
			args = append(args, "--platform", j.workload.platforms)
		}
	}
	result, err := measure(ctx, filepath.Join(o.dir, "log"), command{Args: append(args, j.dirs...)})
	if err == nil && j.again > 0 {
		result.Wall, err = leastAgain(o.out())
	}
	return result, err
}

// leastAgain is the least of the times that program has written.
func leastAgain(dir string) (least time.Duration, err error) {
	data, err := os.ReadFile(filepath.Join(dir, "again"))
	if err != nil {
		return 0, err
	}
	for _, line := range strings.Fields(string(data)) {
		n, err := strconv.ParseInt(line, 10, 64)
		if err != nil {
			return 0, err
		}
		if d := time.Duration(n); least == 0 || d < least {
			least = d
		}
	}
	return least, nil
}

// buildKit is a daemon that goes on running, and its client, each time in a new process.
type buildKit struct {
	dir    string
	daemon *buildkitd.Daemon
	pid    int
}

func newBuildKit(ctx context.Context, dir string) (*buildKit, error) {
	d, err := buildkitd.Start(ctx, dir, false)
	if err != nil {
		return nil, err
	}
	pid, err := d.PID()
	return &buildKit{dir, d, pid}, err
}

func (b *buildKit) name() string { return "BuildKit" }

func (b *buildKit) reset(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, b.daemon.Client(), "--addr", b.daemon.Address(), "prune", "--all")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("buildctl prune: %w: %s", err, said)
	}
	return nil
}

func (b *buildKit) run(ctx context.Context, j job) (sample, error) {
	var commands []command
	for i, dir := range j.dirs {
		output := "type=image,push=true,name=" + j.ref(i)
		if j.tar != "" {
			output = "type=oci,dest=" + j.tar
		}
		args := []string{b.daemon.Client(), "--addr", b.daemon.Address(), "build", "--progress", "plain", "--frontend", "dockerfile.v0",
			"--local", "context=" + dir, "--local", "dockerfile=" + dir, "--output", output}
		if j.workload.platforms != "" {
			args = append(args, "--opt", "platform="+j.workload.platforms)
		}
		commands = append(commands, command{Args: args})
	}
	if err := resetPeak(b.pid); err != nil {
		return sample{}, err
	}
	before, err := usageOf(b.pid)
	if err != nil {
		return sample{}, err
	}
	s, err := measure(ctx, filepath.Join(b.dir, "client.log"), commands...)
	if err != nil {
		return sample{}, err
	}
	after, err := usageOf(b.pid)
	s.CPU += after.cpu - before.cpu
	s.Peak = max(s.Peak, after.peak)
	return s, err
}

// limit is what a bare program needs: it reads, hashes and compresses the files once, and pushes the one layer.
type limit struct{ ours *ours }

func (l *limit) name() string                { return "limit" }
func (l *limit) reset(context.Context) error { return nil }

func (l *limit) run(ctx context.Context, j job) (sample, error) {
	args := []string{filepath.Join(l.ours.dir, "program"), "-form", "limit", "-cache", l.ours.dir}
	if j.tar == "" {
		args = append(args, "-push", j.push)
	}
	return measure(ctx, filepath.Join(l.ours.dir, "limit.log"), command{Args: append(args, j.dirs...)})
}
