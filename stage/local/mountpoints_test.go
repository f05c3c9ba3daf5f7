package local_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// What a step gets its mounts on is in no layer, wherever the image has it or hides it,
// and what the step puts beside it is.
func TestMountPoints(t *testing.T) {
	base := shell(t)
	secret := stage.Request{Secrets: map[string]stage.Secret{
		"s": func(context.Context) ([]byte, error) { return []byte("hush"), nil },
	}}
	e := executor(t, t.TempDir(), local.Options{})
	for _, test := range []struct {
		name string
		s    stage.Stage
		want []string // below /x
	}{
		{"nothing beside", base.Run("cat /x/y/s > /dev/null", stage.SecretMount("s", stage.At("/x/y/s"))), nil},
		{"beside", base.Run("echo > /x/mine", stage.SecretMount("s", stage.At("/x/y/s"))), []string{"x", "x/mine"}},
		{"in a directory of the image", base.File("/x/old", "").Run("mkdir /x/new; cp /t/../x/y/s /t", stage.SecretMount("s", stage.At("/x/y/s")), stage.TmpfsMount("/t", 1<<20)),
			[]string{"x", "x/new", "x/old"}},
		{"behind a link", base.Mkdir("/real").Symlink("real", "/x").Run("echo > /x/mine; cat /real/y/s", stage.SecretMount("s", stage.At("/x/y/s"))), []string{"x"}},
		{"removed before", base.File("/x/y/s", "old").Run("rm -rf /x/y").Run("cat /x/y/s", stage.SecretMount("s", stage.At("/x/y/s"))), []string{"x"}},
		{"one mount in another", base.Run("echo > /x/y/f; cat /x/y/s", stage.TmpfsMount("/x", 1<<20), stage.SecretMount("s", stage.At("/x/y/s"))), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := names(t, build(t, e, test.s, secret), "x"); !slices.Equal(got, test.want) {
				t.Errorf("the image has %q, want %q", got, test.want)
			}
		})
	}
}
