package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// watchPeaks returns the largest peak of the processes, without what they started, and that of what they started. What the system says at
// their end is the peak of their children and of their parent, too, so they are asked every few milliseconds.
func watchPeaks(running *processes, children bool, done <-chan struct{}) (s sample) {
	for tick := time.NewTicker(3 * time.Millisecond); ; {
		select {
		case <-done:
			tick.Stop()
			return s
		case <-tick.C:
		}
		for _, pid := range running.now() {
			if u, err := peakOf(pid); err == nil {
				s.Peak = max(s.Peak, u)
			}
			if children {
				program, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
				s.Children = max(s.Children, peakBelow(pid, program, 0))
			}
		}
	}
}

// peakBelow is the peak of the largest process that pid has started, or that one of those has. A process between fork and exec still is
// its parent's program and has its parent's memory: it does not count.
func peakBelow(pid int, program string, depth int) (peak int64) {
	if depth > 20 {
		return 0
	}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				continue
			}
			if its, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", child)); err == nil && its != program {
				if u, err := peakOf(child); err == nil {
					peak = max(peak, u)
				}
			}
			peak = max(peak, peakBelow(child, program, depth+1))
		}
	}
	return peak
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
