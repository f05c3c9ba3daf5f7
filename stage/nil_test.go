package stage_test

import (
	"context"
	"io/fs"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/stage"
)

// An option that is nil is a mistake like any other: it says which one, and nothing panics.
func TestNilOptions(t *testing.T) {
	base := stage.Scratch()
	do := func(context.Context, fs.FS, stage.Writer) error { return nil }
	for name, test := range map[string]struct {
		s    stage.Stage
		o    stage.Options
		want string
	}{
		"Run":             {s: base.Run("x", stage.NoCache(), nil), want: "option 2 of 2 is nil"},
		"Run, function":   {s: base.Run("x", stage.RunFunc(nil)), want: "option 1 of 1 is nil"},
		"Run, rule":       {s: base.Run("x", stage.CacheOption(nil)), want: "option 1 of 1 is nil"},
		"RunExec":         {s: base.RunExec([]string{"x"}, nil), want: "option 1 of 1 is nil"},
		"Script":          {s: base.Script("x", nil), want: "option 1 of 1 is nil"},
		"mount":           {s: base.Run("x", stage.CacheMount("/c", nil)), want: "cache mount /c: option 1 of 1 is nil"},
		"secret":          {s: base.Run("x", stage.SecretEnv("id", "ID", nil)), want: "secret mount id: option 1 of 1 is nil"},
		"Copy":            {s: base.Copy("a", "/", nil), want: "option 1 of 1 is nil"},
		"Copy, rule":      {s: base.Copy("a", "/", stage.CacheOption(nil)), want: "option 1 of 1 is nil"},
		"CopyFrom":        {s: base.CopyFrom(base, "a", "/", stage.CopyFunc(nil)), want: "option 1 of 1 is nil"},
		"File":            {s: base.File("/f", "", nil), want: "option 1 of 1 is nil"},
		"Mkdir":           {s: base.Mkdir("/d", stage.Mode(0o700), nil), want: "option 2 of 2 is nil"},
		"Remove":          {s: base.Remove("/f", nil), want: "option 1 of 1 is nil"},
		"Func":            {s: base.Func("f", "1", do, nil), want: "option 1 of 1 is nil"},
		"RunDefaults":     {s: base.RunDefaults(nil).Run("x"), want: "RunDefaults: option 1 of 1 is nil"},
		"RunDefaults, in": {s: base.RunDefaults(stage.CacheMount("/c", nil)).Run("x"), want: "option 1 of 1 is nil"},
		"Scratch":         {s: stage.Scratch(nil).File("/f", ""), want: "option 1 of 1 is nil"},
		"From":            {s: stage.From("base", stage.As("a"), nil), want: "option 2 of 2 is nil"},
		"Options.Run":     {s: base.File("/f", ""), o: stage.Options{Run: []stage.RunOption{nil}}, want: "Options.Run: option 1 of 1 is nil"},
	} {
		_, err := stage.Compile(t.Context(), []stage.Stage{test.s}, fixed(test.o))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}
