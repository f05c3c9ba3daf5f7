package main

import (
	"bytes"
	"testing"

	"github.com/stagewright/stagewright/stage/stagetest"
)

func TestRun(t *testing.T) {
	stagetest.NeedsSandbox(t)
	const want = `as it is:
  run  mkdir deps && for d …
  run  cat deps/* main.txt …
the code is edited:
  hit  mkdir deps && for d …
  run  cat deps/* main.txt …
a dependency is added:
  run  mkdir deps && for d …
  run  cat deps/* main.txt …
`
	var out bytes.Buffer
	if err := run(t.Context(), t.TempDir(), &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
