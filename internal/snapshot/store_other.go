//go:build !linux

package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/stagewright/stagewright/internal/tree"
)

var errOS = fmt.Errorf("snapshot: steps that run processes need Linux and its overlayfs, this is %s: %w", runtime.GOOS, errors.ErrUnsupported)

// Store keeps layers as directories; it exists on Linux only.
type Store struct{}

// Upper is the directory that a step writes to; it exists on Linux only.
type Upper struct{ Dir, Work string }

// Open returns an error that wraps [errors.ErrUnsupported].
func Open(string, Options) (*Store, error) { return nil, errOS }

// Close does nothing.
func (*Store) Close() error { return nil }

// Layers calls nothing: elsewhere there are none.
func Layers(context.Context, string, func(Layer) error) error { return nil }

// Sweep does nothing: elsewhere there is nothing.
func Sweep(string) {}

// Use does nothing: elsewhere there are no layers.
func Use(context.Context, string, time.Time, []tree.Digest) {}

// Settle does nothing.
func Settle(string, tree.Digest, time.Time) {}

// Find returns an error: elsewhere there are no layers.
func Find(string, tree.Digest) (Layer, error) { return Layer{}, ErrNotFound }

// Remove returns 0: elsewhere there are no layers.
func Remove(context.Context, string, tree.Digest, time.Time) (int64, error) { return 0, nil }

// Scrub returns an error: elsewhere there are no layers.
func (*Store) Scrub(context.Context, tree.Digest, []tree.Change) (int64, error) {
	return 0, ErrNotFound
}

// Has is false.
func (*Store) Has(tree.Digest) bool { return false }

// Layer returns an error that wraps [errors.ErrUnsupported].
func (*Store) Layer(context.Context, tree.Digest, *tree.Node, []tree.Change, tree.Opener) (string, error) {
	return "", errOS
}

// Merged returns an error that wraps [errors.ErrUnsupported].
func (*Store) Merged(context.Context, tree.Digest, *tree.Node, tree.Opener) (string, error) {
	return "", errOS
}

// OpenFile returns an error that wraps [errors.ErrUnsupported].
func (*Store) OpenFile(tree.Digest, string) (*os.File, error) { return nil, errOS }

// Opener returns an opener that fails with an error that wraps [errors.ErrUnsupported].
func (*Store) Opener(tree.Digest, []tree.Change) tree.Opener { return failOpen }

// NewUpper returns an error that wraps [errors.ErrUnsupported].
func (*Store) NewUpper(context.Context, *tree.Node) (*Upper, error) { return nil, errOS }

// Scan returns an error that wraps [errors.ErrUnsupported].
func (*Upper) Scan(context.Context, *tree.Node, ScanOptions) ([]tree.Change, error) {
	return nil, errOS
}

// Adopt returns an error that wraps [errors.ErrUnsupported].
func (*Upper) Adopt(context.Context, tree.Digest, []tree.Change) (string, error) { return "", errOS }

// Discard does nothing.
func (*Upper) Discard() error { return nil }

func failOpen(tree.Digest) (io.ReadCloser, error) { return nil, errOS }
