// Program is what package main of the parent directory measures where a Dockerfile cannot say it: programs that use the facade.
//
//	program -form onefile -base REF -push REF -cache DIR CONTEXT
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"sync"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage"
)

type config struct {
	base, push, cacheDir, outDir string
	again                        int
	dirs                         []string
}

func main() {
	var c config
	form := flag.String("form", "", "what to build: onefile, many, graph, seed, chain; or limit, limit-seed, which do the least that a builder has to")
	flag.StringVar(&c.base, "base", "", "reference of the base image")
	flag.StringVar(&c.push, "push", "", "reference to push to; with several contexts a number is added")
	flag.StringVar(&c.cacheDir, "cache", "", "directory of the cache")
	flag.StringVar(&c.outDir, "out", "", "directory for the image, of forms that do not push it")
	flag.IntVar(&c.again, "again", 0, "build so many times more in this process, and write the times of these builds to OUT/again as lines of nanoseconds")
	profile := flag.String("cpuprofile", "", "file for a profile of the processor time")
	flag.Parse()
	c.dirs = flag.Args()
	if err := run(*form, *profile, c); err != nil {
		fmt.Fprintln(os.Stderr, "program:", err)
		os.Exit(1)
	}
}

func run(form, profile string, c config) error {
	if profile != "" {
		f, err := os.Create(profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx := context.Background()
	switch form {
	case "onefile":
		return build(ctx, oneFile(c.base), c.dirs[0], c.push, stagewright.Options{CacheDir: c.cacheDir})
	case "graph":
		return build(ctx, graph(), c.dirs[0], c.push, stagewright.Options{CacheDir: c.cacheDir})
	case "seed":
		return c.repeat(ctx, seed(c.base), stagewright.Options{Context: stagewright.Dir(c.dirs[0])})
	case "chain":
		return c.repeat(ctx, chain(c.base), stagewright.Options{Context: stagewright.Dir(c.dirs[0])})
	case "limit":
		return limit(ctx, c)
	case "limit-seed":
		return limitSeed(ctx, c)
	case "many":
		return many(ctx, c)
	}
	return fmt.Errorf("no form %q", form)
}

func build(ctx context.Context, s stage.Stage, dir, push string, o stagewright.Options) error {
	o.Context = stagewright.Dir(dir)
	o.Sinks = []image.Sink{registry.Push(push)}
	res, err := stagewright.Build(ctx, s, o)
	if err != nil {
		return err
	}
	return res.Close()
}

// oneFile is one small file on a base.
func oneFile(base string) stage.Stage {
	return stage.From(base).Copy("file", "/srv/file")
}

// graph is 10,000 steps in 1,000 stages, gathered by one more.
func graph() stage.Stage {
	all := stage.Scratch()
	for i := range 1000 {
		s := stage.Scratch()
		for j := range 9 {
			s = s.File(fmt.Sprintf("/out/f%d", j), fmt.Sprintf("stage %d, file %d\n", i, j))
		}
		if i == 0 {
			s = s.Copy("file", "/out/")
		} else {
			s = s.Mkdir("/out/dir")
		}
		all = all.CopyFrom(s, "/out", fmt.Sprintf("/all/%d/", i))
	}
	return all.Squash()
}

// many builds each context at the same time, with one cache.
func many(ctx context.Context, c config) error {
	store, err := cache.OpenDisk(c.cacheDir, cache.DiskOptions{})
	if err != nil {
		return err
	}
	defer store.Close()
	errs := make([]error, len(c.dirs))
	var group sync.WaitGroup
	for i, dir := range c.dirs {
		name := dir[strings.LastIndexByte(dir, '/')+1:]
		s := stage.From(c.base).Copy("files", "/srv").Run("cat /srv/* | wc > /srv/count # " + name)
		group.Go(func() {
			errs[i] = build(ctx, s, dir, fmt.Sprintf("%s-%d", c.push, i), stagewright.Options{Store: store})
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
