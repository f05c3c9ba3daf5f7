package sandboxtest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// endCases are about streams and how processes end.
var endCases = []suiteCase{
	{"ExitCode", false, testExitCode},
	{"Signal", false, testSignal},
	{"Streams", false, testStreams},
	{"BrokenWriter", false, testBrokenWriter},
	{"BlockedReader", false, testBlockedReader},
	{"BackgroundDies", false, testBackground},
	{"Cancel", false, testCancel},
	{"Concurrent", false, testConcurrent},
}

func testExitCode(f *fixture) {
	for _, code := range []int{1, 3, 125, 126, 127, 255} {
		st, err := f.runner.Run(f.Context(), f.spec("exit", fmt.Sprint(code)))
		if err != nil || st.Code != code || st.Signal != "" {
			f.Errorf("exit %d: %+v, %v", code, st, err)
		}
	}
}

func testSignal(f *fixture) {
	if f.o.emulated() {
		f.Skip("the prober ends itself with a system call filter, which emulators do not have")
	}
	st, err := f.runner.Run(f.Context(), f.spec("sigsys"))
	if err != nil || st.Signal != "SIGSYS" || st.Code != 128+31 {
		f.Errorf("killed by SIGSYS: %+v, %v", st, err)
	}
}

func testStreams(f *fixture) {
	var out, errOut bytes.Buffer
	s := f.spec("say")
	s.Stdout, s.Stderr = &out, &errOut
	if st, err := f.runner.Run(f.Context(), s); err != nil || !st.Success() {
		f.Fatal(st, err)
	}
	equal(f, "stdout", out.String(), "to stdout\n")
	equal(f, "stderr", errOut.String(), "to stderr\n")

	in := strings.Repeat("0123456789abcdef", 1<<16) // more than a pipe holds
	s = f.spec("cat")
	s.Stdin = strings.NewReader(in)
	if got := f.run(s); got != in {
		f.Errorf("%d bytes came back of %d", len(got), len(in))
	}
	equal(f, "empty input", f.run(f.spec("cat")), "")

	var both bytes.Buffer // not safe for two goroutines: one writer, one goroutine
	s = f.spec("many", "20000")
	s.Stdout, s.Stderr = &both, &both
	if st, err := f.runner.Run(f.Context(), s); err != nil || !st.Success() {
		f.Fatal(st, err)
	}
	equal(f, "lines", strings.Count(both.String(), "\n"), 40000)
}

var errFull = errors.New("no space for the output")

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errFull }

func testBrokenWriter(f *fixture) {
	s := f.spec("many", "100000")
	s.Stdout = fullWriter{}
	if _, err := f.runner.Run(f.Context(), s); !errors.Is(err, errFull) {
		f.Errorf("got %v, want the writer's error", err)
	}
}

func testBlockedReader(f *fixture) {
	r, w := io.Pipe()
	defer w.Close()
	s := f.spec("euid")
	s.Stdin = r
	equal(f, "output", f.run(s), "0") // returns although r never does
}

// alive reports whether any process of the machine has marker among its arguments.
func alive(f *fixture, marker string) bool {
	f.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(all) == 0 {
		f.Skip("no /proc to look for processes in")
	}
	for _, p := range all {
		b, err := os.ReadFile(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			continue // it ended while it was read
		}
		if bytes.Contains(b, []byte(marker)) {
			return true
		}
	}
	return false
}

func testBackground(f *fixture) {
	marker := fmt.Sprintf("marker-%d-%s", os.Getpid(), f.Name())
	s := f.spec("background", marker)
	f.run(s) // does not wait for the grandchild, which holds the pipes
	if alive(f, marker) {
		f.Error("a background process outlived the step")
	}
}

func testCancel(f *fixture) {
	cause := errors.New("the user pressed a key")
	ctx, cancel := context.WithCancelCause(f.Context())
	marker := fmt.Sprintf("marker-%d-%s", os.Getpid(), f.Name())
	s := f.spec("sleep", marker)
	r, w := io.Pipe()
	s.Stdout = w
	done := make(chan error, 1)
	go func() {
		_, err := f.runner.Run(ctx, s)
		done <- err
	}()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "ready\n" {
		f.Fatal(line, err)
	}
	if !alive(f, marker) {
		f.Error("the control sees no process while it runs")
	}
	cancel(cause)
	err := <-done
	if !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		f.Errorf("got %v, want one that wraps context.Canceled and the cause", err)
	}
	if alive(f, marker) {
		f.Error("a process outlived the cancelled step")
	}
	f.noTrace(s.Root)
	if _, err := f.runner.Run(ctx, f.spec("euid")); !errors.Is(err, context.Canceled) {
		f.Errorf("a Run with a cancelled context: %v", err)
	}
}

func testConcurrent(f *fixture) {
	var wg sync.WaitGroup
	errs := make([]error, 8)
	specs := make([]*sandbox.Spec, len(errs))
	outs := make([]bytes.Buffer, len(errs))
	for i := range errs {
		specs[i] = f.spec("write", "/x", fmt.Sprint(i))
		specs[i].Stderr = &outs[i]
	}
	for i := range errs {
		wg.Go(func() {
			st, err := f.runner.Run(f.Context(), specs[i])
			if err == nil && !st.Success() {
				err = fmt.Errorf("%+v: %s", st, outs[i].String())
			}
			errs[i] = err
		})
	}
	wg.Wait()
	for i, s := range specs {
		b, err := os.ReadFile(filepath.Join(s.Root.Upper, "x"))
		if errs[i] != nil || err != nil || string(b) != fmt.Sprint(i) {
			f.Errorf("run %d: %v, file %q %v", i, errs[i], b, err)
		}
	}
}
