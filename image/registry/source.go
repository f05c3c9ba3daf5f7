package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/stagewright/stagewright/image"
)

// source reads the content of one repository, from its mirrors where they have it.
type source struct {
	ref       name.Reference
	origin    *repo
	documents Documents // may be nil

	mu      sync.Mutex
	mirrors []*repo // those that have not failed yet, and the errors of those that have
	failed  []error
}

func (c *Client) source(r name.Reference) (*source, error) {
	s := &source{ref: r, origin: c.pulling(r.Context()), documents: c.options.Documents}
	host := displayHost(r)
	mirrors := c.options.Mirrors[host]
	if host == "docker.io" && mirrors == nil {
		mirrors = c.options.Mirrors[name.DefaultRegistry]
	}
	for _, m := range mirrors {
		mirrored, err := c.options.mirror(m, r.Context())
		if err != nil {
			return nil, fmt.Errorf("the mirror %q of %s: %w; write a host like mirror.lan:5000, or host/path", m, host, err)
		}
		s.mirrors = append(s.mirrors, c.pulling(mirrored))
	}
	return s, nil
}

// mirror is what a repository is called at a mirror.
func (o Options) mirror(m string, of name.Repository) (name.Repository, error) {
	if strings.Contains(m, "://") {
		return name.Repository{}, errors.New("it has a scheme; https is spoken, and http with hosts in Options.Insecure")
	}
	host, path, _ := strings.Cut(strings.TrimSuffix(m, "/"), "/")
	reg, err := o.registry(host)
	if err != nil {
		return name.Repository{}, err
	}
	if path != "" {
		path += "/"
	}
	return reg.Repo(path + of.RepositoryStr()), nil
}

// each calls f for the mirrors, one after the other, and at last for the registry itself, until it succeeds. A mirror that fails is not
// asked again by this source.
func (s *source) each(ctx context.Context, f func(*repo) error) error {
	s.mu.Lock()
	mirrors := slices.Clone(s.mirrors)
	s.mu.Unlock()
	for _, m := range mirrors {
		err := f(m)
		if err == nil || ctx.Err() != nil {
			return err
		}
		s.drop(m, err)
	}
	err := f(s.origin)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && len(s.failed) > 0 {
		return &mirrorsError{err, slices.Clone(s.failed)}
	}
	return err
}

func (s *source) drop(m *repo, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := slices.Index(s.mirrors, m); n >= 0 {
		s.mirrors = slices.Delete(s.mirrors, n, n+1)
		s.failed = append(s.failed, fmt.Errorf("the mirror %s: %w", m.name.RegistryStr(), err))
	}
}

// mirrorsError is the failure of a registry whose mirrors had failed before.
type mirrorsError struct {
	err     error // of the registry itself, which is what counts
	mirrors []error
}

func (e *mirrorsError) Error() string {
	return fmt.Sprintf("%v; before that, %v", e.err, errors.Join(e.mirrors...))
}
func (e *mirrorsError) Unwrap() error { return e.err }

// top reads what the reference names. With a digest it may be known; of a tag it may be known what it was.
func (s *source) top(ctx context.Context, was known) (v1.Descriptor, []byte, error) {
	if d, raw, ok, err := s.still(ctx, was); ok || err != nil {
		return d, raw, err
	}
	want := v1.Hash{}
	if pinned, ok := s.ref.(name.Digest); ok {
		h, err := v1.NewHash(pinned.DigestStr())
		if err != nil {
			return v1.Descriptor{}, nil, err
		}
		if raw := s.known(ctx, h); raw != nil {
			if d, err := describe(v1.Descriptor{Size: int64(len(raw)), Digest: h}, raw); err == nil {
				return d, raw, nil
			}
		}
		want = h
	}
	var d v1.Descriptor
	var raw []byte
	err := s.each(ctx, func(r *repo) error {
		got, header, err := r.manifest(ctx, s.ref.Identifier())
		if err != nil {
			return err
		}
		raw = got
		d, err = describeAnswer(got, header, want)
		return err
	})
	if err == nil {
		s.keep(ctx, d.Digest, raw)
	}
	return d, raw, err
}

// describeAnswer describes a manifest that a registry gave, which must be the one that is wanted, if one is.
func describeAnswer(raw []byte, header http.Header, want v1.Hash) (v1.Descriptor, error) {
	digest := want
	if want == (v1.Hash{}) {
		var err error
		if digest, _, err = v1.SHA256(bytes.NewReader(raw)); err != nil {
			return v1.Descriptor{}, err
		}
	} else if err := verify(want, raw); err != nil {
		return v1.Descriptor{}, err
	}
	mt, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return describe(v1.Descriptor{MediaType: types.MediaType(strings.TrimSpace(mt)), Size: int64(len(raw)), Digest: digest}, raw)
}

// verify compares a document with its digest.
func verify(want v1.Hash, raw []byte) error {
	rc, err := image.Verify(io.NopCloser(bytes.NewReader(raw)), want, int64(len(raw)))
	if err == nil {
		_, err = io.Copy(io.Discard, rc)
	}
	return err
}

// describe finds the media type of a manifest: what its bytes say, which the digest covers, or else the header of the answer, or else
// what it looks like.
func describe(d v1.Descriptor, raw []byte) (v1.Descriptor, error) {
	var own struct {
		MediaType types.MediaType   `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &own); err != nil {
		return v1.Descriptor{}, fmt.Errorf("what it names is no manifest: %w", err)
	}
	switch {
	case own.MediaType != "":
		d.MediaType = own.MediaType
	case d.MediaType == "" && own.Manifests != nil:
		d.MediaType = types.OCIImageIndex
	case d.MediaType == "":
		d.MediaType = types.OCIManifestSchema1
	}
	if !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
		if d.MediaType.IsSchema1() {
			return v1.Descriptor{}, errors.New("it is a Docker manifest of schema 1, a format given up in 2016; pull and push it with a current docker once")
		}
		return v1.Descriptor{}, fmt.Errorf("it is not a container image but %q", d.MediaType)
	}
	return d, nil
}

// known is a document that is kept, nil when there is none with that digest.
func (s *source) known(ctx context.Context, h v1.Hash) []byte {
	if s.documents == nil {
		return nil
	}
	data, ok := s.documents.Get(ctx, h)
	if !ok || verify(h, data) != nil {
		return nil
	}
	return data
}

// keep keeps a document that has its digest.
func (s *source) keep(ctx context.Context, h v1.Hash, data []byte) {
	if s.documents != nil && verify(h, data) == nil {
		_ = s.documents.Put(ctx, data) // it is asked for again then
	}
}

// Open implements content.Source.
func (s *source) Open(ctx context.Context, d v1.Descriptor, manifest bool) (io.ReadCloser, error) {
	ref := s.ref.Context().Digest(d.Digest.String())
	var rc io.ReadCloser
	var err error
	if manifest || d.MediaType.IsConfig() && d.Size <= image.MaxManifestSize {
		var raw []byte
		if raw, err = s.document(ctx, d, manifest); err == nil {
			return io.NopCloser(bytes.NewReader(raw)), nil
		}
	} else {
		err = s.each(ctx, func(r *repo) (err error) {
			rc, err = r.blob(ctx, d)
			return err
		})
	}
	if err != nil {
		return nil, newError(ctx, "pull", ref, err)
	}
	return rc, nil
}

// document reads a manifest or a config, and verifies it, so that a mirror with something else is passed over.
func (s *source) document(ctx context.Context, d v1.Descriptor, manifest bool) ([]byte, error) {
	if raw := s.known(ctx, d.Digest); raw != nil {
		return raw, nil
	}
	var raw []byte
	err := s.each(ctx, func(r *repo) (err error) {
		if manifest {
			raw, _, err = r.manifest(ctx, d.Digest.String())
		} else {
			raw, err = image.ReadVerified(ctx, d, image.MaxManifestSize, func(ctx context.Context) (io.ReadCloser, error) { return r.blob(ctx, d) })
		}
		if err == nil && manifest {
			err = verify(d.Digest, raw)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.keep(ctx, d.Digest, raw)
	return raw, nil
}

// Layer implements content.Source.
func (s *source) Layer(l v1.Layer, _ v1.Descriptor) v1.Layer {
	from := []name.Repository{s.ref.Context()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mirrors {
		from = append(from, m.name)
	}
	return &pulledLayer{l, from}
}

// pulledLayer remembers the repositories that it can be mounted from.
type pulledLayer struct {
	v1.Layer
	from []name.Repository
}

// CompressedContext is what image.OpenLayer calls.
func (l *pulledLayer) CompressedContext(ctx context.Context) (io.ReadCloser, error) {
	return image.OpenLayer(ctx, l.Layer)
}
