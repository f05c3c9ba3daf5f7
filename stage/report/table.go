package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/stage"
)

// Table writes the steps of a finished build to w: a line for each, those that
// took longest first, then the totals. Steps that took the same time are in the
// order of the graph. Texts are escaped as in [Plain], not cut.
func Table(w io.Writer, r stage.Report) error {
	steps := slices.Clone(r.Steps)
	slices.SortStableFunc(steps, func(a, b stage.StepReport) int { return cmp.Compare(b.Duration, a.Duration) })
	var b strings.Builder
	t := totals{duration: r.Duration}
	fmt.Fprintf(&b, "%-8s %8s %7s %9s  %s\n", "STATUS", "TIME", "FILES", "BYTES", "STEP")
	for _, s := range steps {
		t.count(s.Status)
		fmt.Fprintf(&b, "%-8s %8s %7d %9s  #%d [%s] %s\n",
			s.Status, formatDuration(s.Duration), s.Files, formatBytes(s.Bytes), s.Step, escape(s.Stage), escape(s.Text))
	}
	fmt.Fprintln(&b, t)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
