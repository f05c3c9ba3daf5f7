// Runner puts a sandbox.Runner of its own between the build and the sandbox. This one keeps a diary, and a policy: no step has a
// network. A Runner that starts containers elsewhere, or one for tests that runs nothing, has the same single method.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/examples/internal/base"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// offline runs every process without a network and writes down what ran. It is called by several goroutines at once.
type offline struct {
	sandbox.Runner
	mu    sync.Mutex
	diary []string
}

func (o *offline) Run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	s := *spec // a Runner does not change its Spec
	s.Network = sandbox.NetworkNone
	status, err := o.Runner.Run(ctx, &s)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.diary = append(o.diary, fmt.Sprintf("%s: exit code %d", strings.Join(s.Args, " "), status.Code))
	return status, err
}

func run(ctx context.Context, out io.Writer) error {
	shell, err := base.Shell(ctx)
	if err != nil {
		return err
	}
	app := shell.
		Run("ls /sys/class/net > /interfaces").
		RunExec([]string{"cat", "/interfaces"})

	dir, err := os.MkdirTemp("", "runner-") // a fresh cache: a step that is in the cache does not run
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	runner := &offline{Runner: namespaces.New(namespaces.Options{})}
	res, err := stagewright.Build(ctx, app, stagewright.Options{Runner: runner, CacheDir: dir, Progress: func(e stage.Event) {
		if e, ok := e.(stage.StepOutput); ok {
			fmt.Fprintf(out, "%s: %s", e.Step.Text, e.Data)
		}
	}})
	if err != nil {
		return err
	}
	for _, entry := range runner.diary {
		fmt.Fprintln(out, entry)
	}
	return res.Close()
}

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
