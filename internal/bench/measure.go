package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A sample is one run, of one process or of several at once.
type sample struct {
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"`  // of the processes and of what they waited for, and of BuildKit's daemon
	Peak int64         `json:"peak"` // bytes of the largest process without its children (VmHWM), or of the daemon
	// Children is the peak of the largest process that they started, in bytes. Looking for it takes time, so it is 0 in measured runs.
	Children int64 `json:"children,omitempty"`
}

// A command is one program after the other.
type command struct {
	Steps [][]string `json:"steps"`
	Dir   string     `json:"dir"`
	Env   []string   `json:"env,omitempty"` // beside that of this process
}

// one is the command of one program.
func one(args ...string) command { return command{Steps: [][]string{args}} }

// work is what the small process is to run.
type work struct {
	Commands []command `json:"commands"` // all at once
	Children bool      `json:"children"` // look for the peaks of children, too
}

// childWord is the first argument of this program when it is the parent of what is measured.
const childWord = "measured-child"

// measure runs commands at once and waits for all of them. They are started by a small process, since a process's peak begins with that of
// the one that starts it.
func measure(ctx context.Context, log string, w work) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	text, err := json.Marshal(w)
	if err != nil {
		return sample{}, err
	}
	out, err := os.Create(log)
	if err != nil {
		return sample{}, err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, self, childWord, string(text))
	cmd.Stderr = out
	result, err := cmd.Output()
	if err != nil {
		said, _ := os.ReadFile(log)
		return sample{}, fmt.Errorf("%v: %w: %s", w.Commands[0].Steps, err, tail(said, 2000))
	}
	var s sample
	err = json.Unmarshal(result, &s)
	return s, err
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// measuredChild is the process that measure starts: it runs the commands and writes the sample.
func measuredChild(text string) error {
	var w work
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	var running processes
	errs := make([]error, len(w.Commands))
	used := make([]time.Duration, len(w.Commands))
	var group sync.WaitGroup
	done := make(chan struct{})
	peaks := make(chan sample, 1)
	go func() { peaks <- watchPeaks(&running, w.Children, done) }()
	start := time.Now()
	for i, c := range w.Commands {
		group.Go(func() { used[i], errs[i] = c.run(&running) })
	}
	group.Wait()
	wall := time.Since(start)
	close(done)
	s := <-peaks
	s.Wall = wall
	for _, u := range used {
		s.CPU += u
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

// run runs the programs of a command and returns their processor time.
func (c command) run(running *processes) (cpu time.Duration, err error) {
	for _, args := range c.Steps {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, os.Stderr, os.Stderr
		cmd.Env = append(os.Environ(), c.Env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := running.start(cmd); err != nil {
			return cpu, err
		}
		err := cmd.Wait()
		running.end(cmd)
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if err != nil {
			return cpu, fmt.Errorf("%s: %w", args[0], err)
		}
	}
	return cpu, nil
}

// processes are those that run now.
type processes struct {
	mu   sync.Mutex
	pids map[int]bool
}

func (p *processes) start(cmd *exec.Cmd) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	if p.pids == nil {
		p.pids = map[int]bool{}
	}
	p.pids[cmd.Process.Pid] = true
	return nil
}

func (p *processes) end(cmd *exec.Cmd) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pids, cmd.Process.Pid)
}

func (p *processes) now() (pids []int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pid := range p.pids {
		pids = append(pids, pid)
	}
	return pids
}
