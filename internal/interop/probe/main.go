// Probe is the program of the test image. It tells, in JSON, what the program that started it made of the image:
//
//	probe self ARG...   the process: user, directory, arguments, environment, what setuid and file capabilities do
//	probe list DIR      the files below DIR
//	probe write FILE    writes what it was compiled for to FILE
//	probe identity      effective user and capabilities
//
// It is static, so that it runs in an image without anything else, and on this machine's kernel in an image for another architecture.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/internal/interop/listing"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command")
	}
	switch args[0] {
	case "self":
		p, err := self(args[1:])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(p)
	case "list":
		if len(args) != 2 {
			return fmt.Errorf("usage: probe list DIR")
		}
		tree, err := listing.Read(args[1], listing.Options{Skip: listing.AddedByEngines, Xattrs: listing.Stored})
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(tree)
	case "write":
		if len(args) != 2 {
			return fmt.Errorf("usage: probe write FILE")
		}
		return os.WriteFile(args[1], []byte(runtime.GOARCH+"\n"), 0o640)
	case "identity":
		_, err := fmt.Printf("%d %s", os.Geteuid(), capabilities())
		return err
	}
	return fmt.Errorf("unknown command %q", args[0])
}

func self(args []string) (listing.Process, error) {
	groups, err := os.Getgroups()
	if err != nil {
		return listing.Process{}, err
	}
	dir, err := os.Getwd()
	if err != nil {
		return listing.Process{}, err
	}
	slices.Sort(groups)
	p := listing.Process{
		Platform: runtime.GOOS + "/" + runtime.GOARCH, User: listing.Owner(uint32(os.Getuid()), uint32(os.Getgid())),
		Groups: groups, Dir: dir, Args: args, Env: os.Environ(),
	}
	p.Setuid, p.Capable = identity("/bin/setuid"), identity("/bin/capable")
	return p, nil
}

// identity runs a copy of this program that has privileges of its own.
func identity(program string) string {
	out, err := exec.Command(program, "identity").CombinedOutput()
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// capabilities are the effective ones of this process.
func capabilities() string {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "CapEff:"); ok {
			return strings.TrimSpace(value)
		}
	}
	return "none"
}
