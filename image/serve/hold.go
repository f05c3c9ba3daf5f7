package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
)

// entry is an artifact that is held. What it has does not change; the fields of its life are guarded by Handler.mu.
type entry struct {
	repo      string
	tag       string // under which it was asked for; empty for a digest, and when the tag has moved on
	root      v1.Hash
	documents map[v1.Hash]document
	blobs     map[v1.Hash]blob

	cancel context.CancelCauseFunc // of the context that Source got; nil when there is none
	uses   int                     // answers that read its blobs
	ended  error                   // why it is not held any more
	pinned bool                    // stays until Close
}

// document is a manifest or an index.
type document struct {
	raw  []byte
	desc v1.Descriptor // as the referrers of subject are listed: with artifactType and annotations

	subject v1.Hash // what it refers to, or zero
}

// newDocument reads what the list of referrers says of a manifest (distribution specification, "Listing Referrers").
func newDocument(raw []byte, d v1.Descriptor) (document, error) {
	var m struct {
		ArtifactType string
		Annotations  map[string]string
		Config       struct{ MediaType string }
		Subject      struct{ Digest v1.Hash }
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return document{}, fmt.Errorf("%s: %w", d.Digest, err)
	}
	d.ArtifactType, d.Annotations = m.ArtifactType, m.Annotations
	if d.ArtifactType == "" {
		d.ArtifactType = m.Config.MediaType
	}
	return document{raw: raw, desc: d, subject: m.Subject.Digest}, nil
}

// blob is a config or a layer.
type blob struct {
	size int64
	open func(ctx context.Context) (io.ReadCloser, error)
}

// maxDocuments bounds the bytes of all manifests of an artifact.
const maxDocuments = 64 << 20

// describe lists what an artifact has, without opening a layer.
func describe(ctx context.Context, n name, a image.Artifact) (*entry, error) {
	e := &entry{repo: n.repo, tag: n.reference, documents: map[v1.Hash]document{}, blobs: map[v1.Hash]blob{}}
	room := maxDocuments
	root, err := e.add(ctx, a, 0, &room)
	e.root = root
	return e, err
}

func (e *entry) add(ctx context.Context, a image.Artifact, depth int, room *int) (v1.Hash, error) {
	if err := context.Cause(ctx); err != nil {
		return v1.Hash{}, err
	}
	raw, d, err := a.Manifest()
	if err != nil {
		return v1.Hash{}, err
	}
	if _, twice := e.documents[d.Digest]; twice {
		return d.Digest, nil
	}
	if *room -= len(raw); *room < 0 {
		return v1.Hash{}, fmt.Errorf("its manifests have more than %d bytes together", maxDocuments)
	}
	doc, err := newDocument(raw, d)
	if err != nil {
		return v1.Hash{}, err
	}
	if a.Image != nil {
		err = e.addImage(a.Image)
	} else {
		err = e.addIndex(ctx, a.Index, depth, room)
	}
	if err != nil {
		return v1.Hash{}, fmt.Errorf("%s: %w", d.Digest, err)
	}
	e.documents[d.Digest] = doc
	return d.Digest, nil
}

func (e *entry) addImage(img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	e.blobs[m.Config.Digest] = blob{m.Config.Size, func(context.Context) (io.ReadCloser, error) {
		b, err := img.RawConfigFile()
		return io.NopCloser(bytes.NewReader(b)), err
	}}
	for _, d := range m.Layers {
		if !d.MediaType.IsDistributable() {
			continue // its own server gives it, which the manifest names
		}
		e.blobs[d.Digest] = blob{d.Size, func(ctx context.Context) (io.ReadCloser, error) {
			l, err := img.LayerByDigest(d.Digest)
			if err != nil {
				return nil, err
			}
			return image.OpenLayer(ctx, l)
		}}
	}
	return nil
}

func (e *entry) addIndex(ctx context.Context, x v1.ImageIndex, depth int, room *int) error {
	if depth == content.MaxDepth {
		return fmt.Errorf("indexes are nested more than %d deep", content.MaxDepth)
	}
	m, err := x.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
			continue // no Go value has its bytes
		}
		child, err := content.Child(x, d)
		if err == nil {
			_, err = e.add(ctx, child, depth+1, room)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// hold puts an entry behind all others, in place of one for the same artifact, and releases what is too much. The caller holds the lock.
func (h *Handler) hold(e *entry) {
	for _, o := range h.held {
		if o.repo != e.repo || o.pinned {
			continue
		}
		if e.tag != "" && o.tag == e.tag {
			o.tag = ""
		}
		if o.root == e.root {
			if e.tag == "" {
				e.tag = o.tag
			}
			o.release(errReplaced)
		}
	}
	h.held = append(h.held, e)
	count := 0
	for i := len(h.held) - 1; i >= 0; i-- {
		if o := h.held[i]; o.ended == nil && !o.pinned {
			if count++; count > h.options.Keep {
				o.release(errReplaced)
			}
		}
	}
	h.held = slices.DeleteFunc(h.held, func(o *entry) bool { return o.ended != nil })
}

// errReplaced is the cause of the context of an artifact that is not served any more.
var errReplaced = errors.New("serve: a newer image took its place")

// release ends the entry, now or with the last answer that uses it. The caller holds the lock.
func (e *entry) release(why error) {
	if e.ended == nil {
		e.ended = why
	}
	if e.cancel != nil && (e.uses == 0 || errors.Is(why, errClosed)) {
		e.cancel(e.ended)
	}
}

// find returns the entry of a repository that has something, and makes it the one last asked for. It must be given back with done.
func (h *Handler) find(repo string, has func(*entry) bool) (*entry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := len(h.held) - 1; i >= 0; i-- {
		if e := h.held[i]; e.repo == repo && has(e) {
			h.held = append(slices.Delete(h.held, i, i+1), e)
			e.uses++
			return e, true
		}
	}
	return nil, false
}

// use is a use of an entry that Source has just given.
func (h *Handler) use(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.uses++
}

// done ends a use of an entry.
func (h *Handler) done(e *entry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e.uses--; e.uses == 0 && e.ended != nil {
		e.release(e.ended)
	}
}
