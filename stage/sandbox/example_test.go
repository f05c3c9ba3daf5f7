package sandbox_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// dry is a Runner of one's own: it prints what it is asked to run.
type dry struct{}

func (dry) Run(_ context.Context, s *sandbox.Spec) (sandbox.Status, error) {
	if err := s.Validate(); err != nil {
		return sandbox.Status{}, err
	}
	fmt.Println(strings.Join(s.Args, " "))
	return sandbox.Status{}, nil
}

func ExampleRunner() {
	var r sandbox.Runner = dry{}
	status, err := r.Run(context.Background(), &sandbox.Spec{
		Root: sandbox.Root{Lowers: []string{"/var/lib/rootfs"}},
		Args: []string{"go", "build", "./..."},
	})
	fmt.Println(status.Success(), err)
	// Output:
	// go build ./...
	// true <nil>
}

func ExampleSpec_Validate() {
	s := &sandbox.Spec{
		Root:   sandbox.Root{Lowers: []string{"/var/lib/rootfs"}},
		Args:   []string{"true"},
		Mounts: []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "tmp"}},
	}
	fmt.Println(s.Validate())
	// Output: sandbox: invalid spec: Mounts[0].Target is "tmp" and should be an absolute path inside the root
}

// A Runner that cannot tell is taken to work.
func ExampleProbe() {
	fmt.Println(sandbox.Probe(context.Background(), dry{}))
	// Output: <nil>
}

// CheckLimits implements sandbox.LimitChecker for a Runner without control groups.
func (dry) CheckLimits(l sandbox.Limits) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if l.Memory > 0 {
		return &sandbox.LimitError{Limit: "Memory", Cause: "nothing is run, so nothing can be limited"}
	}
	return nil
}

func ExampleCheckLimits() {
	fmt.Println(sandbox.CheckLimits(dry{}, sandbox.Limits{Memory: 64 << 20}))
	fmt.Println(sandbox.CheckLimits(dry{}, sandbox.Limits{Rlimits: []sandbox.Rlimit{{Name: "core"}}}))
	// Output:
	// sandbox: cannot limit Memory here: nothing is run, so nothing can be limited
	// <nil>
}

// CheckPlatform implements sandbox.PlatformChecker for a Runner that emulates nothing.
func (dry) CheckPlatform(_ context.Context, p platform.Platform, emulators map[string]string) error {
	if emulators[p.Architecture] != "" || p.Satisfies(platform.MustParse("linux/amd64")) {
		return nil
	}
	return &sandbox.PlatformError{Platform: p, Cause: "no emulator was given"}
}

func ExampleCheckPlatform() {
	ctx, arm := context.Background(), platform.MustParse("linux/arm64")
	fmt.Println(sandbox.CheckPlatform(ctx, dry{}, arm, nil))
	fmt.Println(sandbox.CheckPlatform(ctx, dry{}, arm, map[string]string{"arm64": "/usr/bin/qemu-aarch64-static"}))
	// Output:
	// sandbox: cannot run programs for linux/arm64 here: no emulator was given
	// <nil>
}

// slow is a Runner that has something to begin with.
type slow struct{ dry }

func (slow) Prepare() { fmt.Println("on its way") }

func ExamplePrepare() {
	for _, r := range []sandbox.Runner{dry{}, slow{}} { // the first has nothing to prepare
		sandbox.Prepare(r)
		_, _ = r.Run(context.Background(), &sandbox.Spec{Root: sandbox.Root{Lowers: []string{"/var/lib/rootfs"}}, Args: []string{"true"}})
	}
	// Output:
	// true
	// on its way
	// true
}

// CheckIdmapped implements sandbox.IdmapChecker: on no files, ids are what one says.
func (dry) CheckIdmapped(context.Context, sandbox.IDs) error { return nil }

// A Runner that cannot tell is taken not to know Root.Idmapped.
func ExampleCheckIdmapped() {
	ctx := context.Background()
	ids := []sandbox.IDRange{{Outside: 1 << 30, Size: 65536}}
	fmt.Println(sandbox.CheckIdmapped(ctx, dry{}, sandbox.IDs{UIDs: ids, GIDs: ids}))
	fmt.Println(sandbox.CheckIdmapped(ctx, struct{ sandbox.Runner }{dry{}}, sandbox.IDs{UIDs: ids, GIDs: ids}))
	// Output:
	// <nil>
	// sandbox: cannot run processes here: a struct { sandbox.Runner } does not say that it knows Root.Idmapped
}
