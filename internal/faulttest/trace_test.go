//go:build linux

package faulttest_test

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// needsStrace skips a test where system calls cannot be watched, or made to fail, from outside.
func needsStrace(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=fsync", "/bin/true").CombinedOutput(); err != nil {
		t.Skipf("strace does not work here (Debian package strace): %v\n%s", err, out)
	}
}

// call is a system call that strace saw. A call is over before another has begun if its End is less than the other's Begin.
type call struct {
	Begin, End int // lines of the trace
	Process    string
	Name, Text string
	OK         bool
}

var (
	beginning = regexp.MustCompile(`^(\d+) +([a-z0-9_]+)\((.*)$`)
	resumed   = regexp.MustCompile(`^(\d+) +<\.\.\. ([a-z0-9_]+) resumed>(.*)$`)
	result    = regexp.MustCompile(`\) += (-?\d+)`)
)

// parseTrace reads what strace -f -y wrote.
func parseTrace(t testing.TB, text []byte) []call {
	t.Helper()
	var calls []call
	open := map[string]int{} // process to its call that has not ended
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		line := lines.Text()
		if m := resumed.FindStringSubmatch(line); m != nil {
			if i, ok := open[m[1]]; ok && calls[i].Name == m[2] {
				calls[i].end(n, m[3])
				delete(open, m[1])
			}
			continue
		}
		m := beginning.FindStringSubmatch(line)
		if m == nil {
			continue // a signal, an exit
		}
		c := call{Begin: n, End: 1 << 30, Process: m[1], Name: m[2], Text: m[3]}
		if strings.HasSuffix(c.Text, "<unfinished ...>") {
			open[c.Process] = len(calls)
		} else {
			c.end(n, c.Text)
		}
		calls = append(calls, c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return calls
}

func (c *call) end(line int, text string) {
	m := result.FindStringSubmatch(text)
	c.End, c.OK = line, m != nil && !strings.HasPrefix(m[1], "-")
}

// traced has a child do the order under strace and returns the calls of these names.
func (o *order) traced(t *testing.T, calls string) ([]call, []answer, error) {
	t.Helper()
	file := o.World.in("trace")
	got, err := o.run(t, "strace", "-f", "-qq", "-y", "-s", "4096", "--seccomp-bpf", "-e", "signal=none", "-e", "trace="+calls, "-o", file)
	text, rerr := os.ReadFile(file)
	if rerr != nil {
		t.Fatal(rerr, err)
	}
	return parseTrace(t, text), got, err
}

// supported leaves out the system calls that this architecture does not have.
var supported = sync.OnceValue(func() func(names string) string {
	known := map[string]bool{}
	return func(names string) string {
		var list []string
		for _, n := range strings.Split(names, ",") {
			ok, tried := known[n]
			if !tried {
				ok = exec.Command("strace", "-qq", "-o", "/dev/null", "-e", "trace="+n, "/bin/true").Run() == nil
				known[n] = ok
			}
			if ok {
				list = append(list, n)
			}
		}
		return strings.Join(list, ",")
	}
})

// inject are words before a child's own, so that of its system calls of one name the n-th, and with more all after it, goes wrong:
// "signal=KILL" or "error=EIO". Each thread counts for itself.
func inject(name string, n int, more bool, fault string) []string {
	when := fmt.Sprint(n)
	if more {
		when += "+"
	}
	words := []string{"strace", "-f", "-qq", "-o", "/dev/null", "-e", "signal=none", "-e", "trace=" + name, "-e", fmt.Sprintf("inject=%s:%s:when=%s", name, fault, when)}
	if !strings.HasPrefix(fault, "signal=") { // with the filter, which is faster, strace 6.1 sends none
		words = slices.Insert(words, 3, "--seccomp-bpf")
	}
	return words
}

// needsInjection skips a test where strace makes no system call go wrong in this way.
func needsInjection(t *testing.T, fault string) {
	t.Helper()
	needsStrace(t)
	words := append(inject("exit_group", 1, false, fault), "/bin/true")
	if err := exec.Command(words[0], words[1:]...).Run(); err == nil {
		t.Skipf("%v is as if nothing had happened", words)
	}
}
