//go:build !unix

package source

import "context"

// lockFile does nothing where there is no flock: two builds must not fetch from the same
// remote at the same time there.
func lockFile(context.Context, string) (unlock func(), err error) { return func() {}, nil }
