package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/stagewright/stagewright/internal/tree"
)

// walker lists one directory tree with a few goroutines, each holding at most
// one directory open.
type walker struct {
	root   beneath
	ignore *Ignore
	git    bool // .gitignore files count
	xattrs bool
	memo   map[string]memoGroup // what is known, by directory
	name   string               // for errors
	stats  *counters

	entries atomic.Int64

	mu      sync.Mutex
	wake    sync.Cond
	queue   []*dirNode // a stack: depth first keeps it short
	pending int        // directories queued or being read
	err     error
}

// dirNode is one directory of the walk and what was found in it.
type dirNode struct {
	path    string
	self    Entry      // of the directory itself, zero for the root
	rules   matched    // of this directory
	git     *gitLevel  // of the directories above, then of this one too
	hidden  bool       // listed only when something below it is
	entries []Entry    // sorted by name
	dirs    []*dirNode // one for each directory among entries, in their order
}

// walk returns the listing below root.
func (w *walker) walk(ctx context.Context, parallel int) ([]Entry, error) {
	w.wake.L = &w.mu
	top := &dirNode{}
	if err := w.root.lstat("", &top.self); err != nil {
		return nil, w.explain("", &top.self, err)
	}
	w.queue, w.pending = []*dirNode{top}, 1
	stop := context.AfterFunc(ctx, func() { w.fail(context.Cause(ctx)) })
	defer stop()
	var wg sync.WaitGroup
	for range parallel {
		wg.Go(w.work)
	}
	wg.Wait()
	if w.err != nil {
		return nil, w.err
	}
	out := make([]Entry, 0, w.entries.Load())
	out = flatten(top, out)
	number(out)
	return out, nil
}

// fail keeps the first error and wakes everybody up to stop.
func (w *walker) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
	w.wake.Broadcast()
}

// work reads directories until none is left.
func (w *walker) work() {
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && w.pending > 0 && w.err == nil {
			w.wake.Wait()
		}
		if w.pending == 0 || w.err != nil {
			w.mu.Unlock()
			return
		}
		d := w.queue[len(w.queue)-1]
		w.queue = w.queue[:len(w.queue)-1]
		w.mu.Unlock()

		if err := w.read(d); err != nil {
			w.fail(err)
			return
		}

		w.mu.Lock()
		w.queue = append(w.queue, d.dirs...)
		w.pending += len(d.dirs) - 1
		if w.pending == 0 || len(d.dirs) > 1 {
			w.wake.Broadcast() // this goroutine takes one of them itself
		}
		w.mu.Unlock()
	}
}

// stopped reports whether another goroutine failed or the context ended.
func (w *walker) stopped() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// read lists one directory. A name that goes away between the reading of the
// directory and its stat is no reason to fail when a second look finds peace:
// editors and version control make short-lived files all the time.
func (w *walker) read(d *dirNode) error {
	const looks = 3
	h, err := w.root.openDir(d.path)
	if err != nil {
		return w.explain(d.path, &d.self, err)
	}
	defer h.Close()
	w.stats.dirs.Add(1)
	if w.git {
		if d.git, err = gitLevelOf(w.root, d.path, d.git); err != nil {
			return w.explain(tree.Join(d.path, gitIgnoreFile), &Entry{}, err)
		}
	}
	var gone string
	for range looks {
		if gone, err = w.readOnce(h, d); err != nil || gone == "" {
			return err
		}
	}
	return &ChangedError{Source: w.name, Path: gone, Err: fs.ErrNotExist}
}

// readOnce fills d from h. It returns the path that vanished meanwhile, if one did.
func (w *walker) readOnce(h dirHandle, d *dirNode) (gone string, err error) {
	names, err := h.names()
	if err != nil {
		return "", w.explain(d.path, &d.self, err)
	}
	slices.Sort(names)
	if w.entries.Load()+int64(len(names)) > maxEntries {
		return "", &LimitError{Source: w.name, What: "number of files", Limit: maxEntries, Path: d.path}
	}
	prefix := d.path
	if prefix != "" {
		prefix += "/"
	}
	d.entries, d.dirs = make([]Entry, 0, len(names)), nil
	v := view{walker: w, dir: h, known: memoReader{rest: w.memo[d.path].records}, clock: w.root.clock()}
	for n, name := range names {
		if n&0x3ff == 0x3ff {
			if err := w.stopped(); err != nil {
				return "", err
			}
		}
		path := prefix + name
		if len(path) > maxPath {
			return "", &LimitError{Source: w.name, What: "path length in bytes", Limit: maxPath, Path: path}
		}
		ignored, by, _ := w.ignore.match(path, d.rules, false)
		if ignored && !w.ignore.reincludesBelow(path, by) {
			continue
		}
		d.entries = append(d.entries, Entry{Path: path})
		e := &d.entries[len(d.entries)-1]
		if err := v.look(name, e, w.xattrs && !ignored); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if errors.Is(err, fs.ErrPermission) {
			return "", w.explain(d.path, &d.self, err) // it is the directory that may not be searched
		} else if err != nil {
			return "", w.explain(path, e, err)
		}
		w.stats.stats.Add(1)
		if (ignored && !e.Mode.IsDir()) || (w.git && d.gitIgnores(name, e)) {
			d.entries = d.entries[:len(d.entries)-1]
			continue
		}
		if e.Mode.IsDir() {
			w.enter(d, e, ignored)
		}
	}
	w.entries.Add(int64(len(d.entries)))
	return "", nil
}

// view is one look at a directory, whose names come in order.
type view struct {
	*walker
	dir   dirHandle
	known memoReader
	clock int64 // when it began
}

// look fills e. Extended attributes of a file that a memo knows to have none are not asked for.
func (v *view) look(name string, e *Entry, xattrs bool) error {
	if err := v.dir.stat(name, e); err != nil {
		return err
	}
	regular := e.Mode.IsRegular() && e.id.known
	known := regular && v.known.find(name) && v.known.sign == signatureOf(e)
	if known {
		e.id.memo = v.known.digest
	}
	if !xattrs {
		return nil
	}
	stamped := regular && v.root.stampsXattrs(e.id.dev)
	if known && stamped && v.known.flags&flagBare != 0 {
		e.id.bare = true
		return nil
	}
	v.stats.xattrs.Add(1)
	if err := v.dir.xattrs(name, e); err != nil {
		return err
	}
	e.id.bare = stamped && len(e.Xattrs) == 0 && e.id.ctime+int64(margin(v.root, e)) <= v.clock
	e.id.learned = known && e.id.bare
	return nil
}

// gitIgnores reports whether git leaves a name out. What is below it is then left out
// too, whatever later rules say.
func (d *dirNode) gitIgnores(name string, e *Entry) bool {
	if name == gitDirectory {
		return true
	}
	ignored, _ := d.git.match(e.Path, e.Mode.IsDir())
	return ignored
}

// enter adds the directory e, the last entry of d, to those to be read.
func (w *walker) enter(d *dirNode, e *Entry, ignored bool) {
	child := &dirNode{path: e.Path, self: *e, hidden: ignored, git: d.git}
	if w.ignore != nil {
		_, _, child.rules = w.ignore.match(e.Path, d.rules, true)
	}
	d.dirs = append(d.dirs, child)
}

// explain makes the error of the path being listed one that says what to do.
func (w *walker) explain(path string, e *Entry, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &AccessError{Source: w.name, Path: path, Known: e.Mode.IsDir(), Mode: e.Mode, UID: e.UID, GID: e.GID, Err: err}
	case path != "" && (errors.Is(err, fs.ErrNotExist) || isReplaced(err)):
		return &ChangedError{Source: w.name, Path: path, Err: err}
	}
	return fmt.Errorf("list %s in %s: %w", quote(path), w.name, err)
}

// flatten appends what d holds to out, depth first. A hidden directory shows
// when something below it does.
func flatten(d *dirNode, out []Entry) []Entry {
	next := 0
	for n := range d.entries {
		e := &d.entries[n]
		at := len(out)
		out = append(out, *e)
		if !e.Mode.IsDir() {
			continue
		}
		child := d.dirs[next]
		next++
		out = flatten(child, out)
		if child.hidden && len(out) == at+1 {
			out = out[:at]
		}
	}
	return out
}

// number gives the names of one inode that are in the listing a common group.
func number(entries []Entry) {
	type inode struct{ dev, inode uint64 }
	var first map[inode]int
	group := uint64(0)
	for n := range entries {
		e := &entries[n]
		if !e.id.links || e.Mode.IsDir() {
			continue
		}
		if first == nil {
			first = make(map[inode]int)
		}
		key := inode{e.id.dev, e.id.inode}
		f, seen := first[key]
		if !seen {
			first[key] = n
			continue
		}
		if entries[f].Group == 0 {
			group++
			entries[f].Group = group
		}
		e.Group = entries[f].Group
	}
}

// comparePaths orders paths as a listing does: a slash is below every other byte.
func comparePaths[A, B string | []byte](a A, b B) int {
	for n := range min(len(a), len(b)) {
		x, y := a[n], b[n]
		if x == y {
			continue
		}
		if x == '/' || (y != '/' && x < y) {
			return -1
		}
		return 1
	}
	return len(a) - len(b)
}

// cleanPath checks a path that a caller gives: relative, slash separated, below
// the root.
func cleanPath(p string) (string, error) {
	if !cleanRelative(p) {
		return "", fmt.Errorf("%w: %s is not a clean relative path", fs.ErrInvalid, quote(p))
	}
	return p, nil
}

// cleanRelative is fs.ValidPath without the demand for UTF-8.
func cleanRelative(p string) bool {
	if p == "" || p == "." || len(p) > maxPath || strings.IndexByte(p, 0) >= 0 {
		return false
	}
	for part := range strings.SplitSeq(p, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}
