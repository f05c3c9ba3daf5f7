package stage

import (
	"fmt"

	"github.com/stagewright/stagewright/internal/absent"
)

// leaveAway is the advice for an option that is nil.
const leaveAway = "leave it away; options that depend on something belong in a slice"

// checkOptions finds an option that is nil, or one that was made of such a one.
func checkOptions[T any](opts []T) error {
	if i := absent.Index(opts); i >= 0 {
		return fmt.Errorf("option %d of %d is nil", i+1, len(opts))
	}
	for _, o := range opts {
		if bad, ok := any(o).(badOption); ok {
			return bad.err
		}
	}
	return nil
}

// badOption keeps a mistake that was made while an option was made.
type badOption struct{ err error }

// ApplyRun does nothing: a step with the option is a mistake.
func (badOption) ApplyRun(*RunOp) {}
