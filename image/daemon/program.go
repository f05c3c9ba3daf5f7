package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/content"
	"github.com/stagewright/stagewright/platform"
)

// program is ctr or kind, with the arguments that every call has.
type program struct {
	path    string
	args    []string
	install string // what to do when there is none
}

const (
	maxOutput = 16 << 20 // bytes of what a program lists
	waitDelay = 5 * time.Second
)

// run runs the program and returns its standard output. It ends with ctx.
func (p program) run(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	args = append(p.args[:len(p.args):len(p.args)], args...)
	cmd := exec.CommandContext(ctx, p.path, args...)
	stdout, stderr := &tail{max: maxOutput}, &tail{max: maxMessage}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if stdin != nil {
		cmd.Stdin = &input{stdin, cmd}
	}
	cmd.WaitDelay = waitDelay // children of the program may keep its pipes
	err := cmd.Run()
	switch cause := context.Cause(ctx); {
	case err == nil:
		return stdout.String(), nil
	case cause != nil:
		return "", cause
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("%w; %s", err, p.install)
	}
	text := oneLine(stderr.String(), maxMessage)
	if text == "" {
		return "", fmt.Errorf("%s: %w", cmd, err)
	}
	return "", fmt.Errorf("%s: %w: %s", cmd, err, text)
}

// input kills the program when its input breaks off, before it can take what it has for the whole.
type input struct {
	io.Reader
	cmd *exec.Cmd
}

func (i *input) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		_ = i.cmd.Process.Kill() // it may have ended
	}
	return n, err
}

// tail keeps the last bytes that are written to it.
type tail struct {
	buf bytes.Buffer
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if n := t.buf.Len() - t.max; n > 0 {
		t.buf.Next(n)
	}
	return len(p), nil
}

func (t *tail) String() string { return t.buf.String() }

// named parses names, of which there must be one.
func named(refs []string) ([]content.Name, error) {
	names, err := content.ParseNames(refs)
	if err == nil && len(names) == 0 {
		err = errors.New("it knows images by their names alone; give one, like app:1.0")
	}
	return names, err
}

// pick takes the image for a machine's containers out of an artifact.
func (o Options) pick(a image.Artifact) (*delivery, error) {
	d := &delivery{}
	return d, d.choose(a, func() (platform.Platform, error) {
		if o.Platform.IsZero() {
			return content.HostPlatform(), nil
		}
		return o.Platform, nil
	})
}
