package arch

import (
	"bytes"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// BinfmtDir is where binfmt_misc is mounted.
const BinfmtDir = "/proc/sys/fs/binfmt_misc"

// A Handler is an interpreter that a kernel has for files which begin in a certain way.
type Handler struct {
	Name        string
	Interpreter string // a path, inside the root of the process that executes such a file unless FixBinary
	Enabled     bool   // and so is binfmt_misc as a whole
	FixBinary   bool   // flag F: the interpreter was opened when it was registered
	Offset      int    // where Magic begins
	Magic, Mask []byte // nil for a Handler by file name extension; the bits of Magic that count
}

// Bounds of what is read of the kernel, whose own are smaller.
const (
	maxHandlers = 4096
	maxEntry    = 64 << 10
)

// Handlers reads the registrations that a mounted binfmt_misc shows in dir, which is [BinfmtDir] but in tests. None, and no
// error, is the answer where it is not mounted: the kernel can have some all the same, as inside a container.
func Handlers(dir string) ([]Handler, error) {
	status, err := readEntry(filepath.Join(dir, "status"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("arch: %w", err)
	}
	on := strings.TrimSpace(string(status)) == "enabled"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("arch: %w", err)
	}
	if len(entries) > maxHandlers {
		return nil, fmt.Errorf("arch: %s has %d registrations; at most %d are looked at", dir, len(entries), maxHandlers)
	}
	var list []Handler
	for _, e := range entries {
		if e.Name() == "status" || e.Name() == "register" {
			continue
		}
		content, err := readEntry(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("arch: %w", err)
		}
		h := parseHandler(content)
		h.Name, h.Enabled = e.Name(), h.Enabled && on
		list = append(list, h)
	}
	return list, nil
}

func readEntry(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxEntry))
}

// parseHandler reads what the kernel shows of one registration. What it does not understand, of a newer kernel, it leaves out.
func parseHandler(content []byte) Handler {
	var h Handler
	for line := range strings.Lines(string(content)) {
		word, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch word {
		case "enabled":
			h.Enabled = true
		case "interpreter":
			h.Interpreter = value
		case "flags:":
			h.FixBinary = strings.Contains(value, "F")
		case "offset":
			h.Offset, _ = strconv.Atoi(value) // what is no number is 0, where all magics of programs are
		case "magic":
			h.Magic, _ = hex.DecodeString(value) // what is no hexadecimal number matches nothing
		case "mask":
			h.Mask, _ = hex.DecodeString(value)
		}
	}
	return h
}

// Takes says whether the kernel gives files that begin with head to the Handler, if it is enabled.
func (h Handler) Takes(head []byte) bool {
	if len(h.Magic) == 0 || h.Offset < 0 || h.Offset > len(head) || len(head)-h.Offset < len(h.Magic) {
		return false
	}
	if len(h.Mask) != 0 && len(h.Mask) != len(h.Magic) {
		return false
	}
	for i, m := range h.Magic {
		mask := byte(0xff)
		if len(h.Mask) != 0 {
			mask = h.Mask[i]
		}
		if (head[h.Offset+i]^m)&mask != 0 {
			return false
		}
	}
	return true
}

// For returns those of list that the kernel would give programs of arch to, were they enabled.
func For(arch string, list []Handler) []Handler {
	var out []Handler
	for _, h := range list {
		if h.Takes(Program(arch)) {
			out = append(out, h)
		}
	}
	return out
}

// CheckStatic returns nil when path is a program that needs no other file to run, and otherwise says what it is. What it is a
// program for is not looked at.
func CheckStatic(path string) error {
	head := make([]byte, 4)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.ReadFull(f, head); err != nil || !bytes.Equal(head, []byte("\x7fELF")) {
		return fmt.Errorf("%s is not a program but a script or another file", path)
	}
	program, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked to libraries of this machine, which the root of a step does not have", path)
		}
	}
	return nil
}
