package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// session is one run of the shell: how it starts programs.
type session struct {
	// replace holds the positions of calls after which the shell has nothing left to do, so that the program may take its place,
	// with its process id: `exec program` outside subshells, and a script that is one simple command.
	replace map[syntax.Pos]string // to the word that stands there
	// pending is set while an `exec` at one of those positions is on its way to the exec handler, which sees only its arguments:
	// a position alone does not tell the program from a text that it sources.
	pending atomic.Bool
}

func newSession(prog *syntax.File) *session {
	s := &session{replace: map[syntax.Pos]string{}}
	if len(prog.Stmts) == 1 {
		s.mayReplace(prog.Stmts[0], "")
	}
	s.findExec(prog.Stmts)
	return s
}

// findExec looks for `exec program` in what the shell's own process runs. Subshells, pipes, substitutions, background jobs and
// function bodies share that process here, so an exec inside one of them starts a child instead.
func (s *session) findExec(stmts []*syntax.Stmt) {
	for _, stmt := range stmts {
		if stmt.Background {
			continue
		}
		switch cmd := stmt.Cmd.(type) {
		case *syntax.CallExpr:
			s.mayReplace(stmt, "exec")
		case *syntax.Block:
			s.findExec(cmd.Stmts)
		case *syntax.IfClause:
			for clause := cmd; clause != nil; clause = clause.Else {
				s.findExec(clause.Then)
			}
		case *syntax.BinaryCmd:
			if cmd.Op == syntax.AndStmt || cmd.Op == syntax.OrStmt {
				s.findExec([]*syntax.Stmt{cmd.X, cmd.Y})
			}
		}
	}
}

// mayReplace marks stmt when it is a plain call, of the word want when that is given. A call with redirections stays a child: the
// files are interp's, not the process's.
func (s *session) mayReplace(stmt *syntax.Stmt, want string) {
	call, ok := stmt.Cmd.(*syntax.CallExpr)
	if !ok || stmt.Background || stmt.Negated || len(stmt.Redirs) > 0 || len(call.Args) == 0 {
		return
	}
	word := call.Args[0].Lit()
	if word == "" || (want != "" && word != want) {
		return
	}
	s.replace[call.Pos()] = word
}

// call runs before each simple command, and does here what interp lacks: umask, kill as a program, and trap with signals' names.
func (s *session) call(ctx context.Context, args []string) ([]string, error) {
	hc := interp.HandlerCtx(ctx)
	s.pending.Store(args[0] == "exec" && s.replace[hc.Pos] == "exec")
	switch args[0] {
	case "umask":
		return verdict(umask(hc, args[1:])), nil
	case "kill":
		return append([]string{"env"}, args...), nil
	case "ulimit":
		fmt.Fprintln(hc.Stderr, "sh: ulimit: not supported; limits belong to the step that runs this shell")
		return []string{"false"}, nil
	case "trap":
		return trapArgs(args), nil
	}
	return args, nil
}

func verdict(err error) []string {
	if err != nil {
		return []string{"false"}
	}
	return []string{"true"}
}

func umask(hc interp.HandlerContext, args []string) error {
	if len(args) == 0 || args[0] == "-S" {
		old := syscall.Umask(0)
		syscall.Umask(old)
		_, err := fmt.Fprintf(hc.Stdout, "%04o\n", old)
		return err
	}
	mask, err := strconv.ParseUint(args[0], 8, 12)
	if err != nil || mask > 0o777 {
		fmt.Fprintf(hc.Stderr, "sh: umask: %s: not an octal mask\n", args[0])
		return errors.New("mask")
	}
	syscall.Umask(int(mask))
	return nil
}

// trapArgs spells EXIT as interp knows it. Signals named beside EXIT are dropped: the default action of a signal ends the shell.
func trapArgs(args []string) []string {
	if len(args) < 3 {
		return args
	}
	kept := slices.Clone(args[:2])
	if args[1] == "--" {
		kept = append(kept, args[2])
		args = args[1:]
	}
	exits := false
	for _, name := range args[2:] {
		if name == "0" || name == "EXIT" {
			exits = true
		}
	}
	for _, name := range args[2:] {
		switch {
		case name == "0":
			kept = append(kept, "EXIT")
		case exits && name != "EXIT" && name != "ERR":
		default:
			kept = append(kept, name)
		}
	}
	return kept
}

// exec starts a program and waits for it, or becomes it.
func (s *session) exec(ctx context.Context, args []string) error {
	hc := interp.HandlerCtx(ctx)
	path, err := interp.LookPathDir(hc.Dir, hc.Env, args[0])
	if err != nil {
		return notFound(hc, args[0])
	}
	environ := exported(hc.Env)
	if word, ok := s.replace[hc.Pos]; ok && (word == args[0] || s.pending.Load()) && ownStreams(hc) {
		if os.Chdir(hc.Dir) == nil {
			_ = syscall.Exec(path, args, environ)
		}
		// It fails as starting a child will, with the message below.
	}
	cmd := exec.Cmd{Path: path, Args: args, Env: environ, Dir: hc.Dir, Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr}
	err = run(&cmd)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return interp.ExitStatus(128 + uint8(ws.Signal()))
		}
		return interp.ExitStatus(exit.ExitCode())
	case errors.Is(err, syscall.ENOEXEC):
		// A script without a #! line is run by a shell, as POSIX says.
		self := exec.Cmd{Path: "/proc/self/exe", Args: append([]string{"sh", path}, args[1:]...), Env: environ, Dir: hc.Dir,
			Stdin: hc.Stdin, Stdout: hc.Stdout, Stderr: hc.Stderr}
		if err = run(&self); errors.As(err, &exit) {
			return interp.ExitStatus(exit.ExitCode())
		}
	}
	if err != nil {
		fmt.Fprintf(hc.Stderr, "sh: %s: %s\n", args[0], cause(err))
		return interp.ExitStatus(126)
	}
	return nil
}

// ownStreams reports whether a program that takes the shell's place would have the streams that it is meant to have.
func ownStreams(hc interp.HandlerContext) bool {
	return hc.Stdin == os.Stdin && hc.Stdout == os.Stdout && hc.Stderr == os.Stderr
}

// run waits for a child and hands it the signals that end a shell, so that a stopped container stops what it runs;
// the shell then ends by the same signal's status, without a trap.
func run(cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	var got os.Signal
	for {
		select {
		case err := <-done:
			// A signal may have come together with the child's end: the child may be the kill that sent it. Stop returns once
			// all that came are in the channel, and the next to come ends the process itself.
			signal.Stop(signals)
			select {
			case got = <-signals:
			default:
			}
			if n, ok := got.(syscall.Signal); ok {
				os.Exit(128 + int(n))
			}
			return err
		case got = <-signals:
			_ = cmd.Process.Signal(got)
		}
	}
}

// notFound tells a file that cannot be executed from one that is not there.
func notFound(hc interp.HandlerContext, name string) error {
	if strings.Contains(name, "/") {
		path := name
		if !strings.HasPrefix(path, "/") {
			path = hc.Dir + "/" + path
		}
		fi, err := os.Stat(path)
		switch {
		case err == nil && fi.IsDir():
			fmt.Fprintf(hc.Stderr, "sh: %s: Is a directory\n", name)
			return interp.ExitStatus(126)
		case err == nil:
			fmt.Fprintf(hc.Stderr, "sh: %s: Permission denied\n", name)
			return interp.ExitStatus(126)
		}
	}
	fmt.Fprintf(hc.Stderr, "sh: %s: not found\n", name)
	return interp.ExitStatus(127)
}

func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return reason(errno)
	}
	return err.Error()
}

// exported is the environment of a child, sorted by name.
func exported(env expand.Environ) []string {
	values := map[string]string{}
	for name, v := range env.Each {
		if !v.Exported || !v.IsSet() || v.Kind != expand.String {
			delete(values, name)
			continue
		}
		values[name] = v.String()
	}
	list := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list = append(list, name+"="+values[name])
	}
	return list
}
