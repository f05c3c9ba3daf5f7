package interop

import (
	"bytes"
	"testing"

	"github.com/stagewright/stagewright/stage"
)

// TestSandbox starts the image's own command on both platforms in this library's sandbox: the foreign one by the emulator that the build was
// given, with nothing registered on the machine.
func TestSandbox(t *testing.T) {
	b := only(fixtures(t), "grouped")[0]
	for n, i := range b.images {
		t.Run(i.platform.Architecture, func(t *testing.T) {
			var out, errs bytes.Buffer
			err := stage.RunProcess(t.Context(), b.result.Result, b.result.Graph().Targets()[n].Step, stage.Process{Stdout: &out, Stderr: &errs})
			if err != nil {
				t.Fatalf("%v\n%s", err, &errs)
			}
			sameProcess(t, "stagewright", i, out.String())
			compared(t, "build result", "stagewright's sandbox", b.name+" "+i.platform.Architecture, "run")
		})
	}
}
