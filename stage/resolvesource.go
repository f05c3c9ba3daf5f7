package stage

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/stagewright/stagewright/internal/gitref"
)

// resolveSource replaces a stage or an image by the step that produces its
// files, which becomes an input of the step.
func (c *compiler) resolveSource(from Source, l *link, st *state, step *Step) (Source, error) {
	switch s := from.(type) {
	case Stage:
		if s.last == nil {
			return nil, errZeroStage
		}
		source := c.at(s.last, st.target)
		step.Inputs = append(step.Inputs, source.step)
		return stepSource{"stage " + c.label(s.last.root)}, nil
	case ImageSource:
		ref, err := st.expand(s.Ref)
		if err != nil {
			return nil, err
		}
		if ref == "" {
			return nil, fmt.Errorf("the image reference %q is empty", s.Ref)
		}
		p := step.Platform
		if st.rules != nil {
			p = st.target // whatever the stage is pinned to
		}
		source := c.baseState(ref, p, l.root, l.at, opName(l.op))
		step.Inputs = append(step.Inputs, source.step)
		return stepSource{ref}, nil
	case DirSource:
		s.Ignore = slices.Clone(s.Ignore)
		if s.Path == "" {
			return nil, errors.New("stage.Dir with an empty path; write \".\" for the working directory")
		}
		return s, nil
	case FSSource:
		if s.FS == nil {
			return nil, errors.New("stage.FS(nil): no file system")
		}
	case TarSource:
		if s.Open == nil {
			return nil, errors.New("stage.Tar(nil): no archive")
		}
	case HTTPSource:
		return st.resolveHTTP(s)
	case GitSource:
		return st.resolveGit(s)
	}
	return from, nil
}

func (sc *scope) resolveHTTP(s HTTPSource) (Source, error) {
	var err error
	if s.URL, err = sc.expand(s.URL); err != nil {
		return nil, err
	}
	if s.Checksum, err = sc.expand(s.Checksum); err != nil {
		return nil, err
	}
	return checkedHTTP(s)
}

// checkedHTTP checks a source whose texts are expanded.
func checkedHTTP(s HTTPSource) (Source, error) {
	if u, err := url.Parse(s.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("URL %q; want http://… or https://…", gitref.Redact(s.URL))
	}
	switch {
	case s.Checksum != "":
		if err := digest.Digest(s.Checksum).Validate(); err != nil {
			return nil, fmt.Errorf("checksum %q of %s: %w; want \"sha256:\" and 64 hexadecimal digits", s.Checksum, s, err)
		}
	case !s.Unchecked:
		return nil, fmt.Errorf("%s has no checksum; give one to stage.HTTP, or use stage.HTTPUnchecked", s)
	}
	return s, nil
}

func (sc *scope) resolveGit(s GitSource) (Source, error) {
	for _, text := range []*string{&s.Remote, &s.Ref, &s.Subdir, &s.Checksum} {
		var err error
		if *text, err = sc.expand(*text); err != nil {
			return nil, err
		}
	}
	return checkedGit(s)
}

// checkedGit checks a source whose texts are expanded.
func checkedGit(s GitSource) (Source, error) {
	if s.Remote == "" || strings.HasPrefix(s.Remote, "-") || strings.HasPrefix(s.Ref, "-") {
		return nil, fmt.Errorf("%s: want a URL and a branch, tag or commit", s)
	}
	return s, nil
}
