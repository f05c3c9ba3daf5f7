//go:build linux

package faulttest_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/pprof"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// crowded is how many processes a child may have below it. No graph needs a tenth of them; a program that starts itself does,
	// and would have the machine before its time is up.
	crowded = 300
	// lastWords is how long a child has for its stacks once it was asked for them, and dying how long it may take to be gone when killed.
	lastWords, dying = 10 * time.Second, time.Minute
)

// child is a process that a test has started. It ends: what does not in its time is asked for the stacks of its goroutines and
// killed with all that it has started.
type child struct {
	cmd       *exec.Cmd
	what      string // it does, and what goes wrong meanwhile
	family    *family
	out, errs limited
	ended     chan struct{} // closed once err says how
	err       error
}

// hungError is a child that did not end by itself.
type hungError struct{ what, why, stacks string }

func (e *hungError) Error() string {
	return fmt.Sprintf("HANGS, seed %d: %s: %s; it and all below it were killed; it wrote\n%s", *seed, e.why, e.what, e.stacks)
}

// family is the children of this process that are alive and somebody waits for: what else is below this process is left over.
type family struct {
	mu    sync.Mutex
	alive map[int]bool
}

// newFamily has what is below this process now for alive as long as this process.
func newFamily() *family {
	f := &family{alive: map[int]bool{}}
	for _, p := range below(os.Getpid(), nil) {
		f.alive[p.pid] = true
	}
	return f
}

// start starts a child.
func (f *family) start(t testing.TB, cmd *exec.Cmd, what string) *child {
	t.Helper()
	c := &child{cmd: cmd, what: what, family: f, ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &c.out, &c.errs
	cmd.WaitDelay = dying // after its end, for those that hold its output open
	f.mu.Lock()
	err := cmd.Start()
	if err == nil {
		f.alive[cmd.Process.Pid] = true
	}
	f.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		c.err = cmd.Wait()
		f.mu.Lock()
		delete(f.alive, cmd.Process.Pid)
		f.mu.Unlock()
		close(c.ended)
	}()
	return c
}

// wait waits for a child for as long as the bound, and returns how it ended: with a *hungError if it did not by itself.
func (c *child) wait(bound time.Duration) error {
	why := c.watch(bound)
	if why == "" {
		return c.err
	}
	c.askForStacks()
	if left := c.family.kill(c); len(left) > 0 {
		why += fmt.Sprintf(", and these are there even when killed: %v", left)
	}
	select {
	case <-c.ended:
	case <-time.After(dying):
		why += ", and cannot be waited for"
	}
	text := c.errs.String()
	return &hungError{c.what, why, text[:min(len(text), 48<<10)]}
}

// watch returns why a child must be ended; empty if it has ended itself.
func (c *child) watch(bound time.Duration) string {
	up := time.After(bound)
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case <-c.ended:
			return ""
		case <-up:
			return fmt.Sprintf("it has not ended in %v", bound)
		case <-look.C:
			if n := len(c.tree()); n > crowded {
				return fmt.Sprintf("it is %d processes by now", n)
			}
		}
	}
}

// askForStacks has the first of the child's processes that are this program write the stacks of their goroutines.
func (c *child) askForStacks() {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return
	}
	var asked []int
	for _, p := range c.tree() {
		if exe, err := os.Stat(fmt.Sprintf("/proc/%d/exe", p.pid)); err == nil && os.SameFile(self, exe) && len(asked) < 4 {
			_ = unix.Kill(p.pid, unix.SIGQUIT)
			asked = append(asked, p.pid)
		}
	}
	alive := func(pid int) bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid)) // a zombie has none
		return err == nil
	}
	for until := time.Now().Add(lastWords); slices.ContainsFunc(asked, alive) && time.Now().Before(until); {
		time.Sleep(2 * time.Millisecond)
	}
}

// tree lists a child, if it lives, and what is below it.
func (c *child) tree() []process {
	select {
	case <-c.ended:
		return nil
	default:
		pid := c.cmd.Process.Pid
		return append([]process{{pid: pid}}, below(pid, nil)...)
	}
}

// kill kills a child and everything below it, and what has been left to this process, until nothing of it is there any more or
// time is up. It returns what is left. A nil child is none.
func (f *family) kill(c *child) []process {
	for until := time.Now().Add(dying); ; time.Sleep(2 * time.Millisecond) { // nobody tells when a process that is no child of ours ends
		left := f.leftOver()
		if c != nil {
			left = append(left, c.tree()...)
		}
		for _, p := range left {
			_ = unix.Kill(p.pid, unix.SIGKILL)
		}
		if len(left) == 0 || time.Now().After(until) {
			return left
		}
	}
}

// leftOver lists the processes below this one but those that are alive by right and what is below them, and takes the exit status of those
// that have ended.
func (f *family) leftOver() []process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(below(os.Getpid(), f.alive), func(p process) bool {
		if p.state != 'Z' {
			return false
		}
		if p.parent == os.Getpid() {
			_, _ = unix.Wait4(p.pid, nil, unix.WNOHANG, nil)
		}
		return true
	})
}

// within calls a function of this process that ends when its context does, and fails the test when it has not ended by the
// bound, with the stacks of all goroutines. The function is left where it is; the processes that it has started are killed.
func (w *world) within(t *testing.T, bound time.Duration, what string, do func() error) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- do() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(bound):
	}
	var stacks bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&stacks, 2)
	w.family.kill(nil)
	t.Fatalf("HANGS, seed %d: %s has not ended in %v\n%s", *seed, what, bound, stacks.String())
	return errors.New("unreachable")
}

// limited keeps the beginning of what is written to it.
type limited struct {
	mu   sync.Mutex
	text []byte
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p[:min(len(p), 64<<20-len(l.text))]...)
	return len(p), nil
}

func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
