package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// holdWord is the first argument of this test's program when it is to hold some memory.
const holdWord = "hold"

// The test binary is what measure starts.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == holdWord {
		held := bytes.Repeat([]byte("x"), 64<<20)
		io.WriteString(os.Stdout, "ready\n")
		io.Copy(io.Discard, os.Stdin) // until the test closes it
		os.Exit(int(held[0]) - 'x')
	}
	if len(os.Args) == 3 && os.Args[1] == childWord {
		if err := measuredChild(os.Args[2]); err != nil {
			io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Programs of a command run one after the other; commands at once. A failure ends its command and has what the program said.
func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	touch := func(names ...string) (c command) {
		for _, name := range names {
			c.Steps = append(c.Steps, []string{"sh", "-c", `printf . >>"$0" && sleep 0.05`, filepath.Join(dir, name)})
		}
		return c
	}
	s, err := measure(t.Context(), filepath.Join(dir, "log"), work{Commands: []command{touch("a", "a"), touch("b")}})
	if err != nil || s.Wall <= 0 || s.Children != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	for name, want := range map[string]string{"a": "..", "b": "."} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	failing := command{Steps: [][]string{{"sh", "-c", "echo something >&2; exit 3"}, touch("c").Steps[0]}}
	if _, err := measure(t.Context(), filepath.Join(dir, "log"), work{Commands: []command{failing}}); err == nil || !strings.Contains(err.Error(), "something") {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "c")); err == nil {
		t.Error("what stands behind a failure ran")
	}
}

// The peak of a child is told apart from that of its parent.
func TestPeakBelow(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `"$0" `+holdWord+"; :", self)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	shell, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	own, err := peakOf(cmd.Process.Pid)
	if err != nil || own > 30<<20 {
		t.Errorf("the shell has a peak of %d bytes, %v", own, err)
	}
	if below := peakBelow(cmd.Process.Pid, shell, 0); below < 64<<20 {
		t.Errorf("what it has started has a peak of %d bytes", below)
	}
	if err := stdin.Close(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// The proxy counts bodies in both directions and what was asked, and begins anew each time.
func TestCounter(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == http.MethodGet {
			io.WriteString(w, strings.Repeat("x", 1000))
		}
	}))
	defer server.Close()
	c, err := count("127.0.0.1:0", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.http.Close()
	ask := func(method, path string, n int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+c.address+path, strings.NewReader(strings.Repeat("y", n)))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	ask(http.MethodGet, "/v2/a/blobs/sha256:00", 0)
	ask(http.MethodGet, "/v2/a/manifests/1", 0)
	ask(http.MethodPut, "/v2/a/blobs/uploads/1", 300)
	got := c.take()
	if got.Up != 300 || got.Down != 2000 || got.blobs != 1000 || len(got.requests) != 3 || got.requests["PUT upload"] != 1 {
		t.Errorf("%+v", got)
	}
	if got := c.take(); got.Up+got.Down+got.blobs != 0 || len(got.requests) != 0 {
		t.Errorf("then %+v", got)
	}
}
