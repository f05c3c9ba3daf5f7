package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// poker is a program that does what the shell cannot.
func poker(t *testing.T) string {
	t.Helper()
	return compiled(t, "poke", `package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args, err)
		os.Exit(1)
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	check(err)
	return n
}

// CAP_NET_BIND_SERVICE and the effective bit, revision 2.
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func main() {
	args := os.Args[2:]
	switch os.Args[1] {
	case "chown":
		check(os.Lchown(args[2], number(args[0]), number(args[1])))
	case "chmod":
		mode, err := strconv.ParseUint(args[0], 8, 32)
		check(err)
		check(syscall.Chmod(args[1], uint32(mode)))
	case "stat":
		for _, name := range args {
			var st syscall.Stat_t
			check(syscall.Lstat(name, &st))
			fmt.Printf("%s %d:%d %o %d\n", name, st.Uid, st.Gid, st.Mode, st.Nlink)
		}
	case "ids":
		groups, err := os.Getgroups()
		check(err)
		fmt.Println(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid(), groups)
		status, err := os.ReadFile("/proc/self/status")
		check(err)
		for _, line := range strings.Split(string(status), "\n") {
			if strings.HasPrefix(line, "Cap") {
				fmt.Println(line)
			}
		}
	case "setxattr":
		check(syscall.Setxattr(args[0], args[1], []byte(args[2]), 0))
	case "setcap":
		check(syscall.Setxattr(args[0], "security.capability", []byte(capability), 0))
	case "xattr":
		buf := make([]byte, 1000)
		n, err := syscall.Getxattr(args[0], args[1], buf)
		check(err)
		fmt.Printf("%x\n", buf[:n])
	case "mknod":
		check(syscall.Mknod(args[0], syscall.S_IFCHR|0o666, 0x103))
	case "mkfifo":
		check(syscall.Mkfifo(args[0], 0o620))
	case "rename":
		check(os.Rename(args[0], args[1]))
	}
}
`)
}

// idCase is a step that has to do with ids.
type idCase struct {
	name, run string
	root      bool // it takes more ids than an ordinary user has
	user      string
	opts      []stage.RunOption
	want      string // the first mismatch, where ids on the host can be others
	kept      string // why they were not
}

var idCases = []idCase{
	{name: "map of ids", run: "cat /proc/self/uid_map > /out", want: "/out: content: "},
	{name: "map of groups", run: "test -e /no || cat /proc/self/gid_map > /out", want: "/out: content: "},
	{name: "mode by the map", run: `touch /out; if grep -q "1073741824" /proc/self/uid_map; then chmod 600 /out; fi`, want: "/out: mode: 0644, then 0600"},
	{name: "owner by the map", root: true, run: `touch /out; if grep -q "1073741824" /proc/self/uid_map; then poke chown 5 6 /out; fi`, want: "/out: owner: 0:0, then 5:6"},
	{name: "owner of the machine's files", root: true, run: "poke stat /proc/version > /out", want: "/out: content: "},

	{name: "device nodes", root: true, run: "poke mknod /node; poke stat /node", kept: "operation not permitted"},
	{name: "ids that nobody has", root: true, run: "poke chown 4294967290 0 /f", kept: "invalid argument"},

	{name: "owners", root: true, run: `for i in 1 999 1000 65534 65535 100000 1073741823 1073741824 3221225470; do
		touch /own-$i; poke chown $i $i /own-$i; mkdir /dir-$i; poke chown 0 $i /dir-$i; done; poke stat /own-* /dir-* > /out`},
	{name: "owners of what was there", root: true, run: "poke chown 7 70000 /f; poke chown 8 8 /d/x; poke chown 0 0 /owned; poke stat /f /owned /owned-dir/a > /out; echo more >> /owned-dir/a"},
	{name: "owners of links", root: true, run: "ln -s f /l; poke chown 1000 1000 /l; poke stat /l > /out; poke mkfifo /p; poke chown 3 4 /p"},
	{name: "modes", run: "poke chmod 4755 /f; poke chmod 2755 /d; poke chmod 1777 /d/sub; touch /s; poke chmod 6711 /s; poke stat /f /d /d/sub /s > /out"},
	{name: "setuid programs", root: true, user: "2000:2000", run: "/bin/asuser ids > /work/out; poke ids >> /work/out; poke stat /bin/asuser >> /work/out"},
	{name: "user", root: true, user: "1000:100", run: "poke ids > /work/out; mkdir /work/d; echo x > /work/d/f; poke chmod 700 /work/d; poke stat /work /work/d /work/d/f >> /work/out; test ! -w /f"},
	{name: "nobody", root: true, user: "65534:65534", run: "poke ids > /work/out; poke stat /work/out >> /work/out"},
	{name: "streams", run: "echo a > /dev/stdout; echo b > /dev/stderr; echo c > /dev/null; cat < /dev/zero | head -c 3 > /out; poke stat /dev /dev/null /dev/pts /dev/shm > /out"},
	{name: "streams of a user", root: true, user: "1000", run: "echo a > /dev/stdout; echo b > /dev/stderr; touch /dev/shm/x"},
	{name: "attributes", run: "poke setxattr /f user.a 1; poke setxattr /new user.b 2 || { touch /new; poke setxattr /new user.b 2; }; poke xattr /f user.a > /out"},
	{name: "capabilities", root: true, run: "touch /c; poke setcap /c; poke xattr /c security.capability > /out; poke setcap /f"},
	{name: "capabilities of what was there", root: true, run: "poke xattr /bin/capable security.capability > /out; poke chmod 711 /bin/capable; poke rename /bin/capable2 /bin/moved"},
	{name: "capable programs", root: true, user: "1000", run: "/bin/capable ids > /work/out && poke ids >> /work/out; grep -q CapEff:.*0400 /work/out"},
	{name: "removals", run: "rm /f /d/x; rm -r /d/sub; rm -r /gone"},
	{name: "directories anew", run: "rm -r /d; mkdir /d; echo y > /d/y; rm /f; mkdir /f"},
	{name: "renamed directories", run: "cp -r /d /e; rm -r /d; poke rename /e /d"},
	{name: "hard links", run: "ln /f /g; echo more >> /g; ln /d/x /d/z; echo w >> /l2; poke stat /f /g /d/x /l1 /l2 > /out"},
	{name: "hard links of others", root: true, run: "ln /owned /owned2; poke chown 9 9 /owned2; poke stat /owned /owned2 > /out"},
	{name: "cache mounts", run: "echo x >> /c/log; poke stat /c /c/log > /out; cat /c/log >> /out", opts: []stage.RunOption{stage.CacheMount("/c")}},
	{name: "cache mounts of a user", root: true, user: "1000:1001", run: "echo x >> /c/log; poke stat /c /c/log > /work/out",
		opts: []stage.RunOption{stage.CacheMount("/c", stage.ID("user's"), stage.MountOwner(1000, 1001), stage.MountMode(0o700))}},
	{name: "bind mounts", run: "cat /b/f > /out; poke stat /b /b/f /b/d/x >> /out; if echo x > /b/f; then exit 1; fi", opts: []stage.RunOption{stage.BindMount(idFiles, "/", "/b")}},
	{name: "bind mounts to write", run: "echo x > /b/d/x; rm /b/f; cat /b/d/x > /out", opts: []stage.RunOption{stage.BindMount(idFiles, "/", "/b", stage.Writable())}},
	{name: "bind mounts of a file", run: "poke stat /b > /out; cat /b >> /out", opts: []stage.RunOption{stage.BindMount(idFiles, "/f", "/b")}},
	{name: "mounts in memory", run: "echo x > /t/x; poke stat /t /t/x > /out", opts: []stage.RunOption{stage.TmpfsMount("/t", 1<<20, stage.MountMode(0o750))}},
	{name: "secrets", root: true, user: "1000:1000", run: "cat /run/secrets/s > /work/out; poke stat /run/secrets/s /etc/hosts >> /work/out",
		opts: []stage.RunOption{stage.SecretMount("s", stage.MountOwner(1000, 1000))}},
	{name: "no network", run: "cat /proc/net/dev | grep -c : > /out; poke stat /etc/hosts >> /out", opts: []stage.RunOption{stage.WithNetwork(stage.NetworkNone)}},
	{name: "limits", run: "ulimit -n > /out; cat /f > /out2", opts: []stage.RunOption{stage.WithLimits(stage.Limits{Ulimits: []stage.Ulimit{{Name: "nofile", Soft: 100, Hard: 200}}})}},
	{name: "a failure that is allowed", run: "echo x > /out; exit 7", opts: []stage.RunOption{stage.AllowExit(7)}},
}

// idFiles is what the bind mounts of idCases show.
var idFiles = stage.Scratch(stage.As("bound")).File("/f", "bound", stage.Mode(0o600)).File("/d/x", "x")

// idBase is what the steps of idCases stand on, in several layers.
func idBase(t *testing.T) stage.Stage {
	t.Helper()
	poke := stage.Dir(poker(t))
	s := shell(t).CopyFrom(poke, "poke", "/bin/poke").Mkdir("/work", stage.Mode(0o1777)).
		File("/f", "f").File("/d/x", "x").File("/d/sub/y", "y").File("/gone/deep/er", "").
		Run("echo l > /l1; ln /l1 /l2; mkdir /gone/more; touch /gone/more/x")
	if os.Geteuid() != 0 {
		return s
	}
	return s.File("/owned", "o", stage.Owner("1000:1000")).File("/owned-dir/a", "a", stage.Owner("65534:0"), stage.Mode(0o600)).
		CopyFrom(poke, "poke", "/bin/asuser", stage.Chown("1000:1000")).CopyFrom(poke, "poke", "/bin/capable").CopyFrom(poke, "poke", "/bin/capable2").
		Run("poke chmod 6755 /bin/asuser; poke setcap /bin/capable; poke setcap /bin/capable2")
}

// What a step's result owes to the ids that its processes have on the host is found, and whatever
// else it does with ids comes out as it was.
func TestVerifyIDs(t *testing.T) {
	base := idBase(t)
	able := hostIDs(t)
	e := executor(t, t.TempDir(), local.Options{})
	for _, c := range idCases { // all at once, on one executor
		if c.root && os.Geteuid() != 0 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := base
			if c.user != "" {
				s = s.User(c.user)
			}
			s = s.Run(c.run, c.opts...)
			r := stage.Request{Secrets: map[string]stage.Secret{"s": func(context.Context) ([]byte, error) { return []byte("secret"), nil }}}
			want := digest(t, build(t, e, s, r))
			v, err := stage.Verify(t.Context(), e, compile(t, s), r)
			if err != nil {
				t.Fatal(err)
			}
			checkIDs(t, v, &c, able)
			if got := digest(t, build(t, e, s, r)); got != want {
				t.Errorf("after it the build gives %s, want %s", got, want)
			}
		})
	}
	noMounts(t)
}

// checkIDs compares what was found with what a case has.
func checkIDs(t *testing.T, v *stage.Verification, c *idCase, able bool) {
	t.Helper()
	found := ""
	if len(v.Mismatches) > 0 {
		found = v.Mismatches[0].String()
	}
	switch {
	case !able || c.want == "":
		if err := v.Err(); err != nil {
			t.Errorf("%v, %q", err, v.Mismatches)
		}
	case !strings.Contains(found, c.want) || v.Mismatches[0].Step.Text != "RUN /bin/sh -c "+c.run:
		t.Errorf("found %q, want %q", found, c.want)
	}
	var kept []stage.Kept
	for _, k := range v.Kept {
		if k.Condition != stage.ConditionHostIDs || k.Err == nil {
			t.Errorf("kept: %+v", k)
		}
		if k.Step.Text == "RUN /bin/sh -c "+c.run {
			kept = append(kept, k)
		}
	}
	switch {
	case !able || c.kept != "":
		if len(kept) != 1 || !strings.Contains(kept[0].Err.Error(), c.kept) && able {
			t.Errorf("kept: %+v, want %q", kept, c.kept)
		}
	case len(v.Kept) > 0:
		t.Errorf("kept: %v", v.Kept[0])
	case !slices.Contains(v.Varied, stage.ConditionHostIDs):
		t.Errorf("varied: %q", v.Varied)
	}
}

// hostIDs reports whether ids on the host can be others here.
func hostIDs(t *testing.T) bool {
	t.Helper()
	all := []sandbox.IDRange{{Outside: 1 << 30, Size: 1 << 30}}
	err := sandbox.CheckIdmapped(t.Context(), namespaces.New(namespaces.Options{}), sandbox.IDs{UIDs: all, GIDs: all})
	if _, ok := errors.AsType[*sandbox.UnavailableError](err); err != nil && !ok {
		t.Fatal(err)
	}
	if err != nil {
		t.Log(err)
	}
	return err == nil
}

// noMounts looks for mounts below the test's directories.
func noMounts(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(b), filepath.Dir(t.TempDir())) {
		t.Errorf("something is left mounted:\n%s", b)
	}
}

// A step on files of somebody whom no user namespace has beside all others is done with the same ids.
func TestVerifyFilesOfUnknownIDs(t *testing.T) {
	if os.Geteuid() != 0 {
		return // whose files all belong to one
	}
	able := hostIDs(t)
	e := executor(t, t.TempDir(), local.Options{})
	poke := stage.Dir(poker(t))
	s := shell(t).CopyFrom(poke, "poke", "/bin/poke").File("/d/far", "x").Run("poke chown 4294967290 0 /d/far").Run("poke stat /d/far > /out")
	build(t, e, s, stage.Request{})
	v, err := stage.Verify(t.Context(), e, compile(t, s), stage.Request{})
	if err != nil || v.Err() != nil {
		t.Fatal(err, v)
	}
	if len(v.Kept) != 2 || able && !strings.Contains(v.Kept[1].Err.Error(), "/d/far belongs to 4294967290:0") || slices.Contains(v.Varied, stage.ConditionHostIDs) {
		t.Errorf("%+v, varied %q", v.Kept, v.Varied)
	}
	if !strings.HasSuffix(v.String(), "no difference; with the same ids on the host: 2 steps") {
		t.Error(v)
	}
}
