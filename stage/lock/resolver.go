package lock

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// Mode says what is done with a reference.
type Mode string

const (
	// Add uses the digest that is locked, and locks a reference that is not.
	Add Mode = ""
	// Frozen uses the digest that is locked, and refuses a reference that is not: the
	// file is never written.
	Frozen Mode = "frozen"
	// Update asks anew for every reference. What no stage uses any more leaves the file.
	Update Mode = "update"
)

// MissingError reports a reference that a frozen lock file does not have.
type MissingError struct {
	File     string
	Ref      string
	Platform platform.Platform
}

// Error names the reference, the platform and the file, and the mode that adds the entry.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s for %s is not in the lock file %s, which is frozen; build once in the mode lock.Add, and keep the file that it writes", e.Ref, e.Platform, e.File)
}

// Resolver returns a resolver that asks next for the locked digest of a reference, and
// in the modes [Add] and [Update] locks what next answers. An unknown mode is an error of
// each answer.
func (f *File) Resolver(next stage.Resolver, mode Mode) stage.Resolver {
	if mode == Update {
		f.mu.Lock()
		f.update = true
		f.mu.Unlock()
	}
	return &resolver{f, next, mode}
}

type resolver struct {
	file *File
	next stage.Resolver
	mode Mode
}

// Resolve implements stage.Resolver. Errors: *[MissingError], and those of the next.
func (r *resolver) Resolve(ctx context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	switch r.mode {
	case Add, Frozen, Update:
	default:
		return stage.BaseImage{}, fmt.Errorf("lock mode %q; want lock.Add, lock.Frozen or lock.Update", r.mode)
	}
	if strings.Contains(ref, "@") || strings.ContainsAny(ref, " \r\n") {
		return r.next.Resolve(ctx, ref, p) // pinned already; or no reference, which next will say
	}
	k := key{ref, p.String()}
	locked, ok := r.file.use(k)
	switch {
	case ok && r.mode != Update:
		base, err := r.next.Resolve(ctx, ref+"@"+locked.String(), p)
		if err != nil {
			return base, fmt.Errorf("%w (%s is locked to that digest in %s)", err, ref, r.file.path)
		}
		return base, nil
	case r.mode == Frozen:
		return stage.BaseImage{}, &MissingError{File: r.file.path, Ref: ref, Platform: p}
	}
	base, err := r.next.Resolve(ctx, ref, p)
	if err != nil {
		return base, err
	}
	pinned := base.Digest
	if _, text, ok := strings.Cut(base.Name, "@"); ok {
		pinned = digest.Digest(text)
	}
	if err := pinned.Validate(); err != nil {
		return base, fmt.Errorf("%s cannot be locked: the digest %q: %w", ref, pinned, err)
	}
	r.file.add(k, pinned)
	return base, nil
}

// use finds a line and marks it as needed.
func (f *File) use(k key) (digest.Digest, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d, ok := f.entries[k]
	f.used[k] = true
	return d, ok
}

func (f *File) add(k key, d digest.Digest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.entries = maps.Clone(f.entries)
	f.entries[k] = d
	f.added[k] = d
}
