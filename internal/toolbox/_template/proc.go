package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A command runs with its arguments, its name left out. A nil error is exit status 0, an exitStatus is that status without a
// message, any other error is printed after the command's name and is exit status 1.
type command func(p *proc, args []string) error

// exitStatus ends a command without a message.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is a mistake in the arguments: exit status 2 where POSIX tells it from a failure.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// proc is what a running command sees of its process.
type proc struct {
	name string
	in   io.Reader
	out  *bufio.Writer
	err  io.Writer
	// failed is set by warn: the command goes on with its other operands and ends with status 1.
	failed bool
}

// warn reports a failure that does not stop the command.
func (p *proc) warn(err error) {
	p.out.Flush()
	fmt.Fprintf(p.err, "%s: %s\n", p.name, message(err))
	p.failed = true
}

// start runs a command on the process's own streams and returns its exit status.
func start(name string, args []string, run command) int {
	p := &proc{name: name, in: os.Stdin, out: bufio.NewWriterSize(os.Stdout, 32<<10), err: os.Stderr}
	err := run(p, args)
	if flushErr := p.out.Flush(); err == nil {
		err = flushErr
	}
	var status exitStatus
	var usage *usageError
	switch {
	case err == nil && p.failed:
		return 1
	case err == nil:
		return 0
	case errors.As(err, &status):
		return int(status)
	case errors.Is(err, syscall.EPIPE):
		// The reader has gone, as `head` does; coreutils die of SIGPIPE here.
		return 128 + int(syscall.SIGPIPE)
	}
	fmt.Fprintf(p.err, "%s: %s\n", name, message(err))
	// grep, sort, test, cmp and expr keep 1 for "no", "unsorted" or "differs".
	if errors.As(err, &usage) || name == "grep" || name == "sort" || name == "cmp" || name == "expr" {
		return 2
	}
	return 1
}

// message spells a file error as shells' users know it: the path, then the reason.
func message(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Path + ": " + reason(pe.Err)
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return le.New + ": " + reason(le.Err)
	}
	return err.Error()
}

func reason(err error) string {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return "No such file or directory"
	case errors.Is(err, syscall.EACCES):
		return "Permission denied"
	case errors.Is(err, syscall.EPERM):
		return "Operation not permitted"
	case errors.Is(err, syscall.EISDIR):
		return "Is a directory"
	case errors.Is(err, syscall.ENOTDIR):
		return "Not a directory"
	case errors.Is(err, syscall.EEXIST):
		return "File exists"
	case errors.Is(err, syscall.ENOTEMPTY):
		return "Directory not empty"
	}
	return err.Error()
}

// inputs calls f on each named file, on standard input for "-" and when there is no name. A file that cannot be opened or read
// is reported and skipped; an error that f marks with stopError ends the loop.
func (p *proc) inputs(names []string, f func(name string, r io.Reader) error) error {
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		err := p.input(name, func(r io.Reader) error { return f(name, r) })
		var stop *stopError
		var status exitStatus
		switch {
		case err == nil:
		case errors.As(err, &stop):
			return stop.err
		case errors.As(err, &status), errors.Is(err, syscall.EPIPE):
			return err
		default:
			p.warn(err)
		}
	}
	return nil
}

// stopError makes inputs return err, or nil, without looking at the remaining files.
type stopError struct{ err error }

func (e *stopError) Error() string { return "stop" }

func (p *proc) input(name string, f func(r io.Reader) error) error {
	if name == "-" {
		return f(p.in)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	return f(file)
}

// lines calls f on each line of r without its newline; last is set when the file's last line lacks one.
func lines(r io.Reader, f func(line []byte, unterminated bool) error) error {
	br := bufio.NewReaderSize(r, 64<<10)
	var long []byte
	for {
		part, err := br.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			continue
		}
		if len(long) > 0 {
			long = append(long, part...)
			part = long
		}
		if err != nil && err != io.EOF {
			return err
		}
		if len(part) > 0 {
			unterminated := part[len(part)-1] != '\n'
			if !unterminated {
				part = part[:len(part)-1]
			}
			if ferr := f(part, unterminated); ferr != nil {
				return ferr
			}
		}
		if err == io.EOF {
			return nil
		}
		long = long[:0]
	}
}
