//go:build !unix

package local

import (
	"context"
	"errors"
)

var errLocked = errors.New("locked")

// lockFile is only reached by Run steps, which need Linux.
func lockFile(context.Context, string, bool) (func(), error) {
	return nil, errors.ErrUnsupported
}
