package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"

	"github.com/stagewright/stagewright/internal/filemode"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/source"
)

// sources are the local sources of a graph: the context, directories of this
// machine and file systems, listed once each, with digests of what is used.
type sources struct {
	copies []*localSource // of each step: what it copies from
	mounts map[slot]*localSource
	opened map[string]source.Files // by what they are, each once
	origin *source.GitFiles        // the context, when it is a git repository that some step uses
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
	keep    keeping
	entries []source.Entry
	root    *tree.Node
	paths   func() map[tree.Digest]string // where the bytes of a digest are: only for who reads bytes
	wanted  []wanted
	all     bool // somebody wants everything

	picksMu sync.Mutex
	picks   map[pickKey]picked // in root
}

// of returns the local source of one use, nil when it is none.
func (src *sources) of(at slot) *localSource {
	if at.mount < 0 {
		return src.copies[at.step]
	}
	return src.mounts[at]
}

// pickKey names what is picked in one tree by a path, unless patterns leave something out.
type pickKey struct {
	choice
	pattern string
}

// picked is what [picker.pick] returns.
type picked struct {
	list  []found
	there bool
}

// pick is [picker.pick] in the files of the source, once for each path: many steps copy the same. The list is not to be changed.
func (l *localSource) pick(p picker, pattern string) ([]found, bool, error) {
	if len(p.exclude) > 0 {
		return p.pick(l.root, pattern)
	}
	l.picksMu.Lock()
	defer l.picksMu.Unlock()
	key := pickKey{p.choice, pattern}
	if known, ok := l.picks[key]; ok {
		return known.list, known.there, nil
	}
	list, there, err := p.pick(l.root, pattern)
	if err == nil {
		if l.picks == nil {
			l.picks = map[pickKey]picked{}
		}
		l.picks[key] = picked{list, there}
	}
	return list, there, err
}

// wanted is what one use needs of a source.
type wanted struct {
	step    *stage.Step
	pattern string
	picker
}

// openSources lists every local source, checks that each path that a step names
// is there, and takes the digests of what is used. All mistakes are reported
// together, before anything runs.
func (s *session) openSources(ctx context.Context) (src *sources, err error) {
	src = &sources{copies: make([]*localSource, len(s.steps)), mounts: map[slot]*localSource{}, opened: map[string]source.Files{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, src.close())
		}
	}()
	var order []*localSource
	byName := map[string]*localSource{}
	contexts := map[contextForm]*localSource{}
	var errs stage.Errors
	for use := range s.sourceUses() {
		l := contexts[use.contextForm()]
		if !use.context || l == nil {
			keep := keptOf(use.from, use.context, use.raw)
			name, files, err := s.openSource(src, use, keep)
			if err != nil {
				errs = append(errs, use.step.Fail(err, ""))
				continue
			}
			if git, ok := files.(*source.GitFiles); ok && use.context {
				src.origin = git
			}
			name = fmt.Sprint(name, keep)
			if l = byName[name]; l == nil {
				l = &localSource{files: files, keep: keep}
				byName[name] = l
				order = append(order, l)
			}
			if use.context {
				contexts[use.contextForm()] = l
			}
		}
		if use.mount < 0 {
			src.copies[use.slot.step] = l
		} else {
			src.mounts[use.slot] = l
		}
		for _, p := range use.patterns {
			l.wanted = append(l.wanted, wanted{use.step, p, use.picker})
		}
	}
	found, err := readAll(ctx, order, s.opts.Epoch.UnixNano())
	if errs = append(errs, found...); err == nil && len(errs) > 0 {
		err = errs
	}
	return src, err
}

// maxReading bounds how many sources are read at once: a download often waits.
const maxReading = 8

// readAll reads sources side by side. Mistakes come in the order of the sources.
func readAll(ctx context.Context, order []*localSource, epoch int64) (stage.Errors, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	mistakes := make([]stage.Errors, len(order))
	slots := make(chan struct{}, maxReading)
	var wg sync.WaitGroup
	var first sync.Once
	var failure error
	for i, l := range order {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			var err error
			if mistakes[i], err = l.read(ctx, epoch); err != nil {
				first.Do(func() { failure = l.wanted[0].step.Fail(err, "") })
				cancel(err)
			}
		})
	}
	wg.Wait()
	return slices.Concat(mistakes...), failure
}

// close gives back what the sources keep on disk.
func (src *sources) close() error {
	var errs []error
	for _, files := range src.opened {
		if c, ok := files.(io.Closer); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
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
	l.paths = sync.OnceValue(func() map[tree.Digest]string {
		paths := make(map[tree.Digest]string, len(files))
		for _, f := range files {
			paths[tree.Digest(f.Digest)] = f.Path
		}
		return paths
	})
	l.root, err = treeOf(entries, epoch, l.keep)
	return nil, err
}

// selectWanted finds the paths that the patterns select. Without digests the
// listing is tree enough to match patterns and follow links.
func (l *localSource) selectWanted(epoch int64) (selection, stage.Errors) {
	simple := true
	for _, w := range l.wanted {
		whole := w.pattern == "." && len(w.exclude) == 0 && !w.parents
		l.all = l.all || whole
		simple = simple && whole
	}
	if simple {
		return selection{}, nil
	}
	skeleton, err := treeOf(l.entries, epoch, l.keep)
	if err != nil {
		return selection{}, stage.Errors{{Err: err}}
	}
	selected := selection{}
	var errs stage.Errors
	done := map[pickKey]bool{} // found and selected
	for _, w := range l.wanted {
		key := pickKey{w.choice, w.pattern}
		if len(w.exclude) == 0 && done[key] {
			continue
		}
		matches, there, err := w.pick(skeleton, w.pattern)
		if err == nil && !there && w.required(w.pattern) {
			err = l.missing(w.pattern, w.literal)
		}
		if err != nil {
			errs = append(errs, fail(w.step, err))
			continue
		}
		for _, m := range matches {
			selected.add(m, len(w.exclude) > 0 || w.parents)
		}
		done[key] = done[key] || len(w.exclude) == 0
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

// add adds what was found: one by one when it is not all that is there.
func (s selection) add(f found, part bool) {
	if !part || !f.node.IsDir() {
		s[f.at] = true
		return
	}
	for p, n := range tree.Walk(f.node) {
		if n.Kind() == tree.File {
			s[tree.Join(f.at, p)] = true
		}
	}
}

func (s selection) covers(p string) bool {
	for ; p != "." && p != ""; p = path.Dir(p) {
		if s[p] {
			return true
		}
	}
	return s[""]
}

// treeOf makes a tree of a listing, in which everything has the epoch's time. Unless
// more is to be kept, modes are 0755 for directories and for what its owner may
// execute, else 0644, everything belongs to 0:0 and has no extended attributes, so that neither umask nor the ids
// of this machine matter. Sockets are left out, since nothing can be done with a copy of
// one, or with modes kept are empty files, which is what Docker makes of them.
func treeOf(entries []source.Entry, epoch int64, keep keeping) (*tree.Node, error) {
	e := tree.Edit(tree.NewDir(tree.Meta{Mode: 0o755, Mtime: epoch}))
	for i := range entries {
		f := &entries[i]
		meta := metaOf(f, epoch, keep)
		var n *tree.Node
		switch f.Mode.Type() {
		case 0:
			n = tree.NewFile(meta, tree.Digest(f.Digest), f.Size, f.Group)
		case fs.ModeDir:
			n = tree.NewDir(meta)
		case fs.ModeSymlink:
			n = tree.NewSymlink(meta, f.Link)
		case fs.ModeNamedPipe:
			n = tree.NewFifo(meta)
		case fs.ModeDevice | fs.ModeCharDevice:
			n = tree.NewDevice(tree.CharDevice, meta, f.Major, f.Minor)
		case fs.ModeDevice:
			n = tree.NewDevice(tree.BlockDevice, meta, f.Major, f.Minor)
		case fs.ModeSocket:
			if !keep.modes {
				continue
			}
			n = tree.NewFile(meta, emptyContent, 0, 0)
		default:
			continue
		}
		if err := e.Put(f.Path, n); err != nil {
			return nil, err
		}
	}
	return e.Tree(), nil
}

func metaOf(f *source.Entry, epoch int64, keep keeping) tree.Meta {
	meta := tree.Meta{Mode: 0o644, Mtime: epoch}
	if f.Mode.Perm()&0o100 != 0 || f.Mode.IsDir() {
		meta.Mode = 0o755
	}
	if keep.owners {
		meta.UID, meta.GID = f.UID, f.GID
	}
	if !keep.modes {
		return meta
	}
	meta.Mode = filemode.Bits(f.Mode)
	for _, x := range f.Xattrs {
		meta.Xattrs = append(meta.Xattrs, tree.Xattr{Name: x.Name, Value: x.Value})
	}
	return meta
}
