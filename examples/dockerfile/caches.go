package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/remote"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/stage/local"
)

// cacheTypes are what --cache-from and --cache-to take.
const cacheTypes = "registry, local or oci-layout"

// caches are the stores that --cache-from and --cache-to name: each once, so that a cache that is read and written is asked once.
type caches struct {
	client *registry.Client
	pushed []string // repositories that get the image, and so have its layers
	warn   io.Writer
	stores map[string]cache.Store
	close  []func() error
}

// openCaches opens what --cache-from and --cache-to name. The caches are closed after the build.
func (f *flags) openCaches(o *stagewright.Options, warn io.Writer) (*caches, error) {
	c := &caches{client: registry.NewClient(o.Registry), warn: warn, stores: map[string]cache.Store{}}
	for _, tag := range f.tags {
		if r, err := name.NewTag(tag, name.WeakValidation); err == nil && f.push {
			c.pushed = append(c.pushed, r.Context().Name())
		}
	}
	for _, text := range f.cacheFrom {
		store, err := c.from(text)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--cache-from %s: %w", text, err), c.closeAll())
		}
		if store != nil {
			o.CacheFrom = append(o.CacheFrom, store)
		}
	}
	for _, text := range f.cacheTo {
		to, err := c.to(text)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("--cache-to %s: %w", text, err), c.closeAll())
		}
		o.CacheTo = append(o.CacheTo, to)
	}
	return c, nil
}

func (c *caches) closeAll() error {
	var errs []error
	for _, f := range c.close {
		errs = append(errs, f())
	}
	c.close = nil
	return errors.Join(errs...)
}

// cacheFields reads the value of a flag. As in docker, a text without "=" is the name of a cache in a registry.
func cacheFields(text string) map[string]string {
	if !strings.Contains(text, "=") {
		return map[string]string{"type": "registry", "ref": text}
	}
	return fields(text)
}

func (c *caches) from(text string) (cache.Store, error) {
	m := cacheFields(text)
	if err := unknown("fields", m, "type", "ref", "src", "name"); err != nil {
		return nil, err
	}
	if dir := m["src"]; dir != "" {
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			fmt.Fprintf(c.warn, "warning: --cache-from %s: %s is not there yet; the build goes on without it\n", text, dir)
			return nil, nil
		}
	}
	return c.open(m, m["src"], "src")
}

func (c *caches) to(text string) (to stagewright.CacheExport, err error) {
	m := cacheFields(text)
	if err := unknown("fields", m, "type", "ref", "dest", "name", "mode", "mounts", "ignore-error"); err != nil {
		return to, err
	}
	to.Mode = local.CacheMode(m["mode"])
	if err := (local.ExportOptions{Mode: to.Mode}).Validate(); err != nil {
		return to, fmt.Errorf("mode=%s; want min or max", m["mode"])
	}
	switch m["ignore-error"] {
	case "", "false":
	case "true":
		to.IgnoreError = true
	default:
		return to, fmt.Errorf("ignore-error=%s; want true or false", m["ignore-error"])
	}
	to.Mounts = strings.Fields(m["mounts"])
	for i, id := range to.Mounts {
		if id == "all" {
			to.Mounts[i] = local.AllMounts
		}
	}
	to.Store, err = c.open(m, m["dest"], "dest")
	return to, err
}

// open opens a cache, or returns the one that another flag has opened.
func (c *caches) open(m map[string]string, dir, field string) (cache.Store, error) {
	options := remote.Options{Client: c.client, MountFrom: c.pushed, Notice: func(err error) { fmt.Fprintf(c.warn, "warning: %v\n", err) }}
	var err error
	switch kind := m["type"]; kind {
	case "registry":
		if m["ref"] == "" {
			return nil, errors.New("no ref=…: the name of the cache, such as registry.example.com/team/cache:main")
		}
	case "local", "oci-layout":
		if dir == "" {
			return nil, fmt.Errorf("no %s=…: the directory of the cache", field)
		}
	case "inline":
		return nil, errors.New("no image has a cache in it; use type=registry, which needs no more than a repository to push to")
	default:
		return nil, fmt.Errorf("type %q; want %s", kind, cacheTypes)
	}
	key := strings.Join([]string{m["type"], m["ref"], dir, m["name"]}, "\n")
	if store := c.stores[key]; store != nil {
		return store, nil
	}
	var store interface {
		cache.Store
		Close() error
	}
	switch m["type"] {
	case "registry":
		store, err = remote.Registry(m["ref"], options)
	case "oci-layout":
		store, err = remote.Layout(dir, m["name"], options)
	default:
		store, err = cache.OpenDisk(dir, cache.DiskOptions{})
	}
	if err != nil {
		return nil, err
	}
	c.stores[key] = store
	c.close = append(c.close, store.Close)
	return store, nil
}
