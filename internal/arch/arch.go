// Package arch knows what Linux machines run: the smallest program of each architecture, what tells its programs
// apart, and which interpreters a kernel has for those of others (binfmt_misc).
//
// The two calls to start with are [Program], whose execution is the one certain answer to the question whether a machine
// runs an architecture's programs, and [Handlers], which reads the kernel's registrations for saying what is missing.
//
// Guarantees: nothing here executes or registers anything. What is read of the kernel is bounded.
//
// Governing text: Documentation/admin-guide/binfmt-misc.rst of Linux, the System V ABI's ELF header, and the psABI
// supplement of each architecture for its flags and system calls.
package arch

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// abi is what the programs of an architecture look like.
type abi struct {
	bits    byte // ELFCLASS32 is 1, ELFCLASS64 is 2
	big     bool
	machine uint16 // e_machine
	flags   uint32 // e_flags
	exit    []byte // the instructions of exit(ProgramStatus)
}

// ProgramStatus is the exit status of what [Program] returns: not 0, so that a program which ignores what it is
// to interpret is not taken for an interpreter.
const ProgramStatus = 42

// abis has an entry for each architecture that Go and qemu-user share. Instructions are written as words where the architecture has words.
var abis = map[string]abi{
	"386":      {1, false, 3, 0, []byte{0xbb, 42, 0, 0, 0 /* mov $42,%ebx */, 0xb8, 1, 0, 0, 0 /* mov $1,%eax */, 0xcd, 0x80}},
	"amd64":    {2, false, 62, 0, []byte{0xbf, 42, 0, 0, 0 /* mov $42,%edi */, 0xb8, 60, 0, 0, 0 /* mov $60,%eax */, 0x0f, 0x05}},
	"arm":      {1, false, 40, 0x05000002, little(0xe3a0002a /* mov r0,#42 */, 0xe3a07001 /* mov r7,#1 */, 0xef000000 /* svc #0 */)},
	"arm64":    {2, false, 183, 0, little(0xd2800540 /* mov x0,#42 */, 0xd2800ba8 /* mov x8,#93 */, 0xd4000001 /* svc #0 */)},
	"loong64":  {2, false, 258, 0x43, little(0x0280a804 /* addi.w a0,zero,42 */, 0x0281740b /* addi.w a7,zero,93 */, 0x002b0000 /* syscall 0 */)},
	"mips64le": {2, false, 8, 0x20000004, little(0x3404002a /* li a0,42 */, 0x340213c2 /* li v0,5058 */, 0x0000000c /* syscall */)},
	"ppc64le":  {2, false, 21, 2, little(0x3860002a /* li r3,42 */, 0x38000001 /* li r0,1 */, 0x44000002 /* sc */)},
	"riscv64":  {2, false, 243, 4, little(0x02a00513 /* li a0,42 */, 0x05d00893 /* li a7,93 */, 0x00000073 /* ecall */)},
	"s390x":    {2, true, 22, 1, []byte{0xa7, 0x29, 0, 42 /* lghi %r2,42 */, 0x0a, 1 /* svc 1 */}},
}

func little(words ...uint32) []byte {
	var out []byte
	for _, w := range words {
		out = binary.LittleEndian.AppendUint32(out, w)
	}
	return out
}

// Architectures lists those that this package knows, by their GOARCH, sorted.
func Architectures() []string { return slices.Sorted(maps.Keys(abis)) }

// Known says whether this package knows an architecture.
func Known(arch string) bool { _, ok := abis[arch]; return ok }

// Program returns a static Linux program for arch, of some hundred bytes, that does nothing and exits with
// [ProgramStatus]; nil for an architecture that is not [Known].
func Program(arch string) []byte {
	a, ok := abis[arch]
	if !ok {
		return nil
	}
	const base, page = 0x400000, 0x10000 // above any vm.mmap_min_addr, and as large as any architecture's pages
	head := a.header(base)
	size := uint64(len(head) + len(a.exit))
	if a.bits == 1 {
		put := a.words(head[52:])
		put(0, 1, 4)             // p_type: PT_LOAD
		put(4, 0, 4)             // p_offset
		put(8, base, 4)          // p_vaddr
		put(12, base, 4)         // p_paddr
		put(16, uint32(size), 4) // p_filesz
		put(20, uint32(size), 4) // p_memsz
		put(24, 5, 4)            // p_flags: read and execute
		put(28, page, 4)         // p_align
	} else {
		put := a.words(head[64:])
		put(0, 1, 4)
		put(4, 5, 4) // p_flags is here
		put(16, base, 8)
		put(24, base, 8)
		put(32, uint32(size), 8)
		put(40, uint32(size), 8)
		put(48, page, 8)
	}
	return append(head, a.exit...)
}

// header is the ELF header of a program that is loaded at base, and room for one program header.
func (a abi) header(base uint32) []byte {
	word, ehsize, phsize := 4, 52, 32
	if a.bits == 2 {
		word, ehsize, phsize = 8, 64, 56
	}
	head := make([]byte, ehsize+phsize)
	copy(head, "\x7fELF")
	head[4], head[5], head[6] = a.bits, 1, 1
	if a.big {
		head[5] = 2
	}
	put := a.words(head)
	put(16, 2, 2) // e_type: ET_EXEC
	put(18, uint32(a.machine), 2)
	put(20, 1, 4)
	put(24, base+uint32(len(head)), word) // e_entry
	put(24+word, uint32(ehsize), word)    // e_phoff
	rest := 24 + 3*word
	put(rest, a.flags, 4)
	put(rest+4, uint32(ehsize), 2)
	put(rest+6, uint32(phsize), 2)
	put(rest+8, 1, 2) // e_phnum
	return head
}

// words returns a function that puts a value of 2, 4 or 8 bytes into b in the byte order of a.
func (a abi) words(b []byte) func(at int, v uint32, size int) {
	order := binary.ByteOrder(binary.LittleEndian)
	if a.big {
		order = binary.BigEndian
	}
	return func(at int, v uint32, size int) {
		switch size {
		case 2:
			order.PutUint16(b[at:], uint16(v))
		case 4:
			order.PutUint32(b[at:], v)
		case 8:
			order.PutUint64(b[at:], uint64(v))
		}
	}
}

// Registration is the line that, written to the file register of a mounted binfmt_misc, has the kernel run programs
// of arch with interpreter, under name. The flags: F opens the interpreter at once, so that it need not be in the roots of those who
// use it; C gives it the ids of a set-user-ID program; O hands it the program open; P tells it argv[0].
func Registration(name, arch, interpreter string) (string, error) {
	a, ok := abis[arch]
	if !ok {
		return "", fmt.Errorf("arch: the programs of %q are not known; known are %s", arch, strings.Join(Architectures(), ", "))
	}
	magic, mask := a.magic()
	escape := func(b []byte) string {
		var s strings.Builder
		for _, c := range b {
			fmt.Fprintf(&s, `\x%02x`, c)
		}
		return s.String()
	}
	return fmt.Sprintf(":%s:M::%s:%s:%s:POCF", name, escape(magic), escape(mask), interpreter), nil
}

// magic is what the first bytes of the programs of an architecture are, and which bits of them count: neither the
// operating system's ABI, which is Linux or none, nor its version, nor whether the program is linked to a fixed address.
func (a abi) magic() (magic, mask []byte) {
	magic = a.header(0)[:20]
	mask = slices.Repeat([]byte{0xff}, len(magic))
	mask[7], mask[8] = 0, 0
	if a.big {
		mask[17] = 0xfe
	} else {
		mask[16] = 0xfe
	}
	return magic, mask
}
