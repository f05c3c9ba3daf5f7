package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func env(p *proc, args []string) error {
	o, operands, err := parse("+ i/ignore-environment u/unset: C/chdir: 0/null S:", args)
	if err != nil {
		return err
	}
	if o.has("S") {
		return usagef("-S is not supported")
	}
	if len(operands) > 0 && operands[0] == "-" {
		o.set["i"], operands = true, operands[1:]
	}
	environ := os.Environ()
	if o.has("i") {
		environ = nil
	}
	set := func(name, entry string) {
		environ = slices.DeleteFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
		if entry != "" {
			environ = append(environ, entry)
		}
	}
	for _, name := range o.values["u"] {
		set(name, "")
	}
	for len(operands) > 0 {
		name, _, ok := strings.Cut(operands[0], "=")
		if !ok {
			break
		}
		set(name, operands[0])
		operands = operands[1:]
	}
	if len(operands) == 0 {
		end := "\n"
		if o.has("0") {
			end = "\x00"
		}
		for _, kv := range environ {
			p.out.WriteString(kv + end)
		}
		return nil
	}
	if dir := o.value("C", ""); dir != "" {
		if err := os.Chdir(dir); err != nil {
			p.warn(err)
			return exitStatus(125)
		}
	}
	// The program is looked up in the PATH that it will have.
	for _, kv := range environ {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			os.Setenv("PATH", path)
		}
	}
	path, err := exec.LookPath(operands[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		fmt.Fprintf(p.err, "env: '%s': %s\n", operands[0], notFoundReason(err))
		return exitStatus(127)
	}
	if path == "" {
		path = operands[0]
	}
	err = syscall.Exec(path, operands, environ)
	fmt.Fprintf(p.err, "env: '%s': %s\n", operands[0], reason(err))
	return exitStatus(126)
}

func notFoundReason(err error) string {
	if errors.Is(err, syscall.EACCES) {
		return "Permission denied"
	}
	return "No such file or directory"
}

func sleep(p *proc, args []string) error {
	if len(args) == 0 {
		return usagef("missing operand")
	}
	var total time.Duration
	for _, arg := range args {
		if arg == "infinity" || arg == "inf" {
			for {
				time.Sleep(1 << 62)
			}
		}
		unit, number := time.Second, arg
		for suffix, u := range map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour} {
			if text, ok := strings.CutSuffix(arg, suffix); ok {
				unit, number = u, text
			}
		}
		n, err := strconv.ParseFloat(number, 64)
		if err != nil || n < 0 || n*float64(unit) > 1<<62 {
			return usagef("invalid time interval '%s'", arg)
		}
		total += time.Duration(n * float64(unit))
	}
	time.Sleep(total)
	return nil
}

func kill(p *proc, args []string) error {
	sig := syscall.SIGTERM
	if len(args) > 0 && args[0] == "-l" {
		for i, name := range signalNames() {
			fmt.Fprintf(p.out, "%d) %s\n", signalNumbers()[i], name)
		}
		return nil
	}
	name := ""
	switch {
	case len(args) > 1 && (args[0] == "-s" || args[0] == "-n"):
		name, args = args[1], args[2:]
	case len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0] != "--":
		name, args = args[0][1:], args[1:]
	}
	if name != "" {
		var ok bool
		if sig, ok = signalByName(name); !ok {
			return usagef("%s: invalid signal specification", name)
		}
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		return usagef("usage: kill [-s signal | -signal] pid...")
	}
	for _, arg := range args {
		pid, err := strconv.Atoi(arg)
		if err != nil {
			p.warn(fmt.Errorf("%s: arguments must be process ids", arg))
			continue
		}
		if err := syscall.Kill(pid, sig); err != nil {
			p.warn(fmt.Errorf("(%d) - %w", pid, err))
		}
	}
	return nil
}

func signalNames() []string {
	return []string{"HUP", "INT", "QUIT", "ILL", "ABRT", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "CONT", "STOP", "TSTP"}
}

func signalNumbers() []syscall.Signal {
	return []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGILL, syscall.SIGABRT, syscall.SIGFPE, syscall.SIGKILL,
		syscall.SIGUSR1, syscall.SIGSEGV, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGALRM, syscall.SIGTERM, syscall.SIGCHLD, syscall.SIGCONT,
		syscall.SIGSTOP, syscall.SIGTSTP}
}

func signalByName(name string) (syscall.Signal, bool) {
	if n, err := strconv.Atoi(name); err == nil {
		return syscall.Signal(n), n >= 0 && n <= 64
	}
	i := slices.Index(signalNames(), strings.TrimPrefix(strings.ToUpper(name), "SIG"))
	if i < 0 {
		return 0, false
	}
	return signalNumbers()[i], true
}

// ps lists the processes of this pid namespace: id, parent, state, command line.
func ps(p *proc, _ []string) error {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%5s %5s %s %s\n", "PID", "PPID", "S", "COMMAND")
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	for _, pid := range pids {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended
		}
		// The name is in parentheses and may itself hold some.
		open, end := strings.IndexByte(string(data), '('), strings.LastIndexByte(string(data), ')')
		if open < 0 || end < open {
			continue
		}
		fields := strings.Fields(string(data[end+1:]))
		if len(fields) < 2 {
			continue
		}
		name := "[" + string(data[open+1:end]) + "]"
		if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(line) > 0 {
			name = strings.TrimSpace(strings.ReplaceAll(string(line), "\x00", " "))
		}
		fmt.Fprintf(p.out, "%5d %5s %s %s\n", pid, fields[1], fields[0], name)
	}
	return nil
}

func nproc(p *proc, _ []string) error {
	_, err := fmt.Fprintln(p.out, runtime.NumCPU())
	return err
}

func seq(p *proc, args []string) error {
	separator := "\n"
	width := false
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && strings.IndexByte("0123456789.", args[0][1]) < 0 {
		switch {
		case args[0] == "-w":
			width, args = true, args[1:]
		case args[0] == "-s" && len(args) > 1:
			separator, args = args[1], args[2:]
		case strings.HasPrefix(args[0], "-s"):
			separator, args = args[0][2:], args[1:]
		default:
			return usagef("invalid option %q", args[0])
		}
	}
	first, step, last := int64(1), int64(1), int64(0)
	values := make([]int64, len(args))
	for i, arg := range args {
		var err error
		if values[i], err = strconv.ParseInt(arg, 10, 62); err != nil {
			return usagef("%q is not an integer", arg)
		}
	}
	switch len(values) {
	case 1:
		last = values[0]
	case 2:
		first, last = values[0], values[1]
	case 3:
		first, step, last = values[0], values[1], values[2]
	default:
		return usagef("one to three operands are needed, not %d", len(values))
	}
	if step == 0 {
		return usagef("the increment must not be 0")
	}
	digits := 0
	if width {
		digits = max(len(strconv.FormatInt(first, 10)), len(strconv.FormatInt(last, 10)))
	}
	any := false
	for n := first; step > 0 && n <= last || step < 0 && n >= last; n += step {
		if any {
			p.out.WriteString(separator)
		}
		any = true
		if _, err := fmt.Fprintf(p.out, "%0*d", digits, n); err != nil {
			return err
		}
	}
	if any {
		p.out.WriteByte('\n')
	}
	return nil
}
