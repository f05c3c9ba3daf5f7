package namespaces_test

import (
	"context"
	"fmt"
	"os"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

func ExampleRunner_Run() {
	runner := namespaces.New(namespaces.Options{})
	status, err := runner.Run(context.Background(), &sandbox.Spec{
		Root:   sandbox.Root{Lowers: []string{"/var/lib/rootfs"}, Upper: "/var/tmp/step/upper", Work: "/var/tmp/step/work"},
		Args:   []string{"sh", "-c", "make install"},
		Env:    []string{"PATH=/usr/bin:/bin"},
		Dir:    "/src",
		Stdout: os.Stdout,
		Stderr: os.Stderr,
	})
	if err != nil {
		fmt.Println("could not run:", err)
		return
	}
	fmt.Println("exit code", status.Code)
}

func ExampleRunner_Probe() {
	if err := namespaces.New(namespaces.Options{}).Probe(context.Background()); err != nil {
		fmt.Println(err) // names the cause and the fix
	}
}

func ExampleSubordinateIDs() {
	root := sandbox.Root{Lowers: []string{"/var/lib/rootfs"}}
	if ids, err := namespaces.SubordinateIDs(); err == nil {
		root.IDs = ids // steps may chown, and run as any user
	}
}

// A Spec that means nothing is refused on every machine.
func ExampleNew() {
	runner := namespaces.New(namespaces.Options{})
	_, err := runner.Run(context.Background(), &sandbox.Spec{Args: []string{"true"}})
	fmt.Println(err)
	// Output: sandbox: invalid spec: Root has neither Lowers nor Upper
}
