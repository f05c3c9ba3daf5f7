package stage

import "github.com/stagewright/stagewright/arg"

// nearest returns the name closest to want, or "" when none is close enough to
// be what was meant.
func nearest(want string, names []string) string {
	if near := arg.Near(want, names); len(near) > 0 {
		return near[0]
	}
	return ""
}
