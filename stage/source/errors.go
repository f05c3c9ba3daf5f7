package source

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/stagewright/stagewright/internal/offline"
)

// ErrNotRegular reports that a path to be opened is not a regular file, or that
// a symbolic link stands somewhere on the way to it.
var ErrNotRegular = errors.New("not a regular file")

// ErrOffline says that something is not in the cache and nobody may be asked for it.
var ErrOffline = offline.Err

func offlineError(files fmt.Stringer) error {
	return fmt.Errorf("%s is not in the cache, and %w; build once with the network and the same cache", files, ErrOffline)
}

// ChangedError reports a file that changed or went away while it was listed or
// read, so that no listing or digest of it would have been true.
type ChangedError struct {
	Source string // the String of the Files
	Path   string // relative to the root
	Err    error  // what was seen, may be nil
}

func (e *ChangedError) Error() string {
	msg := fmt.Sprintf("%s in %s changed while it was read; build again when nothing writes to it, or ignore it", quote(e.Path), e.Source)
	if e.Err != nil {
		msg += fmt.Sprintf(" (%v)", e.Err)
	}
	return msg
}

func (e *ChangedError) Unwrap() error { return e.Err }

// AccessError reports a file or directory that this user may not read.
type AccessError struct {
	Source   string      // the String of the Files
	Path     string      // relative to the root, "" for the root
	Known    bool        // Mode, UID and GID are known
	Mode     fs.FileMode // its type and permissions
	UID, GID uint32      // its owner
	Err      error       // wraps fs.ErrPermission
}

func (e *AccessError) Error() string {
	what, path := "file", e.Path
	if e.Mode.IsDir() {
		what = "directory"
	}
	if path == "" {
		path = "."
	}
	owner := ""
	if e.Known {
		owner = fmt.Sprintf(" (mode %s, owner %d:%d)", e.Mode, e.UID, e.GID)
	}
	return fmt.Sprintf("cannot read %s %s in %s%s: %v; make it readable, or add it to the ignore file when the build does not need it",
		what, quote(path), e.Source, owner, e.Err)
}

func (e *AccessError) Unwrap() error { return e.Err }

// LimitError reports input beyond what this package accepts.
type LimitError struct {
	Source string // what was read
	What   string // what is too large: "path length", "entries", "patterns", ...
	Limit  int64
	Path   string // where, may be empty
}

func (e *LimitError) Error() string {
	msg := fmt.Sprintf("%s: %s is beyond the limit of %d", e.Source, e.What, e.Limit)
	if e.Path != "" {
		msg += " at " + quote(e.Path)
	}
	return msg
}

// IgnoreError reports an ignore file, or one pattern of it, that is wrong.
type IgnoreError struct {
	Rule Rule // Line 0 when the file as a whole is meant
	Err  error
}

func (e *IgnoreError) Error() string {
	if e.Rule.Line == 0 {
		return fmt.Sprintf("%s: %v", e.Rule.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: bad ignore pattern %q: %v", e.Rule.File, e.Rule.Line, shorten(e.Rule.Pattern), e.Err)
}

func (e *IgnoreError) Unwrap() error { return e.Err }

// quote gives a name as it is when it is plain and in Go quotes when it holds
// anything that a terminal would not show as written.
func quote(name string) string {
	for _, r := range name {
		if r <= ' ' || r == 0x7f || r == '"' || r == '\\' || r == 0xfffd || (r >= 0x80 && r < 0xa0) {
			return fmt.Sprintf("%q", shorten(name))
		}
	}
	return shorten(name)
}

// shorten cuts what an attacker could make fill the screen.
func shorten(s string) string {
	const most = 512
	if len(s) <= most {
		return s
	}
	return s[:most/2] + "..." + s[len(s)-most/2:]
}
