package namespaces

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// TestExplainEmulator: what kernels say that this one does not.
func TestExplainEmulator(t *testing.T) {
	p := &process{spec: &sandbox.Spec{Platform: platform.MustParse("linux/arm64")}}
	for _, c := range []struct {
		op    string
		errno unix.Errno
		want  []string
	}{
		{"mount", unix.EPERM, []string{"needs Linux 6.7, and this kernel is ", "apt-get install qemu-user-static binfmt-support", "tonistiigi/binfmt --install arm64"}},
		{"mount", unix.ENODEV, []string{"no binfmt_misc", "modprobe binfmt_misc"}},
		{"register", unix.ENOENT, []string{"/qemu cannot be used", "static program"}},
		{"cover", unix.EINVAL, []string{"failed to cover /qemu"}},
	} {
		err := explain(p, &child.Failure{Stage: child.StageEmulator, Op: c.op, Path: "/qemu", Errno: c.errno})
		if _, ok := errors.AsType[*sandbox.PlatformError](err); !ok || !errors.Is(err, c.errno) {
			t.Errorf("%s: %#v", c.op, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\ndoes not say %q", c.op, err, want)
			}
		}
	}
}
