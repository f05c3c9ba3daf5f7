package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// DefaultIgnoreFile is read when DirOptions names no other.
const DefaultIgnoreFile = ".dockerignore"

// DirOptions say how [Dir] reads a directory. The zero value reads with the
// default ignore file, without a memo.
type DirOptions struct {
	// IgnoreFile holds the ignore rules: relative to the directory, where links
	// are followed as far as they stay inside, or absolute. "" means
	// [DefaultIgnoreFile], which need not exist; "-" means none.
	IgnoreFile string
	// Ignore are further patterns, in the syntax of the file and after its rules.
	Ignore []string
	// GitIgnore leaves out what git would, beside the other rules: .gitignore files at
	// any depth and .git/info/exclude count (gitignore(5)). The directory .git itself is
	// left out.
	GitIgnore bool
	// Memo remembers digests between Hash calls and processes, nil for none.
	Memo *Memo
	// Parallel bounds the goroutines of one List or Hash, and with them the open
	// descriptors, which are two more at most; 0 means GOMAXPROCS, never more
	// than 32.
	Parallel int
	// Xattrs asks List for extended attributes, less those that label the host
	// (security.selinux). Linux only.
	Xattrs bool
}

// withDefaults fills in what is zero. The bound of 32 keeps descriptors within
// "a few dozen" on any machine.
func (o DirOptions) withDefaults() DirOptions {
	if o.IgnoreFile == "" {
		o.IgnoreFile = DefaultIgnoreFile
	}
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	o.Parallel = min(o.Parallel, 32)
	return o
}

// Directory is a directory on disk, less what its ignore rules hide. It holds no
// descriptor between calls, unless it is asked to with Hold, and is safe for concurrent use.
type Directory struct {
	path   string
	o      DirOptions
	ignore *Ignore
	stats  counters
	listed atomic.Int64 // entries of the last listing
	open   func(string) (beneath, error)

	holding sync.RWMutex
	holds   int
	held    beneath // nil without a hold
}

// Stats count what a Directory did since it was made.
type Stats struct {
	Dirs   int64 // directories opened by List
	Stats  int64 // files looked at by List
	Opened int64 // files opened by Hash and Open
	Hashed int64 // files whose content Hash read to the end
	Known  int64 // files whose digest came from the memo
	Xattrs int64 // entries that List asked for their extended attributes
}

type counters struct{ dirs, stats, opened, hashed, known, xattrs atomic.Int64 }

// Dir returns the directory at path, which may be reached through links and is
// made absolute now. The ignore file is read now as well; the files are looked
// at by each call of List. Errors: [fs.ErrNotExist], ENOTDIR and
// [fs.ErrPermission] in a message that says what to do; *[IgnoreError];
// *[LimitError].
func Dir(path string, o DirOptions) (*Directory, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", quote(path), err)
	}
	d := &Directory{path: abs, o: o.withDefaults(), open: openBeneath}
	switch fi, err := os.Stat(abs); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: %w; name an existing directory (relative paths start at the working directory)", d, err)
	case err != nil:
		return nil, fmt.Errorf("%s cannot be used: %w", d, err)
	case !fi.IsDir():
		return nil, fmt.Errorf("%s is a %s: %w; name the directory that holds it", quote(abs), kind(fi.Mode()), syscall.ENOTDIR)
	}
	root, err := d.open(abs)
	if err == nil {
		err = root.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read: %w; make it readable for this user", d, err)
	}
	if d.ignore, err = d.readIgnore(); err != nil {
		return nil, err
	}
	return d, nil
}

// readIgnore reads the ignore file and the further patterns.
func (d *Directory) readIgnore() (*Ignore, error) {
	rules := &Ignore{}
	if name := d.o.IgnoreFile; name != "-" {
		f, err := d.openIgnore(name)
		if err != nil && !(errors.Is(err, fs.ErrNotExist) && name == DefaultIgnoreFile) {
			return nil, &IgnoreError{Rule: Rule{File: name}, Err: fmt.Errorf("cannot be read in %s: %w", d, err)}
		}
		if err == nil {
			defer f.Close()
			if rules, err = ParseIgnore(f, name); err != nil {
				return nil, err
			}
		}
	}
	for n, pattern := range d.o.Ignore {
		if strings.ContainsAny(pattern, "\r\n") {
			return nil, &IgnoreError{Rule: Rule{File: "DirOptions.Ignore", Line: n + 1, Pattern: pattern}, Err: errors.New("give each pattern on its own")}
		}
		if err := rules.add("DirOptions.Ignore", n+1, pattern); err != nil {
			return nil, err
		}
	}
	if len(rules.rules) == 0 {
		return nil, nil
	}
	return rules, nil
}

// openIgnore opens the ignore file without blocking on what is no file. A
// relative name stays inside the directory, links included.
func (d *Directory) openIgnore(name string) (*os.File, error) {
	const how = os.O_RDONLY | syscall.O_NONBLOCK
	var f *os.File
	var err error
	if filepath.IsAbs(name) {
		f, err = os.OpenFile(name, how, 0)
	} else {
		var root *os.Root
		if root, err = os.OpenRoot(d.path); err != nil {
			return nil, err
		}
		defer root.Close()
		f, err = root.OpenFile(name, how, 0)
	}
	if err != nil {
		return nil, err
	}
	if fi, err := f.Stat(); err != nil || !fi.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(ErrNotRegular, err)
	}
	return f, nil
}

// Path is the absolute path of the directory.
func (d *Directory) Path() string { return d.path }

// String names the directory for a message.
func (d *Directory) String() string { return "directory " + quote(d.path) }

// Stats returns the counters.
func (d *Directory) Stats() Stats {
	c := &d.stats
	return Stats{Dirs: c.dirs.Load(), Stats: c.stats.Load(), Opened: c.opened.Load(), Hashed: c.hashed.Load(), Known: c.known.Load(), Xattrs: c.xattrs.Load()}
}

// List implements [Files]. Its cost is one stat a file; ignored directories are
// not entered unless a later "!" pattern could match below them.
func (d *Directory) List(ctx context.Context) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	root, err := d.open(d.path)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be listed: %w", d, err)
	}
	defer root.Close()
	w := &walker{root: root, ignore: d.ignore, git: d.o.GitIgnore, xattrs: d.o.Xattrs, memo: d.o.Memo.root(d.path).known(), name: d.String(), stats: &d.stats}
	entries, err := w.walk(ctx, d.o.Parallel)
	if err == nil {
		d.listed.Store(int64(len(entries)))
	}
	return entries, err
}

// Hold keeps the directory open until release is called, for who reads many of the files that it has listed: Open then takes half the system calls. Open
// finds what is below the directory that was held, whatever stands at its path meanwhile. A hold is one descriptor, however many there are.
// Release may be called once. Errors: as of List, for a directory that cannot be opened.
func (d *Directory) Hold() (release func() error, err error) {
	d.holding.Lock()
	defer d.holding.Unlock()
	if d.holds == 0 {
		if d.held, err = d.open(d.path); err != nil {
			d.held = nil
			return nil, fmt.Errorf("%s cannot be read: %w", d, err)
		}
	}
	d.holds++
	return func() error {
		d.holding.Lock()
		defer d.holding.Unlock()
		if d.holds--; d.holds > 0 {
			return nil
		}
		root := d.held
		d.held = nil
		return root.Close()
	}, nil
}

// openHeld opens a file by the directory that is held; without one, neither a file nor an error is returned. What is no regular file is opened
// without effect and refused, as by Hash: who holds asks for what was one in the listing.
func (d *Directory) openHeld(p string) (fileHandle, error) {
	d.holding.RLock()
	defer d.holding.RUnlock()
	if d.held == nil {
		return nil, nil
	}
	var e Entry
	return d.openFile(d.held, p, &e)
}

// Open implements [Files].
func (d *Directory) Open(path string) (io.ReadCloser, error) {
	p, err := cleanPath(path)
	if err != nil {
		return nil, fmt.Errorf("open in %s: %w", d, err)
	}
	if f, err := d.openHeld(p); f != nil || err != nil {
		if err != nil {
			return nil, err
		}
		return f, nil
	}
	root, err := d.open(d.path)
	if err != nil {
		return nil, fmt.Errorf("open %s in %s: %w", quote(p), d, err)
	}
	defer root.Close()
	// A pipe or a device is not even opened: that can have effects of its own.
	var e Entry
	if err := root.lstat(p, &e); err == nil && !e.Mode.IsRegular() {
		return nil, fmt.Errorf("open %s in %s: %w but a %s", quote(p), d, ErrNotRegular, kind(e.Mode))
	}
	f, err := d.openFile(root, p, &e)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// openFile opens the regular file at p and fills e with its stat.
func (d *Directory) openFile(root beneath, p string, e *Entry) (fileHandle, error) {
	f, err := root.openFile(p)
	if err == nil {
		d.stats.opened.Add(1)
		if err = f.stat(e); err == nil && e.Mode.IsRegular() {
			return f, nil
		}
		f.Close()
		if err == nil {
			err = fmt.Errorf("%w but a %s", ErrNotRegular, kind(e.Mode))
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		denied := &AccessError{Source: d.String(), Path: p, Err: err}
		if root.lstat(p, e) == nil {
			denied.Known, denied.Mode, denied.UID, denied.GID = true, e.Mode, e.UID, e.GID
		}
		return nil, denied
	}
	if isReplaced(err) && !errors.Is(err, ErrNotRegular) {
		err = fmt.Errorf("%w: %w", ErrNotRegular, err)
	}
	return nil, fmt.Errorf("open %s in %s: %w", quote(p), d, err)
}

// kind names the type of a file for a message.
func kind(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "directory"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	}
	return "special file"
}
