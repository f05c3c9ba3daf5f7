package stagewright

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/absent"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// CacheExport is a place to which a build exports what its cache knows, for Options.CacheFrom of other builds.
type CacheExport struct {
	// Store is where to: remote.Registry or remote.Layout of package cache/remote, or cache.OpenDisk for a plain
	// directory. It may be in Options.CacheFrom, too: then only what is new is sent.
	Store cache.Store
	// Mode is how much: local.CacheMin, which is zero, or local.CacheMax.
	Mode local.CacheMode
	// Mounts are ids of cache mounts whose contents are exported; local.AllMounts stands for all. An id that neither the build nor
	// the cache has is an error; see local.ExportOptions.
	Mounts []string
	// IgnoreError has the build go on when the export fails; SinkFinished and Result.CacheExports tell why. Without it the
	// build fails, after its image went to the sinks.
	IgnoreError bool
}

// CacheDelivery is what an export of the cache did.
type CacheDelivery struct {
	image.Delivery
	Err error // why it failed, of one with IgnoreError
}

// CacheExports returns what was exported, in the order of Options.CacheTo.
func (r *Result) CacheExports() []CacheDelivery { return slices.Clone(r.exports) }

// ExportCache exports what the cache knows of the build. The result is as good afterwards, whatever the error is.
// Exporting needs the default executor; of others the error wraps stage.ErrUnsupported.
func (r *Result) ExportCache(ctx context.Context, to CacheExport) (image.Delivery, error) {
	if absent.Is(to.Store) {
		return image.Delivery{}, errors.New("stagewright: CacheExport.Store is nil")
	}
	return local.ExportCache(ctx, r.Result, to.Store, local.ExportOptions{Mode: to.Mode, Mounts: to.Mounts})
}

// checkCaches finds what is wrong with caches before anything is built.
func (o Options) checkCaches() error {
	if i := absent.Index(o.CacheFrom); i >= 0 {
		return fmt.Errorf("stagewright: Options.CacheFrom[%d] is nil", i)
	}
	for i, to := range o.CacheTo {
		if absent.Is(to.Store) {
			return fmt.Errorf("stagewright: Options.CacheTo[%d].Store is nil", i)
		}
		if err := (local.ExportOptions{Mode: to.Mode}).Validate(); err != nil {
			return fmt.Errorf("stagewright: Options.CacheTo[%d]: %w", i, err)
		}
		if o.Offline && isFar(to.Store) {
			return fmt.Errorf("stagewright: Options.CacheTo[%d]: %w: it sends to the %s, and the build is offline; export to a directory or an OCI layout", i, ErrOffline, cache.Name(to.Store))
		}
	}
	return nil
}

// isFar reports whether a store is in a registry.
func isFar(s cache.Store) bool {
	r, ok := s.(interface{ Repository() string })
	return ok && r.Repository() != ""
}

// cachesBehind are the caches of others that this build may ask: offline none in a registry.
func (o Options) cachesBehind() []cache.Store {
	if !o.Offline {
		return o.CacheFrom
	}
	return slices.DeleteFunc(slices.Clone(o.CacheFrom), isFar)
}

// exportCaches exports once the sinks have the image, so that a registry has the layers already.
func (r *Result) exportCaches(ctx context.Context, o Options) error {
	tell := o.Progress
	if tell == nil {
		tell = func(stage.Event) {}
	}
	var errs []error
	for i, to := range o.CacheTo {
		index, start := len(o.Sinks)+i, time.Now()
		tell(stage.SinkStarted{Index: index, Name: cache.Name(to.Store), Time: start})
		d, err := r.ExportCache(ctx, to)
		tell(stage.SinkFinished{Index: index, Delivery: d, Duration: time.Since(start), Err: err})
		done := CacheDelivery{Delivery: d}
		switch {
		case err != nil && to.IgnoreError && ctx.Err() == nil:
			done.Err = err
		case err != nil:
			errs = append(errs, fmt.Errorf("stagewright: cache export %d: %w", i, err))
		}
		r.exports = append(r.exports, done)
	}
	return errors.Join(errs...)
}
