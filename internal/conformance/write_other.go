//go:build !linux

package conformance

import (
	"errors"
	"fmt"
)

// WriteDirs needs Linux for the kinds of files and the modes that cases have. The error wraps errors.ErrUnsupported.
func (c *Case) WriteDirs(string) error {
	return fmt.Errorf("%s: write the files of a case: %w", c.Name, errors.ErrUnsupported)
}
