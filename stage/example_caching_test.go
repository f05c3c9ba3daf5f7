package stage_test

import (
	"context"
	"fmt"
	"time"

	"github.com/stagewright/stagewright/stage"
)

// The package lists are fetched once a day, the licence report anew in each build, and the
// tools again when the text of their key changes.
func ExampleMaxAge() {
	s := stage.From("debian:13").
		Run("apt-get update", stage.MaxAge(24*time.Hour)).
		Run("report-licences > /licences", stage.NoCache()).
		Copy("tools", "/opt/tools/", stage.CacheKey("2026-11"))
	g, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range g.Steps()[1:] {
		fmt.Printf("%s: %+v\n", step.Text, step.CacheRule())
	}
	// Output:
	// RUN /bin/sh -c apt-get update: {NoCache:false MaxAge:24h0m0s Key:}
	// RUN /bin/sh -c report-licences > /licences: {NoCache:true MaxAge:0s Key:}
	// COPY tools /opt/tools/: {NoCache:false MaxAge:0s Key:2026-11}
}
