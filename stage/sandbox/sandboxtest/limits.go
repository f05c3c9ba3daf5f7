package sandboxtest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// limitCases are about Spec.Limits. A Runner may be unable to enforce one; then it says
// so before anything runs, and the case ends there.
var limitCases = []suiteCase{
	{"LimitMemory", false, testLimitMemory},
	{"LimitMemoryOfChild", false, testLimitMemoryOfChild},
	{"LimitPids", false, testLimitPids},
	{"LimitCPU", false, testLimitCPU},
	{"LimitAll", false, testLimitAll},
	{"Rlimits", false, testRlimits},
	{"RlimitTooHigh", false, testRlimitTooHigh},
	{"RlimitBinds", false, testRlimitBinds},
}

// limited runs s with limits. It skips the rest of the case where the Runner cannot
// enforce them.
func (f *fixture) limited(s *sandbox.Spec, l sandbox.Limits) (sandbox.Status, string) {
	f.Helper()
	s.Limits = l
	var out bytes.Buffer
	s.Stdout, s.Stderr = &out, nil
	st, err := f.runner.Run(f.Context(), s)
	if e, ok := errors.AsType[*sandbox.LimitError](err); ok {
		if e.Limit == "" || e.Cause == "" {
			f.Errorf("%v does not say which limit, or not why", err)
		}
		if out.Len() > 0 {
			f.Errorf("a process whose limits cannot be enforced has run: %q", out.String())
		}
		f.noTrace(s.Root)
		f.Skip(err)
	}
	if err != nil {
		f.Fatalf("run %q: %v", s.Args, err)
	}
	return st, out.String()
}

func testLimitMemory(f *fixture) {
	st, out := f.limited(f.spec("eat", "16"), sandbox.Limits{Memory: 256 << 20})
	if !st.Success() || out != "16" || st.Exceeded.Memory {
		f.Errorf("a little memory: %+v, %q", st, out)
	}
	st, out = f.limited(f.spec("eat", "256"), sandbox.Limits{Memory: 64 << 20})
	if st.Signal != "SIGKILL" || st.Code != 137 || !st.Exceeded.Memory || out != "" {
		f.Errorf("too much memory: %+v, %q, want a process that was killed for it", st, out)
	}
}

func testLimitMemoryOfChild(f *fixture) {
	st, _ := f.limited(f.spec("run", "eat", "256"), sandbox.Limits{Memory: 64 << 20})
	if st.Code != 1 || !st.Exceeded.Memory {
		f.Errorf("a child that uses too much memory: %+v", st)
	}
	s := f.spec("fill", "/big/file", "128")
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/big"}}
	if st, _ := f.limited(s, sandbox.Limits{Memory: 64 << 20}); st.Success() || !st.Exceeded.Memory {
		f.Errorf("files in memory beyond the limit: %+v", st)
	}
}

func testLimitPids(f *fixture) {
	st, out := f.limited(f.spec("spawn", "60"), sandbox.Limits{Pids: 5000})
	if !st.Success() || out != "60" || st.Exceeded.Pids {
		f.Errorf("a high limit: %+v, %q", st, out)
	}
	// The prober may as well end because its own runtime gets no thread.
	if _, out := f.limited(f.spec("spawn", "60"), sandbox.Limits{Pids: 30}); out == "60" {
		f.Error("60 processes were started, with 30 allowed")
	}
}

func testLimitCPU(f *fixture) {
	if st, out := f.limited(f.spec("euid"), sandbox.Limits{CPU: 0.5}); !st.Success() || out != "0" {
		f.Errorf("half a processor: %+v, %q", st, out)
	}
}

func testLimitAll(f *fixture) {
	s := f.spec("read", "/proc/self/cgroup")
	st, out := f.limited(s, sandbox.Limits{Memory: 1 << 30, Pids: 1000, CPU: 2, Rlimits: []sandbox.Rlimit{{Name: "core"}}})
	if !st.Success() || st.Exceeded != (sandbox.Exceeded{}) {
		f.Errorf("all limits: %+v, %q", st, out)
	}
	f.noTrace(s.Root)
}

func testRlimits(f *fixture) {
	for _, c := range []struct {
		limit  sandbox.Rlimit
		number string
		want   string
	}{
		{sandbox.Rlimit{Name: "nofile", Soft: 200, Hard: 200}, "7", "200 200"},
		{sandbox.Rlimit{Name: "core"}, "4", "0 0"},
		{sandbox.Rlimit{Name: "fsize", Soft: 4096, Hard: sandbox.Unlimited}, "1", "4096 unlimited"},
		{sandbox.Rlimit{Name: "nproc", Soft: 300, Hard: 301}, "6", "300 301"},
		{sandbox.Rlimit{Name: "as", Soft: 1 << 33, Hard: 1 << 34}, "9", "8589934592 17179869184"},
		{sandbox.Rlimit{Name: "stack", Soft: 1 << 20, Hard: 1 << 21}, "3", "1048576 2097152"},
		{sandbox.Rlimit{Name: "cpu", Soft: 100, Hard: 100}, "0", "100 100"},
	} {
		f.Run(c.limit.Name, func(t *testing.T) {
			g := *f
			g.T = t
			st, out := g.limited(g.spec("rlimit", c.number), sandbox.Limits{Rlimits: []sandbox.Rlimit{c.limit}})
			if !st.Success() || out != c.want {
				g.Errorf("%+v: %q, want %q", st, out, c.want)
			}
		})
	}
}

// testRlimitTooHigh asks for more than the kernel gives anybody (fs.nr_open).
func testRlimitTooHigh(f *fixture) {
	s := f.spec("euid")
	s.Limits.Rlimits = []sandbox.Rlimit{{Name: "nofile", Soft: 1 << 40, Hard: 1 << 40}}
	_, err := f.runner.Run(f.Context(), s)
	if e, ok := errors.AsType[*sandbox.LimitError](err); !ok || e.Limit != "nofile" || e.Cause == "" {
		f.Errorf("got %v, want a *LimitError about nofile", err)
	}
	f.noTrace(s.Root)
}

func testRlimitBinds(f *fixture) {
	st, _ := f.limited(f.spec("write", "/x", fmt.Sprintf("%5000d", 1)), sandbox.Limits{Rlimits: []sandbox.Rlimit{{Name: "fsize", Soft: 1000, Hard: 1000}}})
	if st.Success() {
		f.Error("a file of 5000 bytes was written, with 1000 allowed")
	}
}
