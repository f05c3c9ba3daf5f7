package sandboxtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// insideCases are about what a process sees of itself.
var insideCases = []suiteCase{
	{"Defaults", false, testDefaults},
	{"Platform", false, testPlatform},
	{"Identity", false, testIdentity},
	{"Environment", false, testEnvironment},
	{"Capabilities", true, testCapabilities},
	{"CapabilitiesOfOtherUser", true, testCapabilitiesOfOtherUser},
	{"SystemCallPolicy", true, testPolicy},
	{"MaskedPaths", true, testMasked},
	{"Devices", false, testDevices},
	{"Setuid", false, testSetuid},
	{"NetworkNone", false, testNetworkNone},
	{"Descriptors", false, testDescriptors},
}

// testPlatform: a process and what it executes are programs for the wanted platform, know their own
// names, and leave nothing behind of what runs them.
func testPlatform(f *fixture) {
	s := f.spec("arch", "as", "arch")
	arch := f.o.arch()
	equal(f, "architecture", f.run(s), Prober+" is for "+arch+"\nas is for "+arch+"\n")
	f.noTrace(s.Root)
	if b, err := os.ReadDir("/proc/sys/fs/binfmt_misc"); err == nil {
		for _, e := range b {
			if strings.Contains(e.Name(), "stagewright") {
				f.Errorf("a registration is left on this machine: %s", e.Name())
			}
		}
	}
}

func testDefaults(f *fixture) {
	s := f.spec()
	v := f.facts(s)
	equal(f, "pid", v.PID, 1)
	equal(f, "processes", v.Processes, []string{"1"})
	equal(f, "uid", v.UID, 0)
	equal(f, "gid", v.GID, 0)
	equal(f, "host name", v.Hostname, sandbox.DefaultHostname)
	equal(f, "directory", v.Dir, "/")
	equal(f, "environment", v.Env, []string{})
	equal(f, "arguments", v.Args, []string{Prober, "facts"})
	equal(f, "umask", v.Umask, 0o022)
	equal(f, "ignored signals", v.Status["SigIgn"], "0000000000000000")
	if v.TTY == "" {
		f.Error("the process has the builder's terminal")
	}
	f.noTrace(s.Root)
}

func testIdentity(f *fixture) {
	u := f.otherUser()
	s := f.spec()
	s.User = u
	v := f.facts(s)
	equal(f, "uid", v.UID, int(u.UID))
	equal(f, "euid", v.EUID, int(u.UID))
	equal(f, "gid", v.GID, int(u.GID))
	equal(f, "groups", v.Groups, []int{27, 2345})
}

func testEnvironment(f *fixture) {
	f.Setenv("SANDBOXTEST_SECRET", "of the builder")
	s := f.spec()
	s.Root = f.root(f.layer("work dir/x", "x"))
	s.Env = []string{"A=1", "B=", "PATH=/bin"}
	s.Dir = "/work dir"
	s.Hostname = "builder-7"
	v := f.facts(s)
	if f.o.emulated() { // qemu reverses it
		slices.Sort(v.Env)
	}
	equal(f, "environment", v.Env, s.Env)
	equal(f, "directory", v.Dir, s.Dir)
	equal(f, "host name", v.Hostname, s.Hostname)
	s = f.spec()
	s.Env, s.Args = []string{"PATH=/nowhere:/bin"}, []string{"prober", "euid"}
	equal(f, "found in PATH", f.run(s), "0")
	s = f.spec()
	s.Dir, s.Args = "/bin", []string{"./prober", "euid"}
	equal(f, "found by relative path", f.run(s), "0")
}

// layer makes a lower directory with one file.
func (f *fixture) layer(path, content string) string {
	f.Helper()
	dir := tempDir(f)
	write(f, filepath.Join(dir, path), []byte(content), 0o644)
	return dir
}

func testCapabilities(f *fixture) {
	v := f.facts(f.spec())
	for field, want := range map[string]string{
		"CapInh": "0000000000000000", "CapPrm": "00000000a80425fb", "CapEff": "00000000a80425fb",
		"CapBnd": "00000000a80425fb", "CapAmb": "0000000000000000",
	} {
		equal(f, field, v.Status[field], want)
	}
}

func testCapabilitiesOfOtherUser(f *fixture) {
	s := f.spec()
	s.User = f.otherUser()
	v := f.facts(s)
	for field, want := range map[string]string{
		"CapInh": "0000000000000000", "CapPrm": "0000000000000000", "CapEff": "0000000000000000",
		"CapBnd": "00000000a80425fb", "CapAmb": "0000000000000000",
	} {
		equal(f, field, v.Status[field], want)
	}
}

func testPolicy(f *fixture) {
	v := f.facts(f.spec())
	equal(f, "seccomp mode", v.Status["Seccomp"], "2")
	equal(f, "refused calls", v.Refused, map[string]string{
		"unshare": "operation not permitted", "keyctl": "operation not permitted", "clone3": "function not implemented",
	})
	if v.Status["NoNewPrivs"] != "0" && hostNoNewPrivs() == "0" {
		f.Error("no_new_privs is set, so setuid programs do not work")
	}
}

func hostNoNewPrivs() string {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return ""
	}
	_, after, _ := strings.Cut(string(b), "NoNewPrivs:")
	value, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(value)
}

func testMasked(f *fixture) {
	v := f.facts(f.spec())
	for path, has := range v.Readable {
		if has {
			f.Errorf("%s shows something of the host", path)
		}
	}
	for path, can := range v.Writable {
		if can {
			f.Errorf("%s can be written to", path)
		}
	}
}

func testDevices(f *fixture) {
	for path, rdev := range map[string]string{
		"/dev/null": "103", "/dev/zero": "105", "/dev/full": "107", "/dev/random": "108", "/dev/urandom": "109",
	} {
		got := f.run(f.spec("stat", path))
		if !strings.HasPrefix(got, "20666 ") || !strings.HasSuffix(got, " "+rdev) {
			f.Errorf("%s is %q, want a device %s of mode 666", path, got, rdev)
		}
	}
	s := f.spec("write", "/dev/shm/x", "y")
	f.run(s)
	f.noTrace(s.Root)
	// The null device of a process without streams is the sandbox's own.
	if _, err := f.runner.Run(f.Context(), f.spec("cat")); err != nil {
		f.Error(err)
	}
}

func testSetuid(f *fixture) {
	u := f.otherUser()
	program, err := os.ReadFile(filepath.Join(f.lower, Prober))
	if err != nil {
		f.Fatal(err)
	}
	layer := tempDir(f)
	write(f, filepath.Join(layer, "bin/suid"), program, 0o755|os.ModeSetuid)
	s := f.spec()
	s.Root, s.User, s.Args = f.root(layer), u, []string{"/bin/suid", "euid"}
	equal(f, "effective user of a set-user-ID program", f.run(s), "0")
}

func testNetworkNone(f *fixture) {
	s := f.spec()
	s.Network = sandbox.NetworkNone
	v := f.facts(s)
	if len(v.Interfaces) != 1 || v.Interfaces["lo"] != "0x9" { // IFF_UP|IFF_LOOPBACK
		f.Errorf("interfaces %v, want lo only, and up", v.Interfaces)
	}
}

func testDescriptors(f *fixture) {
	v := f.facts(f.spec())
	for fd, to := range v.FDs {
		switch {
		case fd == "0" && to == "/dev/null", (fd == "1" || fd == "2") && strings.HasPrefix(to, "pipe:"):
		case fd > "2" && strings.HasPrefix(to, "anon_inode:"): // the poller of the prober's own runtime
		default:
			f.Errorf("descriptor %s is %s", fd, to)
		}
	}
}
