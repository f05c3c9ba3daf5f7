package interop

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// table is the summary: which program read which medium, and what of it was compared.
type table struct {
	mu   sync.Mutex
	rows []row
}

type row struct{ medium, program, image, compared string }

// compared notes that everything up to here was the same. It does nothing in a test that failed.
func compared(t testing.TB, medium, program, image string, what ...string) {
	t.Helper()
	if t.Failed() {
		return
	}
	shared.rows.mu.Lock()
	defer shared.rows.mu.Unlock()
	shared.rows.rows = append(shared.rows.rows, row{medium, program, image, strings.Join(what, ", ")})
}

func (t *table) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows := append([]row{{"medium", "read by", "image", "the same"}}, t.rows...)
	columns := func(r row) []string { return []string{r.medium, r.program, r.image, r.compared} }
	width := make([]int, 4)
	for _, r := range rows {
		for i, c := range columns(r) {
			width[i] = max(width[i], len([]rune(c)))
		}
	}
	slices.SortFunc(rows[1:], func(a, b row) int { return slices.Compare(columns(a), columns(b)) })
	var text strings.Builder
	for _, r := range rows {
		line := ""
		for i, c := range columns(r) {
			line += fmt.Sprintf("%-*s  ", width[i], c)
		}
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return text.String()
}
