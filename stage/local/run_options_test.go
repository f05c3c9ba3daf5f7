package local_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/sandbox"
)

func TestTimeout(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	marker := fmt.Sprintf("929292.%d", os.Getpid())
	var err error
	for limit := 300 * time.Millisecond; ; limit *= 2 { // a busy machine may not even have started the shell when time is up
		_, err = e.Execute(t.Context(), compile(t, base.Run("echo started; sleep "+marker+" & sleep "+marker, stage.Timeout(limit))), stage.Request{})
		timeout, ok := errors.AsType[*stage.TimeoutError](err)
		if !ok || !errors.Is(err, stage.ErrTimeout) || timeout.Timeout != limit {
			t.Fatalf("got %v", err)
		}
		if timeout.Tail == "started\n" {
			break
		}
		if timeout.Tail != "" || limit > time.Minute {
			t.Fatalf("after %v it has said %q", limit, timeout.Tail)
		}
	}
	var at *stage.Error
	if !errors.As(err, &at) || at.Pos.Line == 0 {
		t.Errorf("no position: %v", err)
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		if data, _ := os.ReadFile(p); strings.Contains(string(data), marker) {
			t.Errorf("%s is left: %q", p, data)
		}
	}
	build(t, e, base.Run("true", stage.Timeout(time.Hour)), stage.Request{})
}

// A cache mount remembers attempts, the stage's own files do not.
func TestRetry(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	count := "echo x >> /c/n; echo x >> /own; n=$(cat /c/n | wc -l); echo this is $n; "
	g := compile(t, base.Run(count+"[ $n -ge 3 ] && cp /own /out", stage.CacheMount("/c"), stage.Retry(4), stage.Capture()))
	var notes strings.Builder
	res, err := e.Execute(t.Context(), g, stage.Request{Progress: func(ev stage.Event) {
		if out, ok := ev.(stage.StepOutput); ok && out.Stream == stage.Stderr {
			notes.Write(out.Data)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	if got := read(t, res, "out"); got != "x\n" {
		t.Errorf("the third attempt saw %q of its own files", got)
	}
	for _, want := range []string{"attempt 1 of 5: exit code 1", "attempt 2 of 5: exit code 1"} {
		if !strings.Contains(notes.String(), want) {
			t.Errorf("%q is not in the output %q", want, notes.String())
		}
	}
	if out, err := stage.OutputOf(res, g.Targets()[0].Step); err != nil || string(out.Stdout) != "this is 3\n" || len(out.Stderr) > 0 {
		t.Errorf("captured %+v, %v, want the last attempt's output", out, err)
	}
	_, err = e.Execute(t.Context(), compile(t, base.Run("echo x >> /d/n; cat /d/n | wc -l; false", stage.CacheMount("/d"), stage.Retry(2))), stage.Request{})
	if exit, ok := errors.AsType[*stage.ExitError](err); !ok || !strings.HasSuffix(exit.Tail, "3\n") {
		t.Errorf("three attempts that fail: %v", err)
	}
}

func TestAllowExit(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	const command = "echo left > /f; exit 3"
	res := build(t, e, base.Run(command, stage.AllowExit(2, 3), stage.Capture()), stage.Request{})
	if got := read(t, res, "f"); got != "left\n" {
		t.Errorf("files %q", got)
	}
	if out, err := stage.OutputOf(res, res.Outputs()[0].Target.Step); err != nil || out.ExitCode != 3 {
		t.Errorf("%+v, %v", out, err)
	}
	// The result of a step that may fail is none for a step that may not.
	for _, s := range []stage.Stage{base.Run(command), base.Run(command, stage.AllowExit(2)), base.Run(command, stage.Capture())} {
		_, err := e.Execute(t.Context(), compile(t, s), stage.Request{})
		if exit, ok := errors.AsType[*stage.ExitError](err); !ok || exit.Code != 3 {
			t.Errorf("got %v, want exit code 3", err)
		}
	}
}

func TestCapture(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	s := base.Run("cat; echo err >&2; cat /proc/sys/kernel/random/uuid", stage.Stdin("the input\n"), stage.Capture()).Env("AFTER", "1")
	var first stage.RunOutput
	for i := range 2 {
		e := executor(t, dir, local.Options{})
		res := build(t, e, s, stage.Request{})
		step := res.Outputs()[0].Target.Step - 1
		out, err := stage.OutputOf(res, step)
		if err != nil || !strings.HasPrefix(string(out.Stdout), "the input\n") || string(out.Stderr) != "err\n" {
			t.Fatalf("%+v, %v", out, err)
		}
		if i == 0 {
			first = out
		} else if string(out.Stdout) != string(first.Stdout) || res.Report().Ran() != 0 {
			t.Errorf("a hit gives %q, the step gave %q; %d steps ran", out.Stdout, first.Stdout, res.Report().Ran())
		}
		if _, err := stage.OutputOf(res, step-1); !errors.Is(err, stage.ErrUnsupported) {
			t.Errorf("a step that captures nothing: %v", err)
		}
		if _, err := stage.OutputOf(res, 99); !errors.Is(err, stage.ErrUnknownStage) {
			t.Errorf("no step: %v", err)
		}
	}
	// Output is not lost with other records: another input is another step.
	e := executor(t, dir, local.Options{})
	res := build(t, e, base.Run("cat; echo err >&2; cat /proc/sys/kernel/random/uuid", stage.Stdin("other"), stage.Capture()), stage.Request{})
	if out, err := stage.OutputOf(res, res.Outputs()[0].Target.Step); err != nil || !strings.HasPrefix(string(out.Stdout), "other") {
		t.Errorf("%+v, %v", out, err)
	}
	_, err := e.Execute(t.Context(), compile(t, base.Run("head -c 20000000 /dev/zero", stage.Capture())), stage.Request{})
	if err == nil || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("too much output: %v", err)
	}
}

func TestRunEnvironment(t *testing.T) {
	base := shell(t).File("/etc/passwd", "root:x:0:0::/root:/bin/sh\nfirst:x:7:7::/first:/bin/sh\nsecond:x:7:7::/second:/bin/sh\n")
	e := executor(t, t.TempDir(), local.Options{})
	secrets := map[string]stage.Secret{"token": stage.SecretValue("from secret")}
	for _, c := range []struct {
		name string
		s    stage.Stage
		want string
	}{
		{"home", base.Run("echo $HOME > /out"), "/root\n"},
		{"empty home", base.Env("HOME", "").Run("echo $HOME > /out"), "/root\n"},
		{"configured home", base.Env("HOME", "/h").Run("echo $HOME > /out"), "/h\n"},
		{"no passwd", base.Remove("/etc/passwd").Run("echo $HOME > /out"), "/\n"},
		{"secret over variable", base.Env("TOKEN", "of env").Run("env | grep TOKEN > /out", stage.SecretEnv("token", "TOKEN")), "TOKEN=from secret\n"},
		{"hosts", base.Run("tail -n 2 /etc/hosts > /out", stage.ExtraHost("db", "10.1.2.3"), stage.ExtraHost("six", "fd00::1")), "10.1.2.3\tdb\nfd00::1\tsix\n"},
		{"script place", base.Script("#!/bin/sh\necho $0 > /out\n", stage.ScriptPath("/dev/pipes/EOF")), "/dev/pipes/EOF\n"},
		{"mounts by depth", base.Run("cat /a/b/token > /out; ls /a >> /out", stage.SecretMount("token", stage.At("/a/b/token")), stage.TmpfsMount("/a", 1<<20)), "from secretb\n"},
		{"no agent", base.Run("echo x$SSH_AUTH_SOCK > /out", stage.SSHMount("", stage.OptionalSecret())), "x\n"},
	} {
		res := build(t, e, c.s, stage.Request{Secrets: secrets})
		if got := read(t, res, "out"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Proxies are seen under both spellings, and neither they nor addresses of hosts, times and limits
// are in the key.
func TestNotInKey(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	ran := func(proxy, ip string, more ...stage.RunOption) (string, int) {
		opts := append([]stage.RunOption{stage.ExtraHost("db", ip)}, more...)
		g, err := stage.Compile(t.Context(), []stage.Stage{base.Run("echo $HTTP_PROXY $http_proxy $HTTPS_PROXY > /out", opts...)},
			stage.Options{Args: arg.Values{"http_proxy": proxy}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := e.Execute(t.Context(), g, stage.Request{})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		return read(t, res, "out"), res.Report().Ran()
	}
	if out, _ := ran("http://one", "10.0.0.1"); out != "http://one http://one\n" {
		t.Errorf("the step saw %q", out)
	}
	if _, n := ran("http://two", "10.0.0.2", stage.Timeout(time.Hour), stage.Retry(3), stage.WithLimits(stage.Limits{Ulimits: []stage.Ulimit{{Name: "core"}}})); n != 0 {
		t.Errorf("%d steps ran again for another proxy and address", n)
	}
	if _, n := ran("", "10.0.0.2", stage.ExtraHost("other", "10.0.0.3")); n == 0 {
		t.Error("another host name is not in the key")
	}
}

func TestLimits(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	res := build(t, e, base.Run("ulimit -n > /out || cat /proc/self/limits > /out", stage.WithLimits(stage.Limits{Ulimits: []stage.Ulimit{{Name: "nofile", Soft: 321, Hard: 321}}})), stage.Request{})
	if got := read(t, res, "out"); !strings.Contains(got, "321") {
		t.Errorf("the limits are %q", got)
	}
	for _, u := range []stage.Ulimit{{Name: "nonsense"}, {Name: "nofile", Soft: 1 << 40, Hard: 1 << 40}} {
		_, err := e.Execute(t.Context(), compile(t, base.Run("true # "+u.Name, stage.WithLimits(stage.Limits{Ulimits: []stage.Ulimit{u}}))), stage.Request{})
		if at, ok := errors.AsType[*stage.Error](err); !ok || at.Pos.Line == 0 {
			t.Errorf("%v: %v, want an error with a position", u, err)
		}
	}
	_, err := e.Execute(t.Context(), compile(t, base.Run("dd if=/dev/zero of=/big/x bs=1000000 count=100 2>&1 || cat /dev/zero > /big/x",
		stage.TmpfsMount("/big", 0), stage.WithLimits(stage.Limits{Memory: 64 << 20}))), stage.Request{})
	if limit, ok := errors.AsType[*sandbox.LimitError](err); ok {
		t.Skip(limit)
	}
	if exit, ok := errors.AsType[*stage.ExitError](err); !ok || exit.Cause != "more than 64 MiB of memory" || !strings.Contains(err.Error(), exit.Cause) {
		t.Errorf("got %v, want an end for want of memory", err)
	}
}

// TestSSH has a step talk to an agent as ssh-add -l does.
func TestSSH(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "id_ed25519")
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	s := base.Run(`test -S "$SSH_AUTH_SOCK" && echo $SSH_AUTH_SOCK > /out; stat -c '%a %u %g' /run/buildkit/ssh_agent.1 >> /out`,
		stage.SSHMount(""), stage.SSHMount("other", stage.MountMode(0o660)))
	agents := map[string]stage.SSHAgent{"default": {Keys: []string{file}}, "other": {Keys: []string{file}}}
	res := build(t, e, s, stage.Request{SSH: agents})
	if got := read(t, res, "out"); got != "/run/buildkit/ssh_agent.0\n660 0 0\n" {
		t.Errorf("got %q", got)
	}
	for _, n := range names(t, res, "run/") {
		t.Errorf("a mount left %s behind", n)
	}
	delete(agents, "other")
	_, err = e.Execute(t.Context(), compile(t, s), stage.Request{SSH: agents})
	if err == nil || !strings.Contains(err.Error(), `the SSH agent "other" is required`) {
		t.Errorf("an agent that is not given: %v", err)
	}
	_, err = e.Execute(t.Context(), compile(t, base.Run("true # bad", stage.SSHMount(""))), stage.Request{SSH: map[string]stage.SSHAgent{"default": {Keys: []string{"/no/such/key"}}}})
	if err == nil || !strings.Contains(err.Error(), "/no/such/key") {
		t.Errorf("a key that is not there: %v", err)
	}
}

func TestCacheSeed(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	e := executor(t, dir, local.Options{})
	seed := func(text string) stage.Stage {
		return stage.Scratch(stage.As("seed")).Mkdir("/s", stage.Mode(0o750)).File("/s/f", text).Symlink("f", "/s/l")
	}
	run := func(text, id string, from stage.Source, opts ...stage.MountOption) string {
		s := base.Run("{ "+text+"; } > /out # "+id, stage.CacheMount("/c", append(opts, stage.ID(id), stage.SeedFrom(from, "s"))...))
		return read(t, build(t, e, s, stage.Request{}), "out")
	}
	if got := run("cat /c/l; stat -c %a /c; echo changed > /c/f", "a", seed("one")); got != "one750\n" {
		t.Errorf("a new directory has %q", got)
	}
	if got := run("cat /c/f; echo again", "a", seed("two")); got != "changed\nagain\n" {
		t.Errorf("a directory that was there has %q", got)
	}
	if got := run("stat -c %a /c; cat /c/f", "b", stage.FS(fstest.MapFS{"s/f": {Data: []byte("fs")}}), stage.MountMode(0o711)); got != "711\nfs" {
		t.Errorf("seeded from a file system: %q", got)
	}
	_, err := e.Execute(t.Context(), compile(t, base.Run("true", stage.CacheMount("/c", stage.ID("c"), stage.SeedFrom(seed("x"), "s/f")))), stage.Request{})
	if err == nil || !strings.Contains(err.Error(), "no directory") {
		t.Errorf("seeded from a file: %v", err)
	}
	// The step is found again whatever the seed is.
	s := func(text string) stage.Stage {
		return base.Run("echo same > /same", stage.CacheMount("/c", stage.ID("d"), stage.SeedFrom(seed(text), "s")))
	}
	build(t, e, s("one"), stage.Request{})
	for _, step := range build(t, e, s("two"), stage.Request{}).Report().Steps {
		if strings.Contains(step.Text, "same") && step.Status != stage.Hit {
			t.Errorf("%s: %s for another seed", step.Text, step.Status)
		}
	}
}

// In compatible mode mounts of one id share nothing when they begin in different ways.
func TestCompatibleCache(t *testing.T) {
	e := executor(t, t.TempDir(), local.Options{})
	base := stage.From(shell(t), stage.As("compatible"), stage.Compatible(stage.DockerRules{}))
	plain, mode := stage.CacheMount("/c"), stage.CacheMount("/c", stage.MountMode(0o700))
	s := base.Run("echo x > /c/f", plain).Run("test ! -e /c/f && echo y > /c/g", mode).Run("test -e /c/f && test ! -e /c/g", plain).Run("test -e /c/g", mode)
	build(t, e, s, stage.Request{})
	read := stage.CacheMount("/c", stage.ReadOnly())
	build(t, e, base.Run("echo x > /c/f", plain).Run("cat /c/f && ! touch /c/f", read), stage.Request{})
	build(t, e, base.Run("test \"${TOKEN-unset}\" = ''", stage.SecretEnv("none", "TOKEN", stage.OptionalSecret())), stage.Request{})
	if _, err := e.Execute(t.Context(), compile(t, base.Run("test -n \"$SSH_AUTH_SOCK\" && test ! -e $SSH_AUTH_SOCK", stage.SSHMount("", stage.OptionalSecret()))), stage.Request{}); err != nil {
		t.Error(err)
	}
}
