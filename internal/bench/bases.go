package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/internal/toolbox"
	"github.com/stagewright/stagewright/stage"
)

// bases are the images that Dockerfiles begin with, made on the spot.
type bases struct {
	dir   string // for the files of large
	store cache.Store
}

func newBases(dir string) (*bases, error) {
	store, err := cache.OpenDisk(filepath.Join(dir, "cache"), cache.DiskOptions{})
	return &bases{dir, store}, err
}

// push makes a base and pushes it to registry/bases/NAME.
func (b *bases) push(ctx context.Context, name, address string) error {
	s, err := b.stage(ctx, name)
	if err != nil {
		return err
	}
	res, err := stagewright.Build(ctx, s, stagewright.Options{
		Store: b.store, Sinks: []image.Sink{registry.Push(fmt.Sprintf("%s/bases/%s:latest", address, name))},
	})
	if err != nil {
		return fmt.Errorf("base %s: %w", name, err)
	}
	return res.Close()
}

func (b *bases) stage(ctx context.Context, name string) (stage.Stage, error) {
	switch name {
	case "large":
		return b.large()
	case "debian":
		return b.debian(ctx)
	case "golang":
		debian, err := b.debian(ctx)
		if err != nil {
			return stage.Stage{}, err
		}
		toolchain, err := toolbox.Toolchain(ctx)
		if err != nil {
			return stage.Stage{}, err
		}
		return debian.CopyFrom(stage.Dir(toolchain.Root, toolchain.Ignore...), ".", "/usr/local/go", stage.KeepModes()), nil
	}
	binary, err := toolbox.Build(ctx, "")
	if err != nil {
		return stage.Stage{}, err
	}
	return stage.Scratch().CopyFrom(stage.FS(binary.Files()), ".", "/", stage.KeepModes()), nil
}

// debian is a Debian tree that debootstrap makes, once for each user of this machine: it takes a minute, and Debian's mirror.
func (b *bases) debian(ctx context.Context) (stage.Stage, error) {
	parent, err := os.UserCacheDir()
	if err != nil {
		return stage.Stage{}, err
	}
	dir := filepath.Join(parent, "stagewright-bench", "debian")
	if _, err := os.Stat(dir); err != nil {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return stage.Stage{}, err
		}
		fresh, err := os.MkdirTemp(filepath.Dir(dir), "debootstrap")
		if err != nil {
			return stage.Stage{}, err
		}
		defer os.RemoveAll(fresh)
		cmd := exec.CommandContext(ctx, "debootstrap", "--variant=minbase", "stable", filepath.Join(fresh, "root"), "http://deb.debian.org/debian")
		if said, err := cmd.CombinedOutput(); err != nil {
			return stage.Stage{}, fmt.Errorf("debootstrap: %w: %s (apt-get install -y debootstrap)", err, tail(said, 2000))
		}
		if err := os.Rename(filepath.Join(fresh, "root"), dir); err != nil {
			return stage.Stage{}, err
		}
	}
	ignore := []string{"dev/*", "proc/*", "sys/*", "run/*", "var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*"}
	return stage.Scratch().CopyFrom(stage.Dir(dir, ignore...), ".", "/", stage.KeepModes()), nil
}

// large is 120 MB in three layers: 1,200 files, half of them text and half random.
func (b *bases) large() (stage.Stage, error) {
	s := stage.Scratch()
	dir := filepath.Join(b.dir, "large")
	for layer := range 3 {
		one := filepath.Join(dir, fmt.Sprint(layer))
		s = s.CopyFrom(stage.Dir(one), ".", fmt.Sprintf("/usr/share/%d", layer))
		if _, err := os.Stat(one); err == nil {
			continue
		}
		random := newRandom(uint64(100 + layer))
		for i := range 400 {
			data := text(random, 100_000)
			if i%2 == 1 {
				data = noise(random, 100_000)
			}
			if err := write(one, fmt.Sprintf("d%d/f%d", i%10, i), data); err != nil {
				return stage.Stage{}, err
			}
		}
	}
	return s, nil
}
