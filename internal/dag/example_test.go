package dag_test

import (
	"context"
	"fmt"

	"github.com/stagewright/stagewright/internal/dag"
)

func ExampleScheduler_Do() {
	type (
		demand = dag.Demand[int, int]
		input  = dag.Input[int, int]
	)
	s := dag.New[int, int](0)
	var fibonacci func(n int) input
	fibonacci = func(n int) input {
		return input{Key: n, Task: func(ctx context.Context, d *demand) (int, error) {
			if n < 2 {
				return n, nil
			}
			v, err := d.All(ctx, fibonacci(n-1), fibonacci(n-2))
			if err != nil {
				return 0, err
			}
			return v[0] + v[1], nil
		}}
	}
	want := fibonacci(90) // each number is computed once
	fmt.Println(s.Do(context.Background(), want.Key, want.Task))
	// Output: 2880067194370816120 <nil>
}
