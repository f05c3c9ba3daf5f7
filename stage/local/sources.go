package local

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/source"
)

// sources are the local sources of a graph: the context, directories of this
// machine and file systems, listed once each, with digests of what is used.
type sources struct {
	uses map[slot]*localSource
}

// slot is one use of a source by one step: the source of a copy, or that of the
// bind mount with the given index.
type slot struct {
	step  int
	mount int // -1 for a copy
}

// localSource is one local source as a tree.
type localSource struct {
	files   source.Files
	entries []source.Entry
	root    *tree.Node
	paths   map[tree.Digest]string // where the bytes of a digest are
	wanted  []wanted
	all     bool // somebody wants everything
}

// wanted is what one use needs of a source.
type wanted struct {
	step     *stage.Step
	literal  bool // the path of a mount, which is no pattern
	pattern  string
	optional bool
}

// openSources lists every local source, checks that each path that a step names
// is there, and takes the digests of what is used. All mistakes are reported
// together, before anything runs.
func (s *session) openSources(ctx context.Context) (*sources, error) {
	src := &sources{uses: map[slot]*localSource{}}
	var order []*localSource
	byName := map[string]*localSource{}
	var errs stage.Errors
	add := func(step *stage.Step, at slot, from stage.Source, patterns []string, optional bool) {
		if !isLocal(from) {
			return
		}
		name, files, err := s.openSource(from, at)
		if err != nil {
			errs = append(errs, step.Fail(err, ""))
			return
		}
		l := byName[name]
		if l == nil {
			l = &localSource{files: files}
			byName[name] = l
			order = append(order, l)
		}
		src.uses[at] = l
		for _, p := range patterns {
			l.wanted = append(l.wanted, wanted{step, at.mount >= 0, p, optional})
		}
	}
	for _, step := range s.steps {
		switch op := step.Op.(type) {
		case *stage.CopyOp:
			add(step, slot{step.ID, -1}, op.From, op.Paths, op.Optional)
		case *stage.RunOp:
			for i, m := range op.Mounts {
				if m.Type == stage.MountBind {
					add(step, slot{step.ID, i}, m.From, []string{m.Path}, false)
				}
			}
		}
	}
	for _, l := range order {
		found, err := l.read(ctx, s.opts.Epoch.UnixNano())
		errs = append(errs, found...)
		if err != nil {
			return nil, fmt.Errorf("local: %w", err)
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	return src, nil
}

func isLocal(from stage.Source) bool {
	switch from.(type) {
	case stage.ContextSource, stage.DirSource, stage.FSSource:
		return true
	}
	return false
}

// openSource finds what a source means. Uses with the same name share one
// listing.
func (s *session) openSource(from stage.Source, at slot) (string, source.Files, error) {
	if _, ok := from.(stage.ContextSource); ok {
		if s.request.Context == nil {
			return "", nil, fmt.Errorf("the build has no context to copy from")
		}
		from = s.request.Context
		at = slot{-1, -1}
	}
	switch from := from.(type) {
	case stage.DirSource:
		dir, err := source.Dir(from.Path, source.DirOptions{IgnoreFile: from.IgnoreFile, Ignore: from.Ignore, Memo: s.memo, Parallel: s.opts.Parallel})
		if err != nil {
			return "", nil, err
		}
		name := strings.Join(append([]string{"dir", filepath.Clean(dir.Path()), from.IgnoreFile}, from.Ignore...), "\x00")
		return name, dir, nil
	case stage.FSSource:
		name := from.Name
		if name == "" {
			name = "fs"
		}
		if at.step < 0 {
			name = "context"
		}
		return fmt.Sprintf("fs\x00%d\x00%d", at.step, at.mount), source.FS(from.FS, name), nil
	}
	return "", nil, fmt.Errorf("the build context is %s; want a directory or a file system", from)
}

// read lists the source, finds what is wanted and takes its digests.
func (l *localSource) read(ctx context.Context, epoch int64) (stage.Errors, error) {
	entries, err := l.files.List(ctx)
	if err != nil {
		return nil, err
	}
	l.entries = entries
	selected, errs := l.selectWanted(epoch)
	if len(errs) > 0 {
		return errs, nil
	}
	files := make([]*source.Entry, 0, len(entries))
	for i := range entries {
		if entries[i].Mode.IsRegular() && (l.all || selected.covers(entries[i].Path)) {
			files = append(files, &entries[i])
		}
	}
	if err := l.files.Hash(ctx, files); err != nil {
		return nil, err
	}
	l.paths = make(map[tree.Digest]string, len(files))
	for _, f := range files {
		l.paths[tree.Digest(f.Digest)] = f.Path
	}
	l.root, err = treeOf(entries, epoch)
	return nil, err
}

// find returns what a path of a copy, or the literal path of a mount, selects.
func (l *localSource) find(p string, literal bool) ([]found, error) {
	if !literal || p == "." {
		return match(l.root, p)
	}
	f, err := follow(l.root, p)
	if err != nil || f.node == nil {
		return nil, err
	}
	return []found{f}, nil
}

// selectWanted finds the paths that the patterns select. Without digests the
// listing is tree enough to match patterns and follow links.
func (l *localSource) selectWanted(epoch int64) (selection, stage.Errors) {
	for _, w := range l.wanted {
		if w.pattern == "." {
			l.all = true
		}
	}
	simple := true
	for _, w := range l.wanted {
		simple = simple && w.pattern == "."
	}
	if simple {
		return selection{}, nil
	}
	skeleton, err := treeOf(l.entries, epoch)
	if err != nil {
		return selection{}, stage.Errors{{Err: err}}
	}
	selected := selection{}
	var errs stage.Errors
	for _, w := range l.wanted {
		matches, err := (&localSource{root: skeleton}).find(w.pattern, w.literal)
		if err == nil && len(matches) == 0 && !w.optional {
			err = l.missing(w.pattern, w.literal)
		}
		if err != nil {
			errs = append(errs, w.step.Fail(err, ""))
			continue
		}
		for _, m := range matches {
			selected[m.at] = true
		}
	}
	return selected, errs
}

// missing explains why a pattern found nothing.
func (l *localSource) missing(pattern string, literal bool) error {
	if !literal && isPattern(pattern) {
		return &MissingError{Path: pattern, Source: l.files.String(), Why: fmt.Sprintf("no file matches the pattern %q in %s", pattern, l.files)}
	}
	verdict, err := l.files.Why(pattern)
	if err != nil {
		return err
	}
	return &MissingError{Path: pattern, Source: l.files.String(), Why: verdict.String()}
}

// MissingError is a path that a copy or a mount names and that its source does
// not have.
type MissingError struct {
	Path   string // as the step names it
	Source string // where it was looked for
	Why    string // the whole story: the ignore rule that hides it, near names
}

// Error tells the path and why it was not found.
func (e *MissingError) Error() string { return e.Why }

// Is reports that a MissingError is a kind of fs.ErrNotExist.
func (e *MissingError) Is(target error) bool { return target == fs.ErrNotExist }

// selection is a set of paths; a path covers what is below it.
type selection map[string]bool

func (s selection) covers(p string) bool {
	for ; p != "." && p != ""; p = path.Dir(p) {
		if s[p] {
			return true
		}
	}
	return s[""]
}

// treeOf makes a tree of a listing: modes are 0755 for directories and for what
// its owner may execute, else 0644, everything belongs to 0:0 and has the epoch's
// time, so that neither umask nor the ids of this machine matter. Sockets are
// left out: nothing can be done with a copy of one.
func treeOf(entries []source.Entry, epoch int64) (*tree.Node, error) {
	e := tree.Edit(tree.NewDir(tree.Meta{Mode: 0o755, Mtime: epoch}))
	for i := range entries {
		f := &entries[i]
		meta := tree.Meta{Mode: 0o644, Mtime: epoch}
		if f.Mode.Perm()&0o100 != 0 || f.Mode.IsDir() {
			meta.Mode = 0o755
		}
		var n *tree.Node
		switch f.Mode.Type() {
		case 0:
			n = tree.NewFile(meta, tree.Digest(f.Digest), f.Size, f.Group)
		case fs.ModeDir:
			n = tree.NewDir(meta)
		case fs.ModeSymlink:
			meta.Mode = 0o777
			n = tree.NewSymlink(meta, f.Link)
		case fs.ModeNamedPipe:
			n = tree.NewFifo(meta)
		case fs.ModeDevice | fs.ModeCharDevice:
			n = tree.NewDevice(tree.CharDevice, meta, f.Major, f.Minor)
		case fs.ModeDevice:
			n = tree.NewDevice(tree.BlockDevice, meta, f.Major, f.Minor)
		default:
			continue
		}
		if err := e.Put(f.Path, n); err != nil {
			return nil, err
		}
	}
	return e.Tree(), nil
}
