package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/stagewright/stagewright/internal/conformance/live/buildkitd"
)

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

func (b *buildKit) name() string { return nameBuildKit }

func (b *buildKit) reset(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, b.daemon.Client(), "--addr", b.daemon.Address(), "prune", "--all")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("buildctl prune: %w: %s", err, said)
	}
	return nil
}

func (b *buildKit) run(ctx context.Context, j job) (sample, error) {
	w := work{}
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
		w.Commands = append(w.Commands, one(args...))
	}
	if err := resetPeak(b.pid); err != nil {
		return sample{}, err
	}
	before, err := usageOf(b.pid)
	if err != nil {
		return sample{}, err
	}
	s, err := measure(ctx, filepath.Join(b.dir, "client.log"), w)
	if err != nil {
		return sample{}, err
	}
	after, err := usageOf(b.pid)
	s.CPU += after.cpu - before.cpu
	s.Peak = max(s.Peak, after.peak)
	return s, err
}
