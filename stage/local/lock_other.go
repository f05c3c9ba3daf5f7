//go:build !unix

package local

import (
	"context"
	"errors"
)

// lockFile is only reached by Run steps, which need Linux.
func lockFile(context.Context, string, lockMode) (func(), error) {
	return nil, errors.ErrUnsupported
}
