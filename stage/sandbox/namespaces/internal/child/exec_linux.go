package child

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// execute becomes the command, or says why it cannot.
func execute(c *Config) *Failure {
	arg0 := c.Args[0]
	candidates := []string{arg0}
	if !strings.Contains(arg0, "/") {
		search, ok := pathOf(c.Env)
		if !ok {
			f := fail(StageExec, "find", arg0, unix.ENOENT)
			f.NotFound = true
			return f
		}
		candidates = candidates[:0]
		for _, dir := range strings.Split(search, ":") {
			if dir == "" {
				dir = "." // as execvp(3) has it
			}
			candidates = append(candidates, path.Join(dir, arg0))
			if n := len(candidates) - 1; !strings.Contains(candidates[n], "/") {
				candidates[n] = "./" + candidates[n]
			}
		}
	}
	var denied *Failure
	for _, file := range candidates {
		if missing(file) { // asked first: an execve that fails costs ten times as much
			continue
		}
		err := syscall.Exec(file, c.Args, c.Env)
		f := explainExec(file, err)
		if err != unix.EACCES {
			return f
		}
		if denied == nil {
			denied = f // a later directory may have one that can be executed
		}
	}
	if denied != nil {
		return denied
	}
	f := fail(StageExec, "find", arg0, unix.ENOENT)
	f.NotFound, f.Tried = true, candidates
	return f
}

func pathOf(env []string) (string, bool) {
	// Of two, the first counts, as for getenv(3).
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			return v, true
		}
	}
	return "", false
}

func missing(file string) bool {
	var st unix.Stat_t
	err := unix.Lstat(file, &st)
	return err == unix.ENOENT || err == unix.ENOTDIR
}

// explainExec finds the reason behind execve's error number.
func explainExec(file string, err error) *Failure {
	f := fail(StageExec, "execute", file, err)
	var st unix.Stat_t
	statErr := unix.Stat(file, &st)
	head := readHead(file)
	switch {
	case statErr == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR:
		f.Reason = "it is a directory"
	case statErr == unix.ENOENT:
		f.Reason = "it is a symbolic link to something that does not exist"
	case f.Errno == unix.EACCES && statErr == nil && st.Mode&0o111 == 0:
		f.Reason = fmt.Sprintf("its mode %#o has no execute permission; chmod +x it", st.Mode&0o7777)
	case f.Errno == unix.EACCES:
		f.Reason = "this user may not execute it or search a directory on its path, or its filesystem is mounted noexec"
	case f.Errno == unix.ENOENT:
		f.Interpreter = interpreter(head)
		f.Reason = "its interpreter is missing from the root"
		if f.Interpreter != "" {
			f.Reason = "its interpreter " + f.Interpreter + " is missing from the root"
		}
	case f.Errno == unix.ENOEXEC:
		f.Reason = "it is neither a program for this machine nor a script that starts with #!"
		if m := machine(head); m != "" {
			f.Reason = "it is a program for another kind of machine, " + m
		}
	case f.Errno == unix.E2BIG:
		f.Reason = "its arguments and environment are larger than the kernel takes"
	default:
		f.Reason = "the kernel refused"
	}
	return f
}

func readHead(file string) []byte {
	fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	head := make([]byte, 8192)
	n, err := unix.Read(fd, head)
	if err != nil {
		return nil
	}
	return head[:n]
}

// interpreter returns what a script's first line or an ELF file's PT_INTERP
// names, as far as the first bytes tell. The file is the image's and may be anything.
func interpreter(head []byte) string {
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		if f := bytes.Fields(line); len(f) > 0 {
			return string(f[0])
		}
		return ""
	}
	if len(head) < 64 || string(head[:4]) != "\x7fELF" || head[4] != 2 || head[5] != 1 {
		return "" // only the 64-bit little-endian form, which all current machines use
	}
	off := binary.LittleEndian.Uint64(head[32:])
	size, count := uint64(binary.LittleEndian.Uint16(head[54:])), uint64(binary.LittleEndian.Uint16(head[56:]))
	total := uint64(len(head))
	if off > total || size < 56 {
		return ""
	}
	for i := range count {
		at := off + i*size // 16-bit factors cannot overflow
		if at+56 > total {
			return ""
		}
		const ptInterp = 3
		if binary.LittleEndian.Uint32(head[at:]) != ptInterp {
			continue
		}
		from, n := binary.LittleEndian.Uint64(head[at+8:]), binary.LittleEndian.Uint64(head[at+32:])
		if from > total || n > total-from {
			return ""
		}
		s, _, _ := bytes.Cut(head[from:from+n], []byte{0})
		return string(s)
	}
	return ""
}

// machine names the machine of an ELF file, "" for any other file.
func machine(head []byte) string {
	if len(head) < 20 || string(head[:4]) != "\x7fELF" {
		return ""
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if head[5] == 2 {
		order = binary.BigEndian
	}
	switch m := order.Uint16(head[18:]); m {
	case 3:
		return "386"
	case 8:
		return "mips"
	case 21:
		return "ppc64"
	case 22:
		return "s390x"
	case 40:
		return "arm"
	case 62:
		return "amd64"
	case 183:
		return "arm64"
	case 243:
		return "riscv64"
	case 258:
		return "loong64"
	default:
		return fmt.Sprintf("ELF machine %d", m)
	}
}
