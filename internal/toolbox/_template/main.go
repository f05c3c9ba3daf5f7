// Command toolbox is a shell and the core commands that build scripts use, in one static binary.
//
// The name it is started under selects the command, as in busybox: installed as /bin/sh with links beside it, `sh` is the shell
// and `grep` is grep. Under any other name the first argument selects it: `toolbox grep -c x file`.
//
// The shell is mvdan.cc/sh; base64, cat, chmod, cp, find, gzip, ls, mkdir, mktemp, mv, rm, shasum, tar, touch and xargs are
// u-root's pkg/core; the rest is here, each with the options that POSIX names and people use, and an error for the others.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	args := os.Args
	if len(args) == 0 {
		os.Exit(127)
	}
	table := commands()
	name := filepath.Base(args[0])
	// A login shell's name starts with a dash.
	if len(name) > 1 && name[0] == '-' {
		name = name[1:]
	}
	run, ok := table[name]
	if !ok && len(args) > 1 {
		args = args[1:]
		name = args[0]
		run, ok = table[name]
	}
	if !ok {
		fmt.Fprintf(os.Stderr, "toolbox: no command %q; the commands are %q\n", name, slices.Sorted(maps.Keys(table)))
		os.Exit(127)
	}
	os.Exit(start(name, args[1:], run))
}

// commands is the whole table. The listing that `toolbox --list` prints is what the root filesystem gets links for.
func commands() map[string]command {
	table := map[string]command{
		"--list":    list,
		"basename":  basename,
		"chgrp":     chgrp,
		"chmod":     chmod,
		"chown":     chown,
		"cmp":       cmpFiles,
		"comm":      comm,
		"cut":       cut,
		"date":      date,
		"dirname":   dirname,
		"env":       env,
		"expr":      expr,
		"grep":      grep,
		"head":      head,
		"hostname":  hostname,
		"id":        id,
		"install":   install,
		"kill":      kill,
		"ln":        ln,
		"md5sum":    md5sum,
		"mkfifo":    mkfifo,
		"mv":        mv,
		"nproc":     nproc,
		"od":        od,
		"paste":     paste,
		"ps":        ps,
		"readlink":  readlink,
		"realpath":  realpath,
		"rmdir":     rmdir,
		"sed":       sed,
		"seq":       seq,
		"sh":        shell,
		"sha256sum": sha256sum,
		"sleep":     sleep,
		"sort":      sortLines,
		"stat":      stat,
		"tail":      tail,
		"tee":       tee,
		"tr":        tr,
		"uname":     uname,
		"uniq":      uniq,
		"wc":        wc,
		"which":     which,
		"whoami":    whoami,
		"yes":       yes,
	}
	for _, name := range []string{"[", "echo", "false", "printf", "pwd", "test", "true"} {
		table[name] = builtin(name)
	}
	maps.Copy(table, coreCommands())
	return table
}

func list(p *proc, _ []string) error {
	for _, name := range slices.Sorted(maps.Keys(commands())) {
		if name != "--list" {
			fmt.Fprintln(p.out, name)
		}
	}
	return nil
}
