package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stagewright/stagewright/image/layout"
	"github.com/stagewright/stagewright/stage/stagetest"
)

func TestRun(t *testing.T) {
	stagetest.NeedsSandbox(t)
	// The two steps of the builder run for the first service, and for no other.
	const want = `orders: 6 steps run; it says: orders 1.0 is up
users: 2 steps run; it says: users 1.0 is up
mail: 2 steps run; it says: mail 1.0 is up
`
	dir := filepath.Join(t.TempDir(), "oci")
	var out bytes.Buffer
	if err := run(t.Context(), t.TempDir(), dir, &out); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for _, name := range []string{"orders", "users", "mail"} {
		if _, err := layout.Read(dir, name); err != nil {
			t.Error(err)
		}
	}
}
