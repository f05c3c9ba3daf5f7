package stagewright

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// bases asks registries and OCI layouts what base images are, and keeps what it was
// given, so that an image is asked for once a build.
type bases struct {
	client *registry.Client
	memory memory

	mu     sync.Mutex
	images map[imageKey]v1.Image
	tags   map[string]*tag // by reference as written
}

// tag is what a reference was when it was asked for first. The platforms of a build get
// the same answer, even if the tag moves meanwhile, and it is asked for once.
type tag struct {
	mu     sync.Mutex
	pinned string // empty before the first answer
}

type imageKey struct {
	name     string
	platform platform.Platform
}

func newBases(online *registry.Client, m memory) *bases {
	return &bases{client: m.client(online), memory: m, images: map[imageKey]v1.Image{}, tags: map[string]*tag{}}
}

func (b *bases) Resolve(ctx context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	name, sum, img, err := b.find(ctx, ref, p)
	if err != nil {
		return stage.BaseImage{}, err
	}
	file, err := image.FileOf(img)
	if err != nil {
		return stage.BaseImage{}, fmt.Errorf("base image %s: %w", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.images[imageKey{name, p}] = img
	return stage.BaseImage{Name: name, Digest: digest.Digest(sum.String()), File: file}, nil
}

func (b *bases) Image(ctx context.Context, name string, p platform.Platform) (v1.Image, error) {
	b.mu.Lock()
	img := b.images[imageKey{name, p}]
	b.mu.Unlock()
	if img != nil {
		return img, nil
	}
	_, _, img, err := b.find(ctx, name, p)
	return img, err
}

// find asks for a reference. name has the digest of what the reference names, sum is
// that of the manifest for the platform.
func (b *bases) find(ctx context.Context, ref string, p platform.Platform) (name string, sum v1.Hash, img v1.Image, err error) {
	if rest, ok := strings.CutPrefix(ref, layoutPrefix); ok {
		return findInLayout(ctx, rest, p)
	}
	pinned, r, err := b.first(ctx, ref, p)
	if err == nil && r.Image == nil {
		r, err = b.client.Resolve(ctx, pinned, p)
	}
	return pinned, r.Digest, r.Image, err
}

// first resolves a reference that nobody has asked for, or tells what it was.
func (b *bases) first(ctx context.Context, ref string, p platform.Platform) (string, registry.Resolved, error) {
	b.mu.Lock()
	t := b.tags[ref]
	if t == nil {
		t = new(tag)
		b.tags[ref] = t
	}
	b.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pinned != "" {
		return t.pinned, registry.Resolved{}, nil
	}
	r, err := b.memory.resolve(ctx, b.client, ref, p)
	if err == nil {
		t.pinned = r.Ref
	}
	return r.Ref, r, err
}

// layoutPrefix begins the references of images in OCI layouts, as in Docker:
// "oci-layout://DIR[:TAG][@DIGEST]".
const layoutPrefix = "oci-layout://"

func findInLayout(ctx context.Context, ref string, p platform.Platform) (name string, sum v1.Hash, img v1.Image, err error) {
	dir, tag, pinned := splitLayout(ref)
	if dir == "" {
		return "", v1.Hash{}, nil, fmt.Errorf("%q names no directory; want %sDIR[:TAG][@DIGEST]", layoutPrefix+ref, layoutPrefix)
	}
	wanted := tag
	if pinned != "" {
		if err := digest.Digest(pinned).Validate(); err != nil {
			return "", v1.Hash{}, nil, fmt.Errorf("%s%s: digest %q: %w", layoutPrefix, ref, pinned, err)
		}
		wanted = pinned
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", v1.Hash{}, nil, err
	}
	r, err := layout.Resolve(ctx, abs, wanted, p)
	if err != nil {
		return "", v1.Hash{}, nil, err
	}
	name = layoutPrefix + dir
	if tag != "" {
		name += ":" + tag
	}
	return name + "@" + r.Top.String(), r.Digest, r.Image, nil
}

// splitLayout takes a reference apart. A colon before the last slash is part of the
// directory, "C:\\images" too.
func splitLayout(ref string) (dir, tag, pinned string) {
	dir, pinned, _ = strings.Cut(ref, "@")
	if at := strings.LastIndexByte(dir, ':'); at > strings.LastIndexAny(dir, `/\`) {
		dir, tag = dir[:at], dir[at+1:]
	}
	return dir, tag, pinned
}

// documents keeps the manifests and configs of base images in the cache.
type documents struct{ store cache.Store }

func (d documents) Get(ctx context.Context, h v1.Hash) ([]byte, bool) {
	sum, err := cache.ParseDigest(h.String())
	if err != nil {
		return nil, false
	}
	data, err := cache.ReadBlob(ctx, d.store, sum, image.MaxManifestSize)
	return data, err == nil
}

// Put writes nothing that is there: a manifest comes again with each build that asks for its tag.
func (d documents) Put(ctx context.Context, data []byte) error {
	if b, err := d.store.Open(ctx, sha256.Sum256(data)); err == nil {
		return b.Close()
	}
	_, err := cache.PutBlob(ctx, d.store, data)
	return err
}
