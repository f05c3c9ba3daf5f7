// Prober is the only program in the root filesystems of package sandboxtest. It
// tells what a process in a sandbox sees, and does what a test asks for.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// Facts is what "facts" prints; package sandboxtest has the same type.
type Facts struct {
	PID, UID, EUID, GID int
	Groups              []int
	Hostname, Dir       string
	Args, Env           []string
	Status              map[string]string // of /proc/self/status
	Umask               int
	FDs                 map[string]string // except the one of the listing
	Interfaces          map[string]string // name to IFF_UP flags, of /sys/class/net
	Mounts              []string          // of /proc/self/mountinfo
	Readable            map[string]bool   // masked paths that have content
	Writable            map[string]bool   // read-only paths that open for writing
	Refused             map[string]string // errors of system calls that Docker's policy refuses to all
	TTY                 string            // error of opening /dev/tty
	Processes           []string          // of /proc
}

func main() {
	if len(os.Args) < 2 {
		os.Exit(0) // "true"
	}
	if err := command(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// arch tells what it was compiled for, and executes itself, under the name that is the first argument, with
// the other ones.
func arch(args []string) error {
	fmt.Println(os.Args[0], "is for", runtime.GOARCH)
	if len(args) == 0 {
		return nil
	}
	c := exec.Command(os.Args[0])
	c.Args, c.Stdout, c.Stderr = args, os.Stdout, os.Stderr
	return c.Run()
}

func command(name string, args []string) error {
	switch name {
	case "facts":
		return json.NewEncoder(os.Stdout).Encode(facts())
	case "exit":
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return err
		}
		os.Exit(code)
	case "sigsys":
		return dieBySignal()
	case "arch":
		return arch(args)
	case "cat":
		_, err := io.Copy(os.Stdout, os.Stdin)
		return err
	case "read":
		return read(args)
	case "write":
		return os.WriteFile(args[0], []byte(args[1]), 0o644)
	case "remove":
		return os.RemoveAll(args[0])
	case "mkdir":
		return os.MkdirAll(args[0], 0o755)
	case "say":
		fmt.Fprintln(os.Stdout, "to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
	case "many":
		return many(args[0])
	case "euid":
		fmt.Print(os.Geteuid())
	case "stat":
		return stat(args[0])
	case "dial":
		return dial(args)
	case "rlimit":
		return rlimit(args[0])
	case "eat":
		return eat(args[0])
	case "fill":
		return fill(args[0], args[1])
	case "spawn":
		return spawn(args[0])
	case "run":
		return exec.Command(os.Args[0], args...).Run()
	case "sleep":
		fmt.Println("ready")
		time.Sleep(time.Hour)
	case "nest":
		// As background, but stays until it is killed.
		if err := command("background", args); err != nil {
			return err
		}
		time.Sleep(time.Hour)
	case "background":
		// The grandchildren hold the pipes and outlive their parent, in a
		// session of their own and deaf to signals that can be ignored.
		c := exec.Command(os.Args[0], "sleep", args[0])
		c.Stdout, c.Stderr = os.Stdout, os.Stderr
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		return c.Start()
	default:
		return fmt.Errorf("prober: unknown command %q", name)
	}
	return nil
}

func facts() *Facts {
	f := &Facts{
		PID: os.Getpid(), UID: os.Getuid(), EUID: os.Geteuid(), GID: os.Getgid(),
		Args: os.Args, Env: os.Environ(), Status: map[string]string{}, FDs: map[string]string{},
		Interfaces: map[string]string{}, Readable: map[string]bool{}, Writable: map[string]bool{},
	}
	f.Groups, _ = os.Getgroups()
	f.Hostname, _ = os.Hostname()
	f.Dir, _ = os.Getwd()
	f.Umask = syscall.Umask(0)
	for _, line := range lines("/proc/self/status") {
		if k, v, ok := strings.Cut(line, ":"); ok {
			f.Status[k] = strings.TrimSpace(v)
		}
	}
	for _, e := range entries("/proc/self/fd") {
		if to, err := os.Readlink("/proc/self/fd/" + e); err == nil && !strings.HasPrefix(to, "/proc/") {
			f.FDs[e] = to
		}
	}
	for _, e := range entries("/sys/class/net") {
		f.Interfaces[e] = strings.Join(lines("/sys/class/net/"+e+"/flags"), "")
	}
	f.Mounts = lines("/proc/self/mountinfo")
	for _, p := range []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts", "/proc/acpi", "/proc/scsi", "/sys/firmware"} {
		f.Readable[p] = hasContent(p)
	}
	for _, p := range []string{"/proc/sys/kernel/domainname", "/proc/sysrq-trigger", "/sys/kernel/mm/transparent_hugepage/enabled"} {
		w, err := os.OpenFile(p, os.O_WRONLY, 0)
		f.Writable[p] = err == nil
		if err == nil {
			w.Close()
		}
	}
	_, _, unshare := syscall.Syscall(syscall.SYS_UNSHARE, syscall.CLONE_NEWUSER, 0, 0) // else EINVAL, having threads
	_, _, keyctl := syscall.Syscall(syscall.SYS_KEYCTL, 0, ^uintptr(2), 0)             // else the session keyring
	_, _, clone3 := syscall.Syscall(435, 0, 0, 0)                                      // else EINVAL; fixed on all machines
	f.Refused = map[string]string{"unshare": unshare.Error(), "keyctl": keyctl.Error(), "clone3": clone3.Error()}
	if tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0); err == nil {
		tty.Close()
	} else {
		f.TTY = err.Error()
	}
	for _, e := range entries("/proc") {
		if _, err := strconv.Atoi(e); err == nil {
			f.Processes = append(f.Processes, e)
		}
	}
	return f
}

func lines(path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func entries(path string) []string {
	var out []string
	list, _ := os.ReadDir(path)
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func hasContent(path string) bool {
	st, err := os.Stat(path)
	if err != nil {
		return false
	}
	if st.IsDir() {
		return len(entries(path)) > 0
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	n, _ := f.Read(make([]byte, 1))
	return n > 0
}

func read(paths []string) error {
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		os.Stdout.Write(b)
	}
	return nil
}

// stat prints mode, size, owner and the number of the device behind path.
func stat(path string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return err
	}
	fmt.Printf("%o %d %d:%d %x", st.Mode, st.Size, st.Uid, st.Gid, st.Rdev)
	return nil
}

// dial sends a text to a socket, for each of its arguments after the first, and prints
// the answers.
func dial(args []string) error {
	for _, text := range args[1:] {
		c, err := net.Dial("unix", args[0])
		if err != nil {
			return err
		}
		if _, err := io.WriteString(c, text); err != nil {
			return err
		}
		if err := c.(*net.UnixConn).CloseWrite(); err != nil {
			return err
		}
		if _, err := io.Copy(os.Stdout, c); err != nil {
			return err
		}
		c.Close()
	}
	return nil
}

// rlimit prints both values of the limit with the given number.
func rlimit(number string) error {
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	// Getrlimit would tell of NOFILE what the runtime has made of it.
	out, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return err
	}
	lines := strings.Split(string(out), "\n")
	names := []string{"cpu time", "file size", "data size", "stack size", "core file size", "resident set", "processes", "open files", "locked memory", "address space"}
	for _, l := range lines {
		if _, after, ok := strings.Cut(l, "Max "+names[n]); ok {
			f := strings.Fields(after)
			fmt.Print(f[0], " ", f[1])
		}
	}
	return nil
}

// eat uses n megabytes of memory.
func eat(n string) error {
	count, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	b := make([]byte, count<<20)
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
	fmt.Print(len(b) >> 20)
	return nil
}

// fill writes n megabytes to a file.
func fill(path, n string) error {
	count, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	w, err := os.Create(path)
	if err != nil {
		return err
	}
	for b := make([]byte, 1<<20); count > 0; count-- {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return w.Close()
}

// spawn starts processes until n are there or no more can be, and prints how many
// there are.
func spawn(n string) error {
	count, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	started := 0
	for ; started < count; started++ {
		if _, err := syscall.ForkExec(os.Args[0], []string{os.Args[0], "sleep"}, nil); err != nil {
			break
		}
	}
	fmt.Print(started)
	return nil
}

// many writes n lines to both outputs.
func many(n string) error {
	count, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	out, errOut := bufio.NewWriter(os.Stdout), bufio.NewWriter(os.Stderr)
	for i := range count {
		fmt.Fprintf(out, "out %d\n", i)
		fmt.Fprintf(errOut, "err %d\n", i)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return errOut.Flush()
}

// dieBySignal installs a filter that kills: the one way in which a process 1
// can die by a signal of its own making.
func dieBySignal() error {
	type filter struct {
		code   uint16
		jt, jf uint8
		k      uint32
	}
	insns := []filter{{code: 0x06, k: 0x80000000}} // return SECCOMP_RET_KILL_PROCESS
	prog := struct {
		n uint16
		f *filter
	}{1, &insns[0]}
	const prSetNoNewPrivs, prSetSeccomp, modeFilter = 38, 22, 2
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetNoNewPrivs, 1, 0)
	_, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetSeccomp, modeFilter, uintptr(unsafe.Pointer(&prog)))
	syscall.Getpid()
	return errno
}
