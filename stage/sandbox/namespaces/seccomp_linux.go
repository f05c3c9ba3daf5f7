package namespaces

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// defaultCaps are the capabilities that Docker leaves to a container, by number.
// Their mask is 0xa80425fb.
var defaultCaps = map[string]uint{
	"CAP_CHOWN":            unix.CAP_CHOWN,
	"CAP_DAC_OVERRIDE":     unix.CAP_DAC_OVERRIDE,
	"CAP_FSETID":           unix.CAP_FSETID,
	"CAP_FOWNER":           unix.CAP_FOWNER,
	"CAP_MKNOD":            unix.CAP_MKNOD,
	"CAP_NET_RAW":          unix.CAP_NET_RAW,
	"CAP_SETGID":           unix.CAP_SETGID,
	"CAP_SETUID":           unix.CAP_SETUID,
	"CAP_SETFCAP":          unix.CAP_SETFCAP,
	"CAP_SETPCAP":          unix.CAP_SETPCAP,
	"CAP_NET_BIND_SERVICE": unix.CAP_NET_BIND_SERVICE,
	"CAP_SYS_CHROOT":       unix.CAP_SYS_CHROOT,
	"CAP_KILL":             unix.CAP_KILL,
	"CAP_AUDIT_WRITE":      unix.CAP_AUDIT_WRITE,
}

func capMask() uint64 {
	var mask uint64
	for _, c := range defaultCaps {
		mask |= 1 << c
	}
	return mask
}

// dockerFilter is Docker's default system call policy as a classic BPF program
// for this machine. It costs a millisecond, so it is compiled once a process.
var dockerFilter = sync.OnceValues(func() ([]bpf.RawInstruction, error) {
	caps := make([]string, 0, len(defaultCaps))
	for name := range defaultCaps {
		caps = append(caps, name)
	}
	profile, err := seccomp.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}},
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: Docker's system call policy: %w", err)
	}
	return compileProfile(profile, runtime.GOARCH)
})

// secondary names the 32-bit architecture whose programs the same kernel runs.
var secondary = map[string]string{"amd64": "386", "arm64": "arm"}

// Offsets in struct seccomp_data, seccomp(2).
const (
	offNr   = 0
	offArch = 4
	offArgs = 16
)

// x32Bit marks the numbers of the x32 interface, which shares the architecture
// id of x86-64; seccomp(2) tells filters to refuse it.
const x32Bit = 0x40000000

// compileProfile turns an OCI policy into a filter for programs of goarch and
// of its 32-bit sibling. Programs of any other architecture get the default action.
func compileProfile(p *specs.LinuxSeccomp, goarch string) ([]bpf.RawInstruction, error) {
	def, err := retValue(p.DefaultAction, p.DefaultErrnoRet)
	if err != nil {
		return nil, err
	}
	prog := []bpf.Instruction{bpf.LoadAbsolute{Off: offArch, Size: 4}}
	for _, name := range []string{goarch, secondary[goarch]} {
		if name == "" {
			continue
		}
		info, err := arch.GetInfo(name)
		if err != nil {
			return nil, &sandbox.UnavailableError{
				Cause: "the system call policy cannot be compiled for " + name,
				Fix:   "choose a Runner that brings its own, such as runc",
				Err:   err,
			}
		}
		rules, err := rulesFor(p, info.SyscallNames)
		if err != nil {
			return nil, err
		}
		body := []bpf.Instruction{bpf.LoadAbsolute{Off: offNr, Size: 4}}
		if name == "amd64" {
			body = append(body,
				bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: x32Bit, SkipFalse: 1},
				bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
		}
		body = append(body, searchTree(leaves(rules, def))...)
		// A body can be longer than the 255 instructions of a conditional jump.
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
			bpf.Jump{Skip: uint32(len(body))})
		prog = append(prog, body...)
	}
	prog = append(prog, bpf.RetConstant{Val: def})
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return nil, fmt.Errorf("sandbox: assemble the system call filter: %w", err)
	}
	if len(raw) > unix.BPF_MAXINSNS {
		return nil, fmt.Errorf("sandbox: the system call filter has %d instructions and the kernel takes %d", len(raw), unix.BPF_MAXINSNS)
	}
	return raw, nil
}

// rule is what happens to one system call: action if any of the alternatives
// holds, or always when there are none.
type rule struct {
	action       uint32
	alternatives [][]specs.LinuxSeccompArg
}

// rulesFor gathers the policy by system call number. Names that the table does
// not have are calls of other architectures or newer kernels, and left out.
func rulesFor(p *specs.LinuxSeccomp, table map[string]int) (map[uint32]*rule, error) {
	rules := make(map[uint32]*rule)
	for _, s := range p.Syscalls {
		action, err := retValue(s.Action, s.ErrnoRet)
		if err != nil {
			return nil, err
		}
		for _, a := range s.Args {
			if a.Index > 5 || !slices.Contains(knownOps, a.Op) {
				return nil, fmt.Errorf("sandbox: the system call policy has the unknown condition %+v", a)
			}
		}
		for _, name := range s.Names {
			nr, ok := table[name]
			if !ok {
				continue
			}
			r := rules[uint32(nr)]
			switch {
			case r == nil:
				r = &rule{action: action}
				if len(s.Args) > 0 {
					r.alternatives = [][]specs.LinuxSeccompArg{s.Args}
				}
				rules[uint32(nr)] = r
			case r.action != action:
				return nil, fmt.Errorf("sandbox: the system call policy has two actions for %s", name)
			case len(s.Args) == 0:
				r.alternatives = nil // always includes sometimes
			case len(r.alternatives) > 0:
				r.alternatives = append(r.alternatives, s.Args)
			}
		}
	}
	return rules, nil
}

func retValue(a specs.LinuxSeccompAction, errno *uint) (uint32, error) {
	switch a {
	case specs.ActAllow:
		return unix.SECCOMP_RET_ALLOW, nil
	case specs.ActErrno:
		e := uint32(unix.EPERM)
		if errno != nil {
			e = uint32(*errno) & unix.SECCOMP_RET_DATA
		}
		return unix.SECCOMP_RET_ERRNO | e, nil
	case specs.ActKillProcess:
		return unix.SECCOMP_RET_KILL_PROCESS, nil
	}
	return 0, fmt.Errorf("sandbox: the system call policy has the unknown action %q", a)
}

// leaf is the code for the system calls from lo up to the next leaf. Every leaf
// ends in a return, so none sees an accumulator that another one changed.
type leaf struct {
	lo   uint32
	code []bpf.Instruction
}

func leaves(rules map[uint32]*rule, def uint32) []leaf {
	numbers := make([]uint32, 0, len(rules))
	for nr := range rules {
		numbers = append(numbers, nr)
	}
	slices.Sort(numbers)
	var out []leaf
	add := func(lo uint32, code []bpf.Instruction) {
		if n := len(out); n > 0 && slices.Equal(out[n-1].code, code) {
			return // a longer run of the same
		}
		out = append(out, leaf{lo, code})
	}
	next := uint32(0)
	add(0, []bpf.Instruction{bpf.RetConstant{Val: def}})
	for _, nr := range numbers {
		if nr > next {
			add(next, []bpf.Instruction{bpf.RetConstant{Val: def}})
		}
		code := rules[nr].code(def)
		if nr == 0 {
			out = out[:0]
		}
		add(nr, code)
		next = nr + 1
	}
	add(next, []bpf.Instruction{bpf.RetConstant{Val: def}})
	return out
}

// searchTree is a binary search for the leaf of the accumulator's value.
func searchTree(l []leaf) []bpf.Instruction {
	if len(l) == 1 {
		return l[0].code
	}
	mid := len(l) / 2
	left, right := searchTree(l[:mid]), searchTree(l[mid:])
	var out []bpf.Instruction
	if len(left) <= 255 {
		out = append(out, bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: l[mid].lo, SkipTrue: uint8(len(left))})
	} else {
		out = append(out,
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: l[mid].lo, SkipFalse: 1},
			bpf.Jump{Skip: uint32(len(left))})
	}
	return append(append(out, left...), right...)
}

// code is the rule as instructions that end in a return.
func (r *rule) code(def uint32) []bpf.Instruction {
	if len(r.alternatives) == 0 {
		return []bpf.Instruction{bpf.RetConstant{Val: r.action}}
	}
	var out []bpf.Instruction
	for _, alt := range r.alternatives {
		out = append(out, alternative(alt, r.action)...)
	}
	return append(out, bpf.RetConstant{Val: def})
}

// alternative returns action when all conditions hold, and falls through otherwise.
func alternative(conds []specs.LinuxSeccompArg, action uint32) []bpf.Instruction {
	out := []bpf.Instruction{bpf.RetConstant{Val: action}}
	for _, c := range slices.Backward(conds) {
		out = append(condition(c, uint8(len(out))), out...)
	}
	return out
}

// knownOps are the comparisons that condition can write.
var knownOps = []specs.LinuxSeccompOperator{
	specs.OpEqualTo, specs.OpNotEqual, specs.OpLessThan, specs.OpGreaterEqual, specs.OpMaskedEqual,
}

// condition falls through when c holds and skips rest more instructions when not.
// System call arguments have 64 bits and BPF 32, so each is looked at in halves.
func condition(c specs.LinuxSeccompArg, rest uint8) []bpf.Instruction {
	low := bpf.LoadAbsolute{Off: offArgs + 8*uint32(c.Index) + lowHalf, Size: 4}
	high := bpf.LoadAbsolute{Off: offArgs + 8*uint32(c.Index) + (4 - lowHalf), Size: 4}
	vLow, vHigh := uint32(c.Value), uint32(c.Value>>32)
	jump := func(cond bpf.JumpTest, val uint32, ifTrue, ifFalse uint8) bpf.Instruction {
		return bpf.JumpIf{Cond: cond, Val: val, SkipTrue: ifTrue, SkipFalse: ifFalse}
	}
	switch c.Op {
	case specs.OpEqualTo:
		return []bpf.Instruction{
			high, jump(bpf.JumpEqual, vHigh, 0, rest+2),
			low, jump(bpf.JumpEqual, vLow, 0, rest),
		}
	case specs.OpNotEqual:
		return []bpf.Instruction{
			high, jump(bpf.JumpEqual, vHigh, 0, 2),
			low, jump(bpf.JumpEqual, vLow, rest, 0),
		}
	case specs.OpLessThan:
		return []bpf.Instruction{
			high, jump(bpf.JumpGreaterThan, vHigh, rest+3, 0), jump(bpf.JumpEqual, vHigh, 0, 2),
			low, jump(bpf.JumpGreaterOrEqual, vLow, rest, 0),
		}
	case specs.OpGreaterEqual:
		return []bpf.Instruction{
			high, jump(bpf.JumpGreaterThan, vHigh, 3, 0), jump(bpf.JumpEqual, vHigh, 0, rest+2),
			low, jump(bpf.JumpGreaterOrEqual, vLow, 0, rest),
		}
	case specs.OpMaskedEqual:
		mask, want := c.Value, c.ValueTwo
		return []bpf.Instruction{
			high, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(mask >> 32)}, jump(bpf.JumpEqual, uint32(want>>32), 0, rest+3),
			low, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: uint32(mask)}, jump(bpf.JumpEqual, uint32(want), 0, rest),
		}
	}
	// rulesFor lets no other operator through. If it did, it would never hold,
	// and the call would get the policy's default, which refuses.
	return []bpf.Instruction{bpf.Jump{Skip: uint32(rest)}}
}
