package stagewright

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// PullPolicy says when a registry is asked what an image is. The words are those of docker
// run --pull.
type PullPolicy string

const (
	// PullAlways asks in each build what a reference without a digest is now: a tag that
	// moved is seen. Manifests and layers that the cache has are not fetched again. It is the
	// default.
	PullAlways PullPolicy = "always"
	// PullMissing asks for what the cache does not know: a tag is what it was when it was
	// last asked for, if that is not longer ago than Options.PullAge, or the registry cannot
	// be asked.
	PullMissing PullPolicy = "missing"
	// PullNever asks no registry for images. A tag is what it was when it was last asked for,
	// and what the cache does not have is an error. Sinks may push.
	PullNever PullPolicy = "never"
)

// defaultPullAge is what Options.PullAge is when it is 0.
const defaultPullAge = 30 * 24 * time.Hour

// ErrOffline is found in the error of a build that needs the network and may not use it,
// for an image, for an HTTP or git source, or for a sink.
var ErrOffline = registry.ErrOffline

// checkPull finds what contradicts itself before anything is asked.
func (o Options) checkPull() error {
	switch o.Pull {
	case "", PullAlways, PullMissing, PullNever:
	default:
		return fmt.Errorf("stagewright: Options.Pull is %q; want %q, %q or %q", string(o.Pull), PullAlways, PullMissing, PullNever)
	}
	switch {
	case o.PullAge < 0:
		return fmt.Errorf("stagewright: Options.PullAge is %v; want a positive duration, or 0 for 30 days", o.PullAge)
	case !o.Offline:
		return nil
	case o.Pull == PullAlways:
		return errors.New("stagewright: Options.Pull is PullAlways, and the build is offline; choose one")
	}
	for i, sink := range o.Sinks {
		if p, ok := sink.(image.Pusher); ok {
			return ofSink(i, image.SinkName(sink), fmt.Errorf("%w: it sends to %s, and the build is offline; build without Options.Offline, or into an OCI layout that is pushed later", ErrOffline, p.Pushes()))
		}
	}
	return nil
}

// memory is what the cache remembers of references, and when that counts.
type memory struct {
	store   cache.Store // nil remembers nothing
	policy  PullPolicy
	age     time.Duration
	notice  func(text string)
	offline *registry.Client // asks nobody; nil when registries may be asked
}

func (o Options) pulling() memory {
	m := memory{store: o.Store, policy: o.Pull, age: o.PullAge, notice: func(string) {}}
	if m.age == 0 {
		m.age = defaultPullAge
	}
	if o.Progress != nil {
		m.notice = func(text string) { o.Progress(stage.Notice{Text: text}) }
	}
	if o.Offline || o.Pull == PullNever {
		silent := o.Registry
		silent.Offline = true
		m.offline = registry.NewClient(silent)
	}
	return m
}

// client is the one that fetches: online, or one that asks nobody.
func (m memory) client(online *registry.Client) *registry.Client {
	if m.offline != nil {
		return m.offline
	}
	return online
}

// remembered is what a reference was when a registry was last asked.
type remembered struct {
	Pinned string `json:"pinned"`           // the whole name with the digest
	Asked  int64  `json:"asked"`            // in seconds since 1970
	Direct string `json:"direct,omitempty"` // registry.Known.Direct
}

func referenceKey(ref string) cache.Key {
	return cache.NewKey("image reference", 1).String("reference", ref).Sum()
}

// age is how long ago the registry was asked.
func (r remembered) age() time.Duration { return time.Since(time.Unix(r.Asked, 0)).Abs() }

// recall is what the cache knows of a reference.
func (m memory) recall(ctx context.Context, ref string) (r remembered, ok bool) {
	if m.store == nil {
		return remembered{}, false
	}
	data, err := m.store.Get(ctx, referenceKey(ref))
	if err != nil || json.Unmarshal(data, &r) != nil || !strings.Contains(r.Pinned, "@") {
		return remembered{}, false
	}
	return r, true
}

// renewal is how old what is remembered becomes before the same answer is written again.
const renewal = time.Hour

// remember keeps what a reference is, where the cache had something else. The cache is no reason to fail: it is asked again then.
func (m memory) remember(ctx context.Context, ref string, had remembered, r registry.Resolved) {
	if m.store == nil || had.Pinned == r.Ref && had.Direct == r.Direct && had.age() < renewal {
		return
	}
	if data, err := json.Marshal(remembered{r.Ref, time.Now().Unix(), r.Direct}); err == nil {
		_ = m.store.Put(ctx, referenceKey(ref), data)
	}
}

// resolve finds out what a reference is, by asking or from memory, as the policy says.
func (m memory) resolve(ctx context.Context, client *registry.Client, ref string, p platform.Platform) (registry.Resolved, error) {
	if strings.Contains(ref, "@") {
		return client.Resolve(ctx, ref, p)
	}
	was, known := m.recall(ctx, ref)
	if known && (m.offline != nil || m.policy == PullMissing && was.age() <= m.age) {
		return client.Resolve(ctx, was.Pinned, p)
	}
	r, err := client.ResolveKnown(ctx, ref, registry.Known{Ref: was.Pinned, Direct: was.Direct}, p)
	if err == nil {
		m.remember(ctx, ref, was, r)
		return r, nil
	}
	if !known || !down(err) || ctx.Err() != nil {
		return r, err
	}
	since := fmt.Sprintf("what it was %v ago", was.age().Round(time.Minute))
	if m.policy != PullMissing {
		return r, fmt.Errorf("%w; the cache knows %s: PullMissing builds on that", err, since)
	}
	old, oldErr := client.Resolve(ctx, was.Pinned, p)
	if oldErr != nil {
		return r, err
	}
	m.notice(fmt.Sprintf("%s: the registry cannot be asked, so it is %s: %v", ref, since, err))
	return old, nil
}

// down reports whether an error says nothing of the reference, only of the way to the
// registry.
func down(err error) bool {
	e, ok := errors.AsType[*registry.Error](err)
	if !ok {
		return false
	}
	switch e.Reason {
	case registry.ErrUnreachable, registry.ErrRateLimited, nil:
		return true
	}
	return false
}
