package namespaces

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/arch"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// emulation is what lets a process run programs of another machine. The zero value is
// for those of this one.
type emulation struct {
	own    []child.Emulator // for the binfmt_misc of the sandbox alone
	mounts []sandbox.Mount  // interpreters that this machine's registrations look for inside the root
}

// emulate finds what a Spec's programs need.
func emulate(spec *sandbox.Spec) (emulation, error) {
	p := spec.Platform.Normalize()
	if p.IsZero() || p.Architecture == runtime.GOARCH {
		return emulation{}, nil
	}
	if path := spec.Emulators[p.Architecture]; path != "" {
		name := "emulator-" + p.Architecture
		line, err := arch.Registration("stagewright", p.Architecture, name)
		if err != nil {
			return emulation{}, &sandbox.PlatformError{Platform: p, Cause: "there is no way to tell its programs", Err: err}
		}
		return emulation{own: []child.Emulator{{Path: path, Name: name, Line: line}}}, nil
	}
	var e emulation
	for _, h := range registered(p.Architecture) {
		if !h.Enabled || h.FixBinary || arch.CheckStatic(h.Interpreter) != nil {
			continue
		}
		e.mounts = append(e.mounts, sandbox.Mount{Type: sandbox.MountBind, Source: h.Interpreter, Target: h.Interpreter, ReadOnly: true})
	}
	return e, nil
}

// registered are the interpreters of this machine for an architecture. What cannot be read is
// none: the kernel decides.
func registered(architecture string) []arch.Handler {
	list, err := arch.Handlers(arch.BinfmtDir)
	if err != nil {
		return nil
	}
	return arch.For(architecture, list)
}

// checkPlatform runs the smallest program of the platform in a sandbox, which is the one
// certain answer, and looks for reasons only when that fails.
func (r *Runner) checkPlatform(ctx context.Context, p platform.Platform, emulators map[string]string) (err error) {
	p = p.Normalize()
	if p.Architecture == runtime.GOARCH {
		return checkLevel(p)
	}
	program := arch.Program(p.Architecture)
	if program == nil {
		return &sandbox.PlatformError{Platform: p, Cause: "nothing here knows how to run them", Fix: fixNative}
	}
	dir, err := os.MkdirTemp(r.opts.Dir, "sandbox-platform-")
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	const path = "/program"
	spec := &sandbox.Spec{
		Root: sandbox.Root{Lowers: []string{dir}}, Args: []string{path}, Network: sandbox.NetworkHost,
		Mounts:   []sandbox.Mount{{Type: sandbox.MountFile, Target: path, Data: program, Mode: 0o755, ReadOnly: true}},
		Platform: p, Emulators: emulators,
	}
	if err := spec.Validate(); err != nil {
		return err
	}
	status, err := launch(ctx, spec, nil, false)
	if err == nil && status.Code == arch.ProgramStatus {
		return nil
	}
	return explainPlatform(ctx, p, emulators[p.Architecture], status, err)
}

// What can be done where programs of a platform do not run.
const (
	fixNative = "pin the stage to this machine with stage.OnBuildPlatform and cross-compile, or build on a machine of that platform"
	fixBinfmt = "register an emulator: apt-get install qemu-user-static binfmt-support (Debian, Ubuntu), " +
		"or docker run --privileged --rm tonistiigi/binfmt --install %s; or name a static qemu in Options.Emulators, which needs Linux 6.7"
)

// explainPlatform says why a program of p did not run, by what was found to run it.
func explainPlatform(ctx context.Context, p platform.Platform, emulator string, status sandbox.Status, err error) error {
	if _, ok := errors.AsType[*sandbox.PlatformError](err); ok || ctx.Err() != nil {
		return err
	}
	exec, refused := errors.AsType[*sandbox.ExecError](err)
	if err != nil && !refused {
		return err // no process of any platform can be run
	}
	e := &sandbox.PlatformError{Platform: p, Fix: fmt.Sprintf(fixBinfmt, p.Architecture)}
	if refused {
		e.Err = exec.Err
	}
	if emulator != "" {
		e.Cause = "the emulator " + emulator + " does not run them"
		e.Fix = "give a program that emulates this architecture and is static, such as those of Debian's qemu-user-static"
		switch static := arch.CheckStatic(emulator); {
		case static != nil:
			e.Cause = "the emulator is of no use: " + static.Error()
		case !refused:
			e.Cause += fmt.Sprintf(": it ended with %d, and a program that ends with %d with that", status.Code, arch.ProgramStatus)
		}
		return e
	}
	found := registered(p.Architecture)
	enabled := slices.IndexFunc(found, func(h arch.Handler) bool { return h.Enabled })
	switch {
	case len(found) == 0:
		e.Cause, e.Err = "no interpreter for them is registered with binfmt_misc", nil
	case enabled < 0:
		e.Cause = fmt.Sprintf("the interpreter registered for them, %s, is disabled", found[0].Interpreter)
		e.Fix = "enable it: echo 1 | sudo tee " + arch.BinfmtDir + "/status " + arch.BinfmtDir + "/" + found[0].Name
	default:
		h := found[enabled]
		e.Cause = fmt.Sprintf("the interpreter registered for them, %s, does not run them", h.Interpreter)
		if static := arch.CheckStatic(h.Interpreter); static != nil && !h.FixBinary {
			e.Cause = "the interpreter registered for them is not there in the root of a step: " + static.Error()
		}
	}
	return e
}

// checkLevel refuses what this machine's processor lacks. Only x86-64 has levels that Linux tells of;
// others are left to the program.
func checkLevel(p platform.Platform) error {
	if p.Architecture != "amd64" || p.Variant == "" {
		return nil
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil
	}
	have := platform.Platform{OS: "linux", Architecture: "amd64", Variant: fmt.Sprintf("v%d", arch.AMD64Level(string(info)))}
	if p.Satisfies(have) {
		return nil
	}
	return &sandbox.PlatformError{Platform: p, Cause: "this machine's processor is " + have.Normalize().String(), Fix: "build on a machine that has the newer instructions"}
}

// explainEmulator says why the sandbox has no binfmt_misc of its own.
func explainEmulator(p *process, f *child.Failure) error {
	e := &sandbox.PlatformError{Platform: p.spec.Platform, Err: f.Errno, Fix: fmt.Sprintf(fixBinfmt, p.spec.Platform.Architecture)}
	switch {
	case f.Op == "mount" && f.Errno == unix.ENODEV:
		e.Cause = "this kernel has no binfmt_misc"
		e.Fix = "load it: sudo modprobe binfmt_misc; or " + fixNative
	case f.Op == "mount" && f.Errno == unix.EPERM:
		e.Cause = "an emulator of the build's own needs Linux 6.7, and this kernel is " + release()
		e.Fix = fmt.Sprintf("register it for the whole machine: apt-get install qemu-user-static binfmt-support (Debian, Ubuntu), "+
			"or docker run --privileged --rm tonistiigi/binfmt --install %s", p.spec.Platform.Architecture)
	case f.Op == "open" || f.Op == "register":
		e.Cause = "the emulator " + f.Path + " cannot be used"
		e.Fix = "name a static program, such as one of Debian's qemu-user-static, that this user may execute"
	default:
		e.Cause = "failed to " + f.Op + " " + f.Path
	}
	return e
}

// release is the version of the kernel.
func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
