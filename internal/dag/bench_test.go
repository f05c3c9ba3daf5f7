package dag_test

import (
	"context"
	"testing"

	"github.com/stagewright/stagewright/internal/dag"
)

func BenchmarkChain(b *testing.B) {
	const depth = 1000
	var link func(n int) dag.Task[int, int]
	link = func(n int) dag.Task[int, int] {
		return func(ctx context.Context, d *dag.Demand[int, int]) (int, error) {
			if n == 0 {
				return 0, nil
			}
			return d.Get(ctx, n-1, link(n-1))
		}
	}
	for b.Loop() {
		if _, err := dag.New[int, int](0).Do(b.Context(), depth, link(depth)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/depth, "ns/task")
}
