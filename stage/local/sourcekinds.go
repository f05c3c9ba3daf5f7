package local

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/internal/gitref"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/source"
)

// sourceUse is one use of a local source.
type sourceUse struct {
	slot
	step     *stage.Step
	from     stage.Source // never a ContextSource, unless the build has no context
	context  bool         // it is the build's context
	raw      bool         // modes as they are are wanted
	rules    bool         // by the rules of Dockerfiles
	patterns []string
	picker
}

// contextForm is what makes the files of a build's context others for one use than for another.
type contextForm struct{ raw, rules bool }

func (u *sourceUse) contextForm() contextForm { return contextForm{u.raw, u.rules} }

// sourceUses are the uses of local sources, in the order of the steps.
func (s *session) sourceUses() iter.Seq[*sourceUse] {
	return func(yield func(*sourceUse) bool) {
		for _, step := range s.steps {
			if !s.needed[step.ID] {
				continue
			}
			switch op := step.Op.(type) {
			case *stage.CopyOp:
				u := sourceUse{
					slot: slot{step.ID, -1}, step: step, from: op.From, raw: op.Keep || op.Compatible, rules: op.Compatible,
					patterns: op.Paths, picker: pickerOf(op),
				}
				if s.isUse(&u) && !yield(&u) {
					return
				}
			case *stage.RunOp:
				for i, m := range op.Mounts {
					u := sourceUse{
						slot: slot{step.ID, i}, step: step, from: m.From, raw: op.Compatible, rules: op.Compatible,
						patterns: []string{m.Path}, picker: literalPath(),
					}
					if hasSource(&m) && s.isUse(&u) && !yield(&u) {
						return
					}
				}
			}
		}
	}
}

// isUse reports whether a use is one of a local source, and puts the build's context in its place.
func (s *session) isUse(u *sourceUse) bool {
	if !isLocal(u.from) {
		return false
	}
	if _, ok := u.from.(stage.ContextSource); ok && s.request.Context != nil {
		u.from, u.context = s.request.Context, true
	}
	return true
}

func isLocal(from stage.Source) bool {
	switch from.(type) {
	case stage.ContextSource, stage.DirSource, stage.FSSource, stage.TarSource, stage.HTTPSource, stage.GitSource:
		return true
	}
	return false
}

// keeping is what a source's files keep of their metadata: names and contents always.
type keeping struct {
	modes  bool // else 0755 and 0644
	owners bool // else 0:0
}

// keptOf is what the files of a source keep. An archive has owners of its own, as a
// stage has; when it is the context they count only by the rules of Dockerfiles, where
// raw is always asked for. The modes of a machine's files depend on its umask.
func keptOf(from stage.Source, context, raw bool) keeping {
	switch from.(type) {
	case stage.TarSource:
		return keeping{modes: raw || !context, owners: raw || !context}
	case stage.HTTPSource:
		return keeping{modes: raw || !context, owners: raw} // an archive, when it is a context
	case stage.GitSource:
		return keeping{modes: true}
	}
	return keeping{modes: raw}
}

// openSource finds what a source means, and its name. Uses with the same name share
// one source, which is read once.
func (s *session) openSource(src *sources, use *sourceUse, keep keeping) (string, source.Files, error) {
	at := use.slot
	if use.context {
		at = slot{-1, -1}
	}
	name, open, err := s.describe(use, at, keep)
	if err != nil {
		return "", nil, err
	}
	if files := src.opened[name]; files != nil {
		return name, files, nil
	}
	files, err := open()
	if err == nil {
		src.opened[name] = files
	}
	return name, files, err
}

// describe names a source by what it is, and says how to open it.
func (s *session) describe(use *sourceUse, at slot, keep keeping) (name string, open func() (source.Files, error), err error) {
	words := func(kind string, more ...string) string { return strings.Join(append([]string{kind}, more...), "\x00") }
	here := fmt.Sprintf("%d.%d", at.step, at.mount)
	switch from := use.from.(type) {
	case stage.ContextSource:
		return "", nil, errors.New("the build has no context to copy from")
	case stage.DirSource:
		path, err := filepath.Abs(from.Path)
		return words("dir", append([]string{path, from.IgnoreFile, fmt.Sprint(from.GitIgnore, keep.modes)}, from.Ignore...)...), func() (source.Files, error) {
			return source.Dir(from.Path, source.DirOptions{
				IgnoreFile: from.IgnoreFile, Ignore: from.Ignore, GitIgnore: from.GitIgnore, Memo: s.memo, Parallel: s.opts.Parallel, Xattrs: keep.modes,
			})
		}, err
	case stage.FSSource:
		called := from.Name
		if use.context {
			called = "context"
		} else if called == "" {
			called = "fs"
		}
		return words("fs", here), func() (source.Files, error) { return source.FS(from.FS, called), nil }, nil
	case stage.TarSource:
		return words("tar", here), func() (source.Files, error) {
			o, err := s.tarOptions()
			return source.Tar(from.Open, from.Name, o), err
		}, nil
	case stage.HTTPSource:
		fromURL := use.rules && from.Name == ""
		return words("http", from.URL, from.Checksum, from.Name, fmt.Sprint(use.context, fromURL)), func() (source.Files, error) {
			return s.openHTTP(from, use.context, fromURL)
		}, nil
	case stage.GitSource:
		return words("git", from.Remote, from.Ref, from.Subdir, from.Checksum, fmt.Sprint(from.KeepGit, from.Submodules)), func() (source.Files, error) {
			return s.openGit(from)
		}, nil
	}
	return "", nil, fmt.Errorf("the build context is %s; want a directory, a file system, an archive, a URL or a git repository", use.from)
}

func (s *session) tarOptions() (source.TarOptions, error) {
	dir, err := s.tempDir()
	return source.TarOptions{Dir: dir}, err
}

// openHTTP is the file of a URL. As a context it can be an archive, which is then
// unpacked.
func (s *session) openHTTP(from stage.HTTPSource, context, fromURL bool) (source.Files, error) {
	o := source.HTTPOptions{
		Store: s.opts.Store, Transport: s.opts.Transport, Name: from.Name, NameFromURL: fromURL,
		Authorization: s.authorization(from.URL), Offline: s.opts.Offline,
	}
	var file *source.HTTPFile
	var err error
	if from.Checksum == "" && from.Unchecked {
		file, err = source.HTTPUnchecked(from.URL, o)
	} else {
		file, err = source.HTTP(from.URL, from.Checksum, o)
	}
	if err != nil || !context {
		return file, err
	}
	unpack, err := s.tarOptions()
	return source.Archive(file, unpack), err
}

// authorization is what the secrets have for the host of a URL, under the names that
// BuildKit gives them; of a header and a token the token counts.
func (s *session) authorization(rawURL string) func(context.Context) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil // the source tells
	}
	for _, name := range []struct{ id, before string }{{"HTTP_AUTH_TOKEN_", "Bearer "}, {"HTTP_AUTH_HEADER_", ""}} {
		id := name.id + u.Hostname()
		if secret := s.request.Secrets[id]; secret != nil {
			return func(ctx context.Context) (string, error) {
				value, err := secret(ctx)
				if err != nil {
					return "", fmt.Errorf("the secret %q: %w", id, err)
				}
				return name.before + strings.TrimRight(string(value), "\r\n"), nil
			}
		}
	}
	return nil
}

// openGit is a commit's tree. The remote can have the other parts in it, as Docker
// writes them.
func (s *session) openGit(from stage.GitSource) (source.Files, error) {
	t := source.GitTree{
		Remote: from.Remote, Ref: from.Ref, Subdir: from.Subdir, Checksum: from.Checksum,
		KeepGit: from.KeepGit, Submodules: from.Submodules,
	}
	switch r, err := gitref.Parse(from.Remote); {
	case errors.Is(err, gitref.ErrNotGit): // a repository all the same: the caller says so
	case err != nil:
		return nil, err
	default:
		for _, part := range []struct {
			to   *string
			text string
			what string
		}{{&t.Ref, r.Ref, "ref"}, {&t.Subdir, r.Subdir, "subdirectory"}, {&t.Checksum, r.Checksum, "checksum"}} {
			if *part.to != "" && part.text != "" && *part.to != part.text {
				return nil, fmt.Errorf("%s: its %s is both %q and %q; write one", from, part.what, *part.to, part.text)
			}
			if *part.to == "" {
				*part.to = part.text
			}
		}
		t.Remote = r.Remote
		if r.KeepGit != nil {
			t.KeepGit = *r.KeepGit
		}
		if r.Submodules != nil {
			t.Submodules = *r.Submodules
		}
	}
	dir, err := s.privateDir()
	if err != nil {
		return nil, err
	}
	temp, err := s.tempDir()
	if err != nil {
		return nil, err
	}
	return source.Git(t, source.GitOptions{Dir: filepath.Join(dir, gitDir), Temporary: filepath.Join(temp, "git"), Store: s.opts.Store, Env: s.opts.GitEnv, Offline: s.opts.Offline})
}
