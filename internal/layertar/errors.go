package layertar

import (
	"errors"
	"fmt"

	"github.com/stagewright/stagewright/internal/tree"
)

// Causes found in an [EntryError], for errors.Is.
var (
	ErrName        = errors.New("name cannot be in a layer")
	ErrRange       = errors.New("value out of range")
	ErrUnsupported = errors.New("not supported")
	ErrConflict    = errors.New("conflicts with another entry")
)

// An EntryError says which entry of a layer is refused and why.
type EntryError struct {
	Name string // as it is in the tar, or the path of the change
	Err  error
}

// Error says the entry and the cause.
func (e *EntryError) Error() string { return fmt.Sprintf("layer entry %.200q: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *EntryError) Unwrap() error { return e.Err }

// A LimitError says that a layer is larger than [Limits] allow.
type LimitError struct {
	What  string // "entries", "bytes of a file", ...
	Name  string // the entry at which it happened, "" when none
	Limit int64
}

// Error says what there is too much of, where, and the limit.
func (e *LimitError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("layer has more than %d %s", e.Limit, e.What)
	}
	return fmt.Sprintf("layer entry %.200q: more than %d %s", e.Name, e.Limit, e.What)
}

// A ContentError says that the bytes an Opener gave are not those of the file.
// Err is set when reading them failed, else size or digest differ.
type ContentError struct {
	Path              string
	Want, Got         tree.Digest // Got is zero when the size told already
	WantSize, GotSize int64       // GotSize is a lower bound when there were too many bytes
	Err               error
}

// Error says which file, and what was expected and found.
func (e *ContentError) Error() string {
	switch {
	case e.Err != nil:
		return fmt.Sprintf("content of /%s (%v): %v", e.Path, e.Want, e.Err)
	case e.WantSize != e.GotSize:
		return fmt.Sprintf("content of /%s (%v): read %d bytes, want %d", e.Path, e.Want, e.GotSize, e.WantSize)
	}
	return fmt.Sprintf("content of /%s: got %v, want %v", e.Path, e.Got, e.Want)
}

// Unwrap returns the failure to read, nil when the bytes differ.
func (e *ContentError) Unwrap() error { return e.Err }
