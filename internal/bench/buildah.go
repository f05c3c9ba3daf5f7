package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// buildah is Debian's Buildah, each time in new processes: `buildah bud --layers` with chroot isolation, then `buildah push`.
type buildah struct {
	dir, program string
	driver       string
	version      string
}

// errNoBuildah says that this machine has none.
var errNoBuildah = errors.New("buildah is not here: apt-get install -y buildah")

// newBuildah finds the storage driver that works below dir: overlay, or vfs, which copies every file for every layer.
func newBuildah(ctx context.Context, dir string) (*buildah, error) {
	program, err := exec.LookPath("buildah")
	if err != nil {
		return nil, errNoBuildah
	}
	b := &buildah{dir: dir, program: program}
	version, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("buildah --version: %w", err)
	}
	b.version, _, _ = strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(version)), "buildah version "), " ")
	var failed error
	for _, b.driver = range []string{"overlay", "vfs"} {
		said, err := exec.CommandContext(ctx, program, b.args("info")...).CombinedOutput()
		if err == nil {
			return b, nil
		}
		failed = errors.Join(failed, fmt.Errorf("buildah with %s: %w: %s", b.driver, err, tail(said, 500)))
		if err := b.reset(ctx); err != nil {
			return nil, err
		}
	}
	return nil, failed
}

func (b *buildah) name() string { return nameBuildah }

// args are the arguments of one subcommand on the storage of this side.
func (b *buildah) args(args ...string) []string {
	return append([]string{"--root", filepath.Join(b.dir, "root"), "--runroot", filepath.Join(b.dir, "run"), "--storage-driver", b.driver}, args...)
}

// reset removes the storage, and what an ended process has left mounted in it.
func (b *buildah) reset(context.Context) error {
	root := filepath.Join(b.dir, "root")
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], root+"/") {
			_ = unix.Unmount(f[1], unix.MNT_DETACH) // one below another that is gone already
		}
	}
	return errors.Join(os.RemoveAll(root), os.RemoveAll(filepath.Join(b.dir, "run")))
}

func (b *buildah) run(ctx context.Context, j job) (sample, error) {
	w := work{Children: j.children}
	for i, dir := range j.dirs {
		build := b.args("bud", "--isolation", "chroot", "--layers", "--tls-verify=false", "--quiet")
		push := b.args("push", "--tls-verify=false", "--quiet")
		if j.workload.platforms != "" {
			build = append(build, "--platform", j.workload.platforms, "--manifest", j.ref(i), dir)
			push = b.args("manifest", "push", "--all", "--tls-verify=false", "--quiet")
		} else {
			build = append(build, "-t", j.ref(i), dir)
		}
		to := "docker://" + j.ref(i)
		if j.tar != "" {
			to = "oci-archive:" + j.tar
			if err := os.Remove(j.tar); err != nil && !errors.Is(err, os.ErrNotExist) {
				return sample{}, err
			}
		}
		push = append(push, j.ref(i), to)
		w.Commands = append(w.Commands, command{Steps: [][]string{append([]string{b.program}, build...), append([]string{b.program}, push...)}})
	}
	return measure(ctx, filepath.Join(b.dir, "log"), w)
}
