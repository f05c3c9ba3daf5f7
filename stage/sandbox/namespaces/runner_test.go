package namespaces_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

func newRunner(t *testing.T) sandbox.Runner {
	return namespaces.New(namespaces.Options{Dir: t.TempDir()})
}

func TestConformance(t *testing.T) {
	sandboxtest.Test(t, newRunner, sandboxtest.Options{})
}

// TestConformanceWithout forces the path for kernels without each feature.
func TestConformanceWithout(t *testing.T) {
	for name, mask := range map[string]sandbox.Features{
		"Memfd":        sandbox.FeatureMemfd,
		"MountSetattr": sandbox.FeatureMountSetattr,
		"Volatile":     sandbox.FeatureVolatile,
		"DeviceNodes":  sandbox.FeatureDeviceNodes,
		"FreshSysfs":   sandbox.FeatureFreshSysfs,
		"All":          sandbox.FeatureAll,
	} {
		t.Run(name, func(t *testing.T) {
			sandboxtest.Test(t, newRunner, sandboxtest.Options{Features: mask})
		})
	}
}

// TestConformanceAhead runs each process with a helper that was started, and has mounted what it could, while another one ran.
func TestConformanceAhead(t *testing.T) {
	sandboxtest.Test(t, func(t *testing.T) sandbox.Runner { return ahead{namespaces.New(namespaces.Options{Dir: t.TempDir()})} }, sandboxtest.Options{})
}

// ahead is a Runner that runs another process of the same kind before each.
type ahead struct{ *namespaces.Runner }

func (r ahead) Run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	root := spec.Root
	root.Upper, root.Work = "", ""
	before := &sandbox.Spec{Root: root, Args: []string{sandboxtest.Prober, "exit", "0"}, Network: spec.Network, Features: spec.Features}
	_, _ = r.Runner.Run(ctx, before) // what is wrong with it is wrong with spec
	return r.Runner.Run(ctx, spec)
}

// TestConformanceRanges maps subordinate ids, as for an ordinary user whose
// steps install packages. Root writes the maps itself.
func TestConformanceRanges(t *testing.T) {
	if os.Geteuid() == 0 {
		same := []sandbox.IDRange{{Size: 65536}}
		sandboxtest.Test(t, newRunner, sandboxtest.Options{IDs: sandbox.IDs{UIDs: same, GIDs: same}})
		return
	}
	ids, err := namespaces.SubordinateIDs()
	if _, ok := errors.AsType[*sandbox.UnavailableError](err); ok {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	sandboxtest.Test(t, newRunner, sandboxtest.Options{IDs: ids})
}

// TestConformanceEmulated runs programs of another machine, all over again: with an emulator that
// nobody has registered.
func TestConformanceEmulated(t *testing.T) {
	arch, emulator := emulator(t)
	sandboxtest.Test(t, newRunner, sandboxtest.Options{
		Platform: platform.Platform{OS: "linux", Architecture: arch}, Emulators: map[string]string{arch: emulator},
	})
}

// emulator finds an architecture that is not this machine's, and a program that emulates it.
func emulator(t testing.TB) (arch, path string) {
	t.Helper()
	arch, name := "arm64", "qemu-aarch64-static"
	if runtime.GOARCH == "arm64" {
		arch, name = "amd64", "qemu-x86_64-static"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no emulator here; apt-get install qemu-user-static: %v", err)
	}
	return arch, path
}

// A step that has been prepared for is one like any other, and so is a Runner that is prepared for nothing.
func TestPrepare(t *testing.T) {
	for range 3 {
		sandbox.Prepare(namespaces.New(namespaces.Options{}))
	}
	r := namespaces.New(namespaces.Options{})
	if err := r.Probe(t.Context()); err != nil {
		t.Skip(err)
	}
	r.Prepare()
	spec := &sandbox.Spec{Root: sandbox.Root{Lowers: []string{sandboxtest.Lower(t)}}, Args: []string{sandboxtest.Prober, "exit", "3"}}
	if st, err := r.Run(t.Context(), spec); err != nil || st.Code != 3 {
		t.Error(st, err)
	}
}
