package image

import (
	"context"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Blob is content that is sent to a place when it is not there: what image/registry's Repository and image/layout's Directory take beside
// manifests.
type Blob struct {
	Digest v1.Hash
	Size   int64 // in bytes

	// Open gives the bytes, from the beginning each time. Whoever takes the blob verifies them, and calls it only for what is missing.
	Open func(ctx context.Context) (io.ReadCloser, error)
}
