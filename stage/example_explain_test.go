package stage_test

import (
	"context"
	"fmt"

	"github.com/stagewright/stagewright/stage"
)

// forgetful is an executor whose cache knows one thing about each step.
type forgetful struct{ stage.Executor }

func (forgetful) Explain(_ context.Context, g *stage.Graph, _ stage.Request) ([]stage.Explanation, error) {
	var list []stage.Explanation
	for _, s := range g.Steps()[1:] {
		list = append(list, stage.Explanation{Step: s, Status: stage.Ran, Cause: stage.CauseChanged, Differences: []stage.Difference{
			{Kind: stage.Changed, What: "file", Name: "web/app.js", Aspect: "content"},
		}})
	}
	return list, nil
}

func ExampleExplain() {
	ctx := context.Background()
	g, err := stage.Compile(ctx, []stage.Stage{stage.Scratch(stage.As("web")).Copy("web", "/www/")}, stage.Options{})
	if err != nil {
		panic(err)
	}
	list, err := stage.Explain(ctx, forgetful{}, g, stage.Request{})
	if err != nil {
		panic(err)
	}
	for _, e := range list {
		if e.Status != stage.Hit {
			fmt.Printf("%s: %s: %s\n", e.Step.Stage, e.Step.Text, e)
		}
	}
	// Output:
	// web: COPY web /www/: web/app.js: content
}
