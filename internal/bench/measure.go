package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A sample is one run, of one process or of several at once.
type sample struct {
	Wall time.Duration `json:"wall"`
	CPU  time.Duration `json:"cpu"`  // of the processes, and of BuildKit's daemon
	Peak int64         `json:"peak"` // bytes of the largest process without its children, or of the daemon
}

// A command is one process to be run.
type command struct {
	Args []string `json:"args"`
	Dir  string   `json:"dir"`
}

// childWord is the first argument of this program when it is the parent of what is measured.
const childWord = "measured-child"

// measure runs commands at once and waits for all of them. They are started by a small process, since a process's peak begins with that of
// the one that starts it.
func measure(ctx context.Context, log string, commands ...command) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	text, err := json.Marshal(commands)
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
		return sample{}, fmt.Errorf("%v: %w: %s", commands[0].Args, err, tail(said, 2000))
	}
	var s sample
	err = json.Unmarshal(result, &s)
	return s, err
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// measuredChild is the process that measure starts: it runs the commands and writes the sample.
func measuredChild(text string) error {
	var commands []command
	if err := json.Unmarshal([]byte(text), &commands); err != nil {
		return err
	}
	cmds := make([]*exec.Cmd, len(commands))
	errs := make([]error, len(commands))
	var group sync.WaitGroup
	start := time.Now()
	for i, c := range commands {
		cmds[i] = exec.Command(c.Args[0], c.Args[1:]...)
		cmds[i].Dir, cmds[i].Stdout, cmds[i].Stderr = c.Dir, os.Stderr, os.Stderr
		cmds[i].SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if errs[i] = cmds[i].Start(); errs[i] == nil {
			group.Go(func() { errs[i] = cmds[i].Wait() })
		}
	}
	done := make(chan struct{})
	peak := make(chan int64, 1)
	go func() { peak <- watchPeaks(cmds, done) }()
	group.Wait()
	s := sample{Wall: time.Since(start)}
	close(done)
	s.Peak = <-peak
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, cmd := range cmds {
		s.CPU += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

// watchPeaks returns the largest peak of the processes, without what they started. What the system says at their end is the peak of their
// children and of their parent, too, so they are asked every few milliseconds.
func watchPeaks(cmds []*exec.Cmd, done <-chan struct{}) (peak int64) {
	for tick := time.NewTicker(3 * time.Millisecond); ; {
		select {
		case <-done:
			tick.Stop()
			return peak
		case <-tick.C:
		}
		for _, cmd := range cmds {
			if cmd.Process == nil {
				continue
			}
			if u, err := peakOf(cmd.Process.Pid); err == nil {
				peak = max(peak, u)
			}
		}
	}
}

// peakOf is the peak memory of a running process (VmHWM of proc_pid_status(5)).
func peakOf(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("VmHWM: %w", err)
	}
	return kib << 10, nil
}

// usage is what a running process has used.
type usage struct {
	cpu  time.Duration
	peak int64
}

// usageOf reads the processor time of a process and of its ended children, and its peak memory.
func usageOf(pid int) (usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return usage{}, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var u usage
	for _, i := range []int{11, 12, 13, 14} { // utime, stime, cutime, cstime of proc_pid_stat(5), in ticks of 10 ms
		ticks, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return usage{}, err
		}
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	u.peak, err = peakOf(pid)
	return u, err
}

// resetPeak makes a process's peak its present memory (clear_refs of proc_pid(5)).
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
