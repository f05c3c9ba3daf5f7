package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

// shell is sh: `sh [-abCefhmnuvx] [-o option] [-c script [name [argument...]] | -s [argument...] | file [argument...]]`.
func shell(p *proc, args []string) error {
	call, err := parseShell(args)
	if err != nil {
		return err
	}
	source, name, err := call.open()
	if err != nil {
		fmt.Fprintf(p.err, "sh: %s\n", message(err))
		return exitStatus(127)
	}
	defer source.Close()
	// Bash's grammar is a superset that accepts `local` and `[[`, as most shells installed as sh do; so braces expand too.
	prog, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(source, name)
	if err != nil {
		fmt.Fprintln(p.err, err) // it begins with the name
		return exitStatus(2)
	}
	s := newSession(prog)
	runner, err := interp.New(
		interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
		interp.Params(call.params()...),
		interp.CallHandler(s.call),
		interp.ExecHandler(s.exec),
	)
	if err != nil {
		return usagef("%s", strings.TrimSpace(err.Error()))
	}
	return status(p, runner.Run(context.Background(), prog))
}

func status(p *proc, err error) error {
	var code interp.ExitStatus
	switch {
	case err == nil:
		return nil
	case errors.As(err, &code):
		return exitStatus(code)
	}
	fmt.Fprintf(p.err, "sh: %v\n", err)
	return exitStatus(1)
}

// shellCall is a parsed command line of sh.
type shellCall struct {
	flags    []string // for set
	script   string   // of -c
	isScript bool
	stdin    bool
	operands []string
}

func parseShell(args []string) (*shellCall, error) {
	c := &shellCall{}
	for len(args) > 0 {
		arg := args[0]
		if len(arg) < 2 || (arg[0] != '-' && arg[0] != '+') {
			break
		}
		args = args[1:]
		if arg == "--" {
			break
		}
		if arg == "--login" {
			continue
		}
		for _, letter := range arg[1:] {
			switch letter {
			case 'c':
				c.isScript = true
			case 's':
				c.stdin = true
			case 'l', 'i', 'h', 'm', 'b', 'C':
				// A login or interactive shell differs only in what this one does not have: profiles, job control.
			case 'o':
				if len(args) == 0 {
					return nil, usagef("-o requires an option name")
				}
				c.flags = append(c.flags, arg[:1]+"o", args[0])
				args = args[1:]
			case 'a', 'e', 'f', 'n', 'u', 'v', 'x':
				c.flags = append(c.flags, arg[:1]+string(letter))
			default:
				return nil, usagef("invalid option -- '%c'", letter)
			}
		}
	}
	if len(args) > 0 && args[0] == "-" {
		args = args[1:]
	}
	if c.isScript {
		if len(args) == 0 {
			return nil, usagef("-c requires an argument")
		}
		c.script, args = args[0], args[1:]
	}
	c.operands = args
	return c, nil
}

// open returns the program's text and $0.
func (c *shellCall) open() (io.ReadCloser, string, error) {
	switch {
	case c.isScript && len(c.operands) > 0:
		return io.NopCloser(strings.NewReader(c.script)), c.operands[0], nil
	case c.isScript:
		return io.NopCloser(strings.NewReader(c.script)), "sh", nil
	case c.stdin || len(c.operands) == 0:
		return io.NopCloser(os.Stdin), "sh", nil
	}
	f, err := os.Open(c.operands[0])
	return f, c.operands[0], err
}

// params are the flags and positional parameters as interp wants them.
func (c *shellCall) params() []string {
	operands := c.operands
	if !c.stdin && len(operands) > 0 {
		operands = operands[1:]
	}
	return append(append(append([]string(nil), c.flags...), "--"), operands...)
}

// builtin runs a utility that the shell has built in, for those who start it as a program of its own.
func builtin(name string) command {
	return func(p *proc, args []string) error {
		text := name + ` "$@"`
		prog, err := syntax.NewParser().Parse(strings.NewReader(text), name)
		if err != nil {
			return err
		}
		runner, err := interp.New(
			interp.StdIO(os.Stdin, os.Stdout, os.Stderr),
			interp.Params(append([]string{"--"}, args...)...),
		)
		if err != nil {
			return err
		}
		return status(p, runner.Run(context.Background(), prog))
	}
}
