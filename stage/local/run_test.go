package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// read returns one file of the only target of a result.
func read(t *testing.T, res stage.Result, name string) string {
	t.Helper()
	files, err := res.Files(res.Outputs()[0].Target.Step)
	if err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(files, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// names lists all files of the only target of a result that begin with a prefix.
func names(t *testing.T, res stage.Result, prefix string) []string {
	t.Helper()
	files, err := res.Files(res.Outputs()[0].Target.Step)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	err = fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if strings.HasPrefix(p, prefix) {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func digest(t *testing.T, res stage.Result) string {
	t.Helper()
	d, err := res.Outputs()[0].Image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestRunSees(t *testing.T) {
	base := shell(t).File("/etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n").
		File("/etc/group", "root:x:0:\nweb:x:44:\nlog:x:50:web,root\n")
	tests := []struct {
		name string
		s    stage.Stage
		want string
	}{
		{"environment and directory", base.Env("A", "b c").Workdir("/srv/x").Run(`echo "$A" $PWD $HOME > /out`), "b c /srv/x /root\n"},
		{"exec form", base.RunExec([]string{"cp", "/etc/group", "/out"}), "root:x:0:\nweb:x:44:\nlog:x:50:web,root\n"},
		{"shell", base.Shell("/bin/sh", "-e", "-c").Run("echo $0 x > /out"), "sh x\n"},
		{"script", base.Script("echo a > /out\necho b >> /out\n"), "a\nb\n"},
		{"script with interpreter", base.Script("#!/bin/sh\necho $0 > /out\n"), "/dev/pipes/script\n"},
		{"standard files", base.Run("cat /etc/hosts | head -n 1 > /out"), "127.0.0.1\tlocalhost buildkitsandbox\n"},
		{"tmpfs", base.Run("echo x > /t/x && cat /t/x > /out", stage.TmpfsMount("/t", 1<<20)), "x\n"},
	}
	e := executor(t, t.TempDir(), local.Options{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			res := build(t, e, test.s, stage.Request{})
			if got := read(t, res, "out"); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err := validate.Image(res.Outputs()[0].Image); err != nil {
				t.Error(err)
			}
			for _, n := range names(t, res, "") {
				switch n {
				case "t", "dev/pipes", "etc/hosts", "etc/resolv.conf":
					t.Errorf("a mount left %s behind", n)
				}
			}
		})
	}
}

func TestRunAsOtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		s := shell(t).Run("echo > /never").User("web").Run("true")
		_, err := memory(t, local.Options{}).Execute(t.Context(), compile(t, s), stage.Request{Progress: func(e stage.Event) { t.Errorf("%T before the refusal", e) }})
		if err == nil || !strings.Contains(err.Error(), "runs as the user web") {
			t.Errorf("another user: %v", err)
		}
		return
	}
	base := shell(t).File("/etc/passwd", "root:x:0:0::/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n").
		File("/etc/group", "root:x:0:\nweb:x:44:\nlog:x:50:web,root\n").Mkdir("/w", stage.Mode(0o777))
	e := executor(t, t.TempDir(), local.Options{})
	for user, want := range map[string]string{
		"web":     "33 44 44 50",
		"33":      "33 44 44 50",
		"web:log": "33 50 50",
		"77":      "77 0 0",
		"77:88":   "77 88 88",
	} {
		res := build(t, e, base.User(user).Run(`echo $(id -u) $(id -g) $(id -G) > /w/out`), stage.Request{})
		if got := strings.TrimSpace(read(t, res, "w/out")); got != want {
			t.Errorf("USER %s: got %q, want %q", user, got, want)
		}
	}
	_, err := e.Execute(t.Context(), compile(t, base.User("nobody-here").Run("true")), stage.Request{})
	if err == nil || !strings.Contains(err.Error(), `no user "nobody-here"`) {
		t.Errorf("unknown user: %v", err)
	}
}

func TestRunFails(t *testing.T) {
	base := shell(t)
	cacheDir := t.TempDir()
	e := executor(t, cacheDir, local.Options{})

	_, err := e.Execute(t.Context(), compile(t, base.Run("seq 100000; echo the end; exit 7")), stage.Request{})
	var exit *stage.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 || !strings.HasSuffix(exit.Tail, "the end\n") {
		t.Fatalf("exit code: %v", err)
	}
	log, readErr := os.ReadFile(exit.Log)
	if readErr != nil || !bytes.HasPrefix(log, []byte("1\n2\n")) || bytes.Count(log, []byte("\n")) != 100001 {
		t.Errorf("the log has %d bytes, %v", len(log), readErr)
	}
	var at *stage.Error
	if !errors.As(err, &at) || filepath.Base(at.Pos.File) != "run_test.go" || at.Stage != "shell" || at.Pos.Line == 0 {
		t.Errorf("position: %+v", at)
	}

	_, err = e.Execute(t.Context(), compile(t, base.Run("sh -c 'kill -KILL $$'; exit $?")), stage.Request{})
	if !errors.As(err, &exit) || exit.Code != 137 {
		t.Errorf("killed child: %v", err)
	}
	_, err = e.Execute(t.Context(), compile(t, base.RunExec([]string{"no-such-program"})), stage.Request{})
	if err == nil || !strings.Contains(err.Error(), "no-such-program") || !strings.Contains(err.Error(), "install it in an earlier step") {
		t.Errorf("command not found: %v", err)
	}
	_, err = e.Execute(t.Context(), compile(t, base.Run("true", stage.SecretMount("token"))), stage.Request{})
	if err == nil || !strings.Contains(err.Error(), `secret "token" is required`) {
		t.Errorf("missing secret: %v", err)
	}
	// The cache is as good as before.
	build(t, e, base.Run("true"), stage.Request{})
}

func TestRunChangesBecomeALayer(t *testing.T) {
	base := shell(t).Mkdir("/d/sub").File("/d/sub/f", "1").File("/d/g", "2").File("/keep", "3").Mkdir("/todo")
	e := executor(t, t.TempDir(), local.Options{})
	res := build(t, e, base.Run("rm -rf /d/sub; rm /d/g; mkdir /d/g; echo x > /d/g/h; ln /keep /keep2; ln -s keep l; touch /keep; rmdir /todo; echo f > /todo; chmod 750 /todo"), stage.Request{})
	want := []string{"d", "d/g", "d/g/h"}
	if got := names(t, res, "d/"); fmt.Sprint(got) != fmt.Sprint(want[1:]) {
		t.Errorf("/d has %v, want %v", got, want)
	}
	files, _ := res.Files(res.Outputs()[0].Target.Step)
	info, err := fs.Stat(files, "todo")
	if err != nil || info.Mode() != 0o750 || !info.ModTime().Equal(epoch) {
		t.Errorf("todo: %v %v %v", info.Mode(), info.ModTime(), err)
	}
	if target, err := fs.ReadLink(files, "l"); target != "keep" {
		t.Errorf("link: %q, %v", target, err)
	}
	// What a later Run sees is the same whether this one ran or was a hit.
	later := build(t, e, base.Run("rm -rf /d/sub; rm /d/g; mkdir /d/g; echo x > /d/g/h; ln /keep /keep2; ln -s keep l; touch /keep; rmdir /todo; echo f > /todo; chmod 750 /todo").
		Run("ls -l /d /d/g > /out; cat /keep2 >> /out"), stage.Request{})
	if got := read(t, later, "out"); !strings.Contains(got, "h") || !strings.HasSuffix(got, "3") {
		t.Errorf("later step saw %q", got)
	}

	same := build(t, e, base.Run("true").Run("touch /keep; echo 3 > /tmp/x; rm /tmp/x"), stage.Request{})
	layers, err := same.Outputs()[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	before, err := build(t, e, base, stage.Request{}).Outputs()[0].Image.Layers()
	if err != nil || len(layers) != len(before) {
		t.Errorf("steps that changed nothing made %d layers, %v", len(layers)-len(before), err)
	}
}

// Two steps that can only both end when they run at the same time, and a third
// that is the same as the first and so does not run at all.
func TestRunsInParallelAndOnce(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	mount := stage.CacheMount("/meet")
	wait := func(mine, other string) string {
		return fmt.Sprintf("echo > /meet/%s; while [ ! -e /meet/%s ]; do true; done; echo %s > /%s", mine, other, mine, mine)
	}
	a, b := base.Run(wait("a", "b"), mount), base.Run(wait("b", "a"), mount)
	again := stage.From(base, stage.As("again")).Run(wait("a", "b"), mount)
	app := stage.Scratch().CopyFrom(a, "/a", "/").CopyFrom(b, "/b", "/").CopyFrom(again, "/a", "/c")
	res := build(t, e, app, stage.Request{})
	ran := 0
	for _, step := range res.Report().Steps {
		if strings.HasPrefix(step.Text, "RUN") && step.Status == stage.Ran {
			ran++
		}
	}
	if ran != 2 {
		t.Errorf("%d Run steps ran, want 2", ran)
	}
	if read(t, res, "a") != "a\n" || read(t, res, "b") != "b\n" || read(t, res, "c") != "a\n" {
		t.Error("wrong contents")
	}
}

func TestEarlyCutOff(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	stageOf := func(text string) stage.Stage {
		gen := base.Run(text)
		return stage.From(base).CopyFrom(gen, "/out", "/in").Run("cat /in > /result")
	}
	build(t, e, stageOf("echo same > /out"), stage.Request{})
	res := build(t, e, stageOf("echo   same > /out # another text"), stage.Request{})
	for _, step := range res.Report().Steps {
		if strings.Contains(step.Text, "/result") && step.Status != stage.Hit {
			t.Errorf("%s: %s, although its input did not change", step.Text, step.Status)
		}
		if strings.Contains(step.Text, "another") && step.Status != stage.Ran {
			t.Errorf("%s: %s", step.Text, step.Status)
		}
	}
}

func TestMounts(t *testing.T) {
	base := shell(t)
	cacheDir := t.TempDir()
	e := executor(t, cacheDir, local.Options{})
	request := stage.Request{
		Context: stage.FS(fstest.MapFS{"src/a": {Data: []byte("A")}, "other": {Data: []byte("x")}}),
		Secrets: map[string]stage.Secret{"token": stage.SecretValue("s3cr3t-value")},
	}
	gen := stage.From(base).Run("mkdir /g && echo gen > /g/f")
	s := base.
		Run("cat /c/a > /one; ls -l /run/secrets/token | cut -c1-10 >> /one; test $(cat /run/secrets/token) = $TOKEN; cat /g/f >> /one",
			stage.BindMount(stage.Context(), "src", "/c"), stage.SecretMount("token"), stage.SecretEnv("token", "TOKEN"), stage.BindMount(gen, "/g", "/g")).
		Run("echo changed > /c/a && cat /c/a > /two", stage.BindMount(stage.Context(), "src", "/c", stage.Writable())).
		Run("if echo x > /c/a; then exit 1; fi; cat /single > /three", stage.BindMount(stage.Context(), "src", "/c"), stage.BindMount(stage.Context(), "src/a", "/single"))
	res := build(t, e, s, request)
	if got := read(t, res, "one"); got != "A-r--------\ngen\n" {
		t.Errorf("one: %q", got)
	}
	if got := read(t, res, "two") + read(t, res, "three"); got != "changed\nA" {
		t.Errorf("two, three: %q", got)
	}
	for _, n := range names(t, res, "") {
		if n == "c" || n == "g" || n == "single" || strings.HasPrefix(n, "run/secrets") {
			t.Errorf("a mount left %s behind", n)
		}
	}
	// A file that no step selects, and another value of the secret, change nothing.
	request.Context = stage.FS(fstest.MapFS{"src/a": {Data: []byte("A")}, "other": {Data: []byte("y")}})
	request.Secrets = map[string]stage.Secret{"token": stage.SecretValue("another")}
	if again := build(t, e, s, request); again.Report().Ran() != 0 {
		t.Errorf("%d steps ran again", again.Report().Ran())
	}
	// The secret is nowhere on disk.
	err := filepath.WalkDir(cacheDir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if data, err := os.ReadFile(p); err == nil && bytes.Contains(data, []byte("s3cr3t-value")) {
				t.Errorf("%s holds the secret", p)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestCacheMountsPersist(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	for i := range 3 {
		e := executor(t, dir, local.Options{})
		for _, sharing := range []stage.Sharing{stage.Shared, stage.Locked, stage.Private} {
			s := base.Run(fmt.Sprintf("echo %d >> /m/log; cat /m/log | wc -l > /n", i), stage.CacheMount("/m", stage.ID(string(sharing)), stage.WithSharing(sharing)))
			if got := strings.TrimSpace(read(t, build(t, e, s, stage.Request{}), "n")); got != fmt.Sprint(i+1) {
				t.Errorf("%s: build %d saw %s lines", sharing, i, got)
			}
		}
	}
}

func TestManyRuns(t *testing.T) {
	s := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	for i := range 150 {
		s = s.Run(fmt.Sprintf("echo %d > /f%d; echo %d > /last; rm -f /f%d", i, i, i, i-3))
	}
	res := build(t, e, s.Run("cat /last /f149 /f148 > /out; ls / | grep -c '^f' >> /out"), stage.Request{})
	if got := read(t, res, "out"); got != "149\n149\n148\n3\n" {
		t.Errorf("got %q", got)
	}
}

func TestCancel(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	e := executor(t, dir, local.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	marker := "919191.5"
	var once sync.Once
	_, err := e.Execute(ctx, compile(t, base.Run("echo started; sleep "+marker)), stage.Request{Progress: func(ev stage.Event) {
		if out, ok := ev.(stage.StepOutput); ok && bytes.Contains(out.Data, []byte("started")) {
			once.Do(cancel)
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	procs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, p := range procs {
		if data, _ := os.ReadFile(p); bytes.Contains(data, []byte(marker)) {
			t.Errorf("%s is left: %q", p, data)
		}
	}
	// Others mount things on this machine at the same time; ours would be below the cache.
	if mounts, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(mounts, []byte(dir)) {
		t.Errorf("mounts are left:\n%s", mounts)
	}
	build(t, e, base.Run("true"), stage.Request{})
}

func TestGate(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	app := func(test string) stage.Stage {
		return base.Needs(stage.From(base, stage.As("test")).Run(test)).Run("echo app > /app")
	}
	build(t, e, app("true"), stage.Request{})
	// The app's own steps are all known now; the failing test must hold it back all the same.
	_, err := e.Execute(t.Context(), compile(t, app("echo broken; false")), stage.Request{})
	var at *stage.Error
	if !errors.As(err, &at) || at.Stage != "test" {
		t.Errorf("got %v, want the failure of stage test", err)
	}
}

func TestPlan(t *testing.T) {
	base := shell(t)
	e := executor(t, t.TempDir(), local.Options{})
	s := base.Run("echo a > /a").Run("cat /a > /b")
	count := func(s stage.Stage) map[stage.Status]int {
		plan, err := stage.Plan(t.Context(), e, compile(t, s), stage.Request{})
		if err != nil {
			t.Fatal(err)
		}
		n := map[stage.Status]int{}
		for _, p := range plan {
			if p.Step.Kind() == "run" {
				n[p.Status]++
			}
		}
		return n
	}
	if got := count(s); got[stage.Ran] != 1 || got[""] != 1 {
		t.Errorf("empty cache: %v", got)
	}
	build(t, e, s, stage.Request{})
	if got := count(s); got[stage.Hit] != 2 {
		t.Errorf("full cache: %v", got)
	}
	if got := count(s.Run("echo c")); got[stage.Hit] != 2 || got[stage.Ran] != 1 {
		t.Errorf("one more step: %v", got)
	}
}

// TestRemovalIsAHit: overlayfs shares the inode of a whiteout with its work directory, which goes after the step.
func TestRemovalIsAHit(t *testing.T) {
	dir := t.TempDir()
	s := shell(t).File("/d/f", "lower").Run("rm /d/f && echo new > /d/g")
	for i := range 3 { // each is an executor of its own, as another process would have it
		res := build(t, executor(t, dir, local.Options{}), s, stage.Request{})
		want := stage.Hit
		if i == 0 {
			want = stage.Ran
		}
		for _, step := range res.Report().Steps {
			if strings.Contains(step.Text, "rm /d/f") && step.Status != want {
				t.Errorf("build %d: %s is a %s, want a %s", i, step.Text, step.Status, want)
			}
		}
		if err := stage.RunProcess(t.Context(), res, res.Outputs()[0].Target.Step, stage.Process{Argv: []string{"/bin/cat", "/d/g"}}); err != nil {
			t.Errorf("build %d: a process on top: %v", i, err)
		}
		if err := res.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What a Run left on disk is damaged: the step runs again and gives the same image.
func TestDamagedSnapshot(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	s := base.Run("echo precious > /f")
	want := digest(t, build(t, executor(t, dir, local.Options{}), s, stage.Request{}))
	found := 0
	err := filepath.WalkDir(filepath.Join(dir, "private", "snapshots"), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "f" && d.Type().IsRegular() {
			found++
			return os.WriteFile(p, []byte("damaged!!"), 0o644)
		}
		return err
	})
	if err != nil || found == 0 {
		t.Fatal("found no file to damage", err)
	}
	e := executor(t, dir, local.Options{})
	res := build(t, e, s.Run("cat /f > /g"), stage.Request{})
	if got := read(t, res, "g"); got != "precious\n" {
		t.Errorf("a later step saw %q", got)
	}
	if got := digest(t, build(t, e, s, stage.Request{})); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}
