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
)

// A job is one build, or several at once, that a side is to do.
type job struct {
	workload workload
	dirs     []string // contexts
	push     string   // reference; the i-th of several builds has "-i" behind it
	tar      string   // path of an OCI archive; then nothing is pushed
	base     string   // reference of the first base
	again    int      // builds more in the same process, whose times count
	children bool     // look for the peaks of children, too: not for runs that are timed
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

// The names of the sides, in the order of their runs.
const (
	nameBuildKit = "BuildKit"
	nameBuildah  = "Buildah"
	nameOurs     = "stagewright"
	nameLimit    = "limit"
)

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

func (o *ours) name() string  { return nameOurs }
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
	result, err := measure(ctx, filepath.Join(o.dir, "log"), work{Commands: []command{one(append(args, j.dirs...)...)}, Children: j.children})
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

// limit is what a bare program needs: for files it reads, hashes and compresses them once and pushes the one layer; for a Go program it
// fetches and unpacks the base and runs the go command in it (package program, forms limit and limit-seed).
type limit struct{ ours *ours }

func (l *limit) name() string { return nameLimit }
func (l *limit) dir() string  { return filepath.Join(l.ours.dir, "limit") }

func (l *limit) reset(context.Context) error {
	return errors.Join(os.RemoveAll(l.dir()), os.MkdirAll(l.dir(), 0o755))
}

func (l *limit) run(ctx context.Context, j job) (sample, error) {
	args := []string{filepath.Join(l.ours.dir, "program"), "-form", j.workload.limitForm, "-cache", l.dir(), "-base", j.base}
	if j.tar == "" {
		args = append(args, "-push", j.push)
	}
	return measure(ctx, filepath.Join(l.ours.dir, "limit.log"), work{Commands: []command{one(append(args, j.dirs...)...)}})
}

// blob is the size of the layer that the last run has made.
func (l *limit) blob() (int64, error) {
	info, err := os.Stat(filepath.Join(l.dir(), "limit.blob"))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
