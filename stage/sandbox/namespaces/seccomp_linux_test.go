package namespaces

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// run evaluates a filter as the kernel would. The virtual machine of x/net
// loads big-endian words, so the data is laid out that way.
func run(t *testing.T, vm *bpf.VM, audit, nr uint32, args [6]uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNr:], nr)
	binary.BigEndian.PutUint32(data[offArch:], audit)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i+lowHalf:], uint32(a))
		binary.BigEndian.PutUint32(data[offArgs+8*i+(4-lowHalf):], uint32(a>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

func newVM(t *testing.T, p *specs.LinuxSeccomp, goarch string) *bpf.VM {
	t.Helper()
	raw, err := compileProfile(p, goarch)
	if err != nil {
		t.Fatal(err)
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter cannot be disassembled")
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d instructions", goarch, len(raw))
	return vm
}

// want evaluates the policy itself, rule by rule.
func want(t *testing.T, p *specs.LinuxSeccomp, names map[int][]string, nr uint32, args [6]uint64) uint32 {
	t.Helper()
	holds := func(c specs.LinuxSeccompArg) bool {
		v := args[c.Index]
		switch c.Op {
		case specs.OpEqualTo:
			return v == c.Value
		case specs.OpNotEqual:
			return v != c.Value
		case specs.OpLessThan:
			return v < c.Value
		case specs.OpGreaterEqual:
			return v >= c.Value
		case specs.OpMaskedEqual:
			return v&c.Value == c.ValueTwo
		}
		t.Fatalf("unknown operator %s", c.Op)
		return false
	}
	for _, s := range p.Syscalls {
		for _, name := range names[int(nr)] {
			if slices.Contains(s.Names, name) && !slices.ContainsFunc(s.Args, func(c specs.LinuxSeccompArg) bool { return !holds(c) }) {
				v, err := retValue(s.Action, s.ErrnoRet)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
	}
	return unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
}

func compare(t *testing.T, p *specs.LinuxSeccomp, vm *bpf.VM, info *arch.Info, values []uint64) {
	t.Helper()
	names := map[int][]string{}
	for name, nr := range info.SyscallNames {
		names[nr] = append(names[nr], name)
	}
	for nr := range uint32(1000) {
		for _, a := range values {
			for _, b := range []uint64{0, a} {
				args := [6]uint64{a, b, a, b, a, b}
				if got, want := run(t, vm, uint32(info.ID), nr, args), want(t, p, names, nr, args); got != want {
					t.Fatalf("%s: system call %d %v with %#x: %#x, want %#x", info.Name, nr, names[int(nr)], args, got, want)
				}
			}
		}
	}
}

// TestDockerFilter compares the compiled filter with the policy, call by call.
func TestDockerFilter(t *testing.T) {
	p, err := seccomp.GetDefaultProfile(&specs.Spec{
		Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	values := []uint64{0, 1, 8, 37, 38, 39, 40, 41, 45, 46, 56, 0x20000, 0x20008, unix.CLONE_NEWUSER, unix.CLONE_NEWNS | 17,
		17, 0xffffffff, 1 << 32, 1<<32 | 8, 1<<63 | 38, ^uint64(0)}
	for _, goarch := range []string{"amd64", "arm64", "386", "arm"} {
		vm := newVM(t, p, goarch)
		for _, name := range []string{goarch, secondary[goarch]} {
			if name == "" {
				continue
			}
			info, err := arch.GetInfo(name)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, p, vm, info, values)
		}
		if got := run(t, vm, 0x12345678, 0, [6]uint64{}); got != unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM) {
			t.Errorf("%s: a foreign architecture gets %#x", goarch, got)
		}
	}
	vm := newVM(t, p, "amd64")
	if got := run(t, vm, uint32(arch.X86_64.ID), x32Bit, [6]uint64{}); got != unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS) {
		t.Errorf("read(2) of x32 gets %#x", got)
	}
}

// TestConditions tries every operator around its value.
func TestConditions(t *testing.T) {
	for _, op := range knownOps {
		for _, v := range []uint64{0, 1, 0xffffffff, 1 << 32, 5<<32 | 7, ^uint64(0)} {
			p := &specs.LinuxSeccomp{
				DefaultAction: specs.ActErrno,
				Syscalls: []specs.LinuxSyscall{
					// Two conditions, and an alternative after them.
					{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{
						{Index: 0, Value: v, ValueTwo: v, Op: op}, {Index: 1, Value: 0, Op: specs.OpEqualTo},
					}},
					{Names: []string{"socket"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 2, Value: 12345, Op: specs.OpEqualTo}}},
				},
			}
			vm := newVM(t, p, "amd64")
			values := []uint64{v, v - 1, v + 1, v ^ 1<<32, v ^ 1, 12345}
			compare(t, p, vm, arch.X86_64, values)
		}
	}
}

func TestUnknownPolicy(t *testing.T) {
	for _, s := range []specs.LinuxSyscall{
		{Names: []string{"read"}, Action: "SCMP_ACT_DANCE"},
		{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Op: "SCMP_CMP_DANCE"}}},
		{Names: []string{"read"}, Action: specs.ActAllow, Args: []specs.LinuxSeccompArg{{Index: 6, Op: specs.OpEqualTo}}},
	} {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Syscalls: []specs.LinuxSyscall{s}}
		if _, err := compileProfile(p, "amd64"); err == nil {
			t.Errorf("%+v was compiled", s)
		}
	}
}

func TestCapMask(t *testing.T) {
	if got := fmt.Sprintf("%x", capMask()); got != "a80425fb" {
		t.Errorf("the capabilities are %s, Docker's a80425fb", got)
	}
}
