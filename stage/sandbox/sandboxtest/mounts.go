package sandboxtest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// mountCases are about Spec.Mounts.
var mountCases = []suiteCase{
	{"MountFile", false, testMountFile},
	{"MountBind", false, testMountBind},
	{"MountReadOnly", false, testMountReadOnly},
	{"MountTmpfs", false, testMountTmpfs},
	{"MountThroughLinks", false, testMountThroughLinks},
	{"MountPointKept", false, testMountPointKept},
	{"MountOverWhiteout", false, testMountOverWhiteout},
	{"MountEscapes", false, testMountEscapes},
	{"MountKinds", false, testMountKinds},
	{"MountOrder", false, testMountOrder},
}

func testMountFile(f *fixture) {
	s := f.spec("read", "/etc/hosts", "/run/secrets/deep/token")
	s.Root = f.root(f.layer("etc/passwd", "x"))
	s.Mounts = []sandbox.Mount{
		{Type: sandbox.MountFile, Target: "/etc/hosts", Data: []byte("127.0.0.1 localhost\n")},
		{Type: sandbox.MountFile, Target: "/run/secrets/deep/token", Data: []byte("s3cret"), Mode: 0o400, ReadOnly: true},
	}
	equal(f, "content", f.run(s), "127.0.0.1 localhost\ns3cret")
	for _, p := range f.upper(s.Root) {
		if p != "etc" { // a copied-up parent, unchanged but for its time
			f.Errorf("the upper directory has %s", p)
		}
	}
	s.Args = []string{Prober, "stat", "/run/secrets/deep/token"}
	s.Root = f.root()
	if got := f.run(s); !strings.HasPrefix(got, "100400 6 0:0 ") {
		f.Errorf("the secret is %q", got)
	}
	// What is not read-only can be changed, and nobody sees it.
	s.Args = []string{Prober, "write", "/etc/hosts", "changed"}
	s.Root = f.root()
	f.run(s)
	f.noTrace(s.Root)
}

func testMountBind(f *fixture) {
	cache := tempDir(f)
	write(f, filepath.Join(cache, "in"), []byte("from the host"), 0o644)
	s := f.spec("write", "/root/.cache/build/out", "from the step")
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountBind, Source: cache, Target: "/root/.cache/build"}}
	f.run(s)
	if b, err := os.ReadFile(filepath.Join(cache, "out")); err != nil || string(b) != "from the step" {
		f.Errorf("the cache has %q, %v", b, err)
	}
	f.noTrace(s.Root)
	s = f.spec("read", "/file")
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountBind, Source: filepath.Join(cache, "in"), Target: "/file"}}
	equal(f, "content", f.run(s), "from the host")
	f.noTrace(s.Root)
}

func testMountReadOnly(f *fixture) {
	dir := tempDir(f)
	write(f, filepath.Join(dir, "a"), []byte("a"), 0o644)
	for _, m := range []sandbox.Mount{
		{Type: sandbox.MountBind, Source: dir, Target: "/m", ReadOnly: true},
		{Type: sandbox.MountTmpfs, Target: "/m", ReadOnly: true},
	} {
		s := f.spec("write", "/m/a", "changed")
		s.Mounts = []sandbox.Mount{m}
		st, err := f.runner.Run(f.Context(), s)
		if err != nil || st.Code != 1 {
			f.Errorf("a write to a read-only mount of type %d: %+v, %v", m.Type, st, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(b) != "a" {
		f.Errorf("the source has %q, %v", b, err)
	}
}

func testMountTmpfs(f *fixture) {
	s := f.spec("stat", "/t")
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/t", Size: 1 << 20}}
	if got := f.run(s); !strings.HasPrefix(got, "41777 ") {
		f.Errorf("a tmpfs is %q", got)
	}
	s = f.spec("write", "/t/x", strings.Repeat("x", 100_000))
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/t", Size: 64 << 10, Mode: 0o700}}
	if st, err := f.runner.Run(f.Context(), s); err != nil || st.Code != 1 {
		f.Errorf("a write beyond the size: %+v, %v", st, err)
	}
	f.noTrace(s.Root)
}

func testMountThroughLinks(f *fixture) {
	layer := tempDir(f)
	write(f, filepath.Join(layer, "run/keep"), nil, 0o644)
	for name, target := range map[string]string{
		"var": "/usr/var", "up": "../../../../run", "resolv.conf": "../run/resolvconf/resolv.conf",
	} {
		if err := os.Symlink(target, filepath.Join(layer, name)); err != nil {
			f.Fatal(err)
		}
	}
	s := f.spec("read", "/usr/var/lib/a", "/run/b", "/run/resolvconf/resolv.conf", "/resolv.conf")
	s.Root = f.root(layer)
	s.Mounts = []sandbox.Mount{
		{Type: sandbox.MountFile, Target: "/var/lib/a", Data: []byte("a")},
		{Type: sandbox.MountFile, Target: "/up/b", Data: []byte("b")},
		{Type: sandbox.MountFile, Target: "/resolv.conf", Data: []byte("c")},
	}
	equal(f, "content", f.run(s), "abcc")
	for _, p := range f.upper(s.Root) {
		if p != "run" {
			f.Errorf("the upper directory has %s", p)
		}
	}
}

// testMountPointKept: what the step puts beside a mount stays.
func testMountPointKept(f *fixture) {
	s := f.spec("write", "/a/b/mine", "x")
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/a/b/c/d"}}
	f.run(s)
	equal(f, "changes", f.upper(s.Root), []string{"a", "a/b", "a/b/mine"})
}

// testMountOverWhiteout: a removed file stays removed under a later mount point.
func testMountOverWhiteout(f *fixture) {
	s := f.spec("remove", "/cache")
	s.Root = f.root(f.layer("cache/old", "x"))
	f.run(s)
	again := *s
	again.Root.Work = filepath.Join(filepath.Dir(s.Root.Work), "work2")
	if err := os.Mkdir(again.Root.Work, 0o755); err != nil {
		f.Fatal(err)
	}
	again.Args = []string{Prober}
	again.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/cache/new"}}
	f.run(&again)
	st, err := os.Lstat(filepath.Join(s.Root.Upper, "cache"))
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		f.Errorf("the whiteout has become %v, %v", st, err)
	}
}

// testMountEscapes: no link of the image leads a mount out of the root, nor
// into the sandbox's own /proc.
func testMountEscapes(f *fixture) {
	outside := tempDir(f)
	layer := tempDir(f)
	for name, target := range map[string]string{
		"out": outside, "dots": strings.Repeat("../", 40) + outside, "proc-link": "/proc/self/root", "loop": "/loop", "self": "/",
	} {
		if err := os.Symlink(target, filepath.Join(layer, name)); err != nil {
			f.Fatal(err)
		}
	}
	for _, target := range []string{"/out/x", "/dots/x"} {
		s := f.spec("read", target)
		s.Root = f.root(layer)
		s.Mounts = []sandbox.Mount{{Type: sandbox.MountFile, Target: target, Data: []byte("in")}}
		equal(f, target, f.run(s), "in")
		if got := list(f, outside); len(got) != 1 {
			f.Errorf("%s reached the host: %q", target, got)
		}
	}
	for _, target := range []string{"/proc-link/etc", "/loop/x", "/self"} {
		s := f.spec("euid")
		s.Root = f.root(layer)
		s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: target}}
		_, err := f.runner.Run(f.Context(), s)
		if e, ok := errors.AsType[*sandbox.MountError](err); !ok || e.Index != 0 || e.Target != target {
			f.Errorf("a mount on %s: %v, want a *MountError", target, err)
		}
		f.noTrace(s.Root)
	}
}

func testMountKinds(f *fixture) {
	dir := tempDir(f)
	for _, m := range []sandbox.Mount{
		{Type: sandbox.MountBind, Source: filepath.Join(dir, "missing"), Target: "/x"},
		{Type: sandbox.MountBind, Source: dir, Target: Prober},
		{Type: sandbox.MountFile, Target: "/bin"},
		{Type: sandbox.MountTmpfs, Target: Prober + "/x"},
	} {
		s := f.spec("euid")
		s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/fine/too"}, m}
		_, err := f.runner.Run(f.Context(), s)
		if e, ok := errors.AsType[*sandbox.MountError](err); !ok || e.Index != 1 {
			f.Errorf("mount %+v: %v, want a *MountError", m, err)
		}
		f.noTrace(s.Root)
	}
}

func testMountOrder(f *fixture) {
	s := f.spec("read", "/a/b/c")
	s.Mounts = []sandbox.Mount{
		{Type: sandbox.MountTmpfs, Target: "/a"},
		{Type: sandbox.MountTmpfs, Target: "/a/b"},
		{Type: sandbox.MountFile, Target: "/a/b/c", Data: []byte("deep")},
	}
	equal(f, "content", f.run(s), "deep")
	f.noTrace(s.Root)
}
