package stagewright

import "fmt"

// PullPolicy says when a registry is asked what an image is.
type PullPolicy string

const (
	// PullAlways asks in each build what a reference without a digest is now: a tag that
	// moved is seen. The layers that the cache has are not fetched again. It is the default.
	PullAlways PullPolicy = "always"
	// PullMissing asks only for what the cache does not know: a tag is what it was when it
	// was asked for first.
	PullMissing PullPolicy = "missing"
	// PullNever never asks; a reference that the cache does not know is an error.
	PullNever PullPolicy = "never"
)

func (p PullPolicy) check() error {
	switch p {
	case "", PullAlways, PullMissing, PullNever:
		return nil
	}
	return fmt.Errorf("stagewright: Options.Pull is %q; want %q, %q or %q", string(p), PullAlways, PullMissing, PullNever)
}
