package sandboxtest

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// rootCases are about the root filesystem.
var rootCases = []suiteCase{
	{"WritesLandInUpper", false, testWrites},
	{"LayersCover", false, testLayers},
	{"ReadOnlyRoot", false, testReadOnlyRoot},
	{"NoLowers", false, testNoLowers},
	{"OddNames", false, testOddNames},
	{"SystemLinks", false, testSystemLinks},
	{"HostUnchanged", false, testHostMounts},
}

func testWrites(f *fixture) {
	s := f.spec()
	s.Root = f.root(f.layer("etc/conf", "old"), f.layer("gone", "x"))
	r := s.Root
	f.run(&sandbox.Spec{Root: r, Features: f.o.Features, Args: []string{Prober, "write", "/etc/conf", "new"}})
	equal(f, "changes", f.upper(r), []string{"etc", "etc/conf"})
	if b, err := os.ReadFile(filepath.Join(r.Lowers[0], "etc/conf")); err != nil || string(b) != "old" {
		f.Errorf("the lower file is %q (%v), want it untouched", b, err)
	}
	second := f.root(r.Lowers[:2]...)
	f.run(&sandbox.Spec{Root: second, Features: f.o.Features, Args: []string{Prober, "remove", "/gone"}})
	st, err := os.Lstat(filepath.Join(second.Upper, "gone"))
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		f.Errorf("a removed file is %v (%v) in the upper directory, want a whiteout", st, err)
	}
}

func testLayers(f *fixture) {
	s := f.spec("read", "/a", "/b")
	top, below := f.layer("a", "top"), f.layer("a", "below")
	write(f, filepath.Join(below, "b"), []byte("+b"), 0o644)
	s.Root = f.root(top, below)
	equal(f, "content", f.run(s), "top+b")
}

func testReadOnlyRoot(f *fixture) {
	r := sandbox.Root{Lowers: []string{f.lower}, IDs: f.o.IDs}
	before := list(f, f.lower)
	f.run(&sandbox.Spec{Root: r, Features: f.o.Features, Args: []string{Prober, "stat", "/proc/self"}})
	st, err := f.runner.Run(f.Context(), &sandbox.Spec{Root: r, Features: f.o.Features, Args: []string{Prober, "write", "/x", "y"}})
	if err != nil || st.Code != 1 {
		f.Errorf("a write to a read-only root: %+v, %v", st, err)
	}
	equal(f, "lower", list(f, f.lower), before)
}

func list(f *fixture, dir string) []string {
	f.Helper()
	var out []string
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		out = append(out, path)
		return err
	}); err != nil {
		f.Fatal(err)
	}
	return out
}

func testNoLowers(f *fixture) {
	program, err := os.ReadFile(filepath.Join(f.lower, Prober))
	if err != nil {
		f.Fatal(err)
	}
	s := f.spec("euid")
	s.Root.Lowers = nil
	write(f, filepath.Join(s.Root.Upper, "prober"), program, 0o755)
	s.Args[0] = "/prober"
	equal(f, "output", f.run(s), "0")
	equal(f, "changes", f.upper(s.Root), []string{"prober"})
}

func testOddNames(f *fixture) {
	dir := filepath.Join(tempDir(f), "a:b,c\\d e=f%"+strings.Repeat("x", 200))
	write(f, filepath.Join(dir, "lower/hello"), []byte("hi"), 0o644)
	s := f.spec("read", "/hello")
	s.Root = sandbox.Root{
		Lowers: []string{filepath.Join(dir, "lower"), f.lower},
		Upper:  filepath.Join(dir, "upper"), Work: filepath.Join(dir, "work"), IDs: f.o.IDs,
	}
	for _, d := range []string{s.Root.Upper, s.Root.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			f.Fatal(err)
		}
	}
	equal(f, "content", f.run(s), "hi")
}

// testSystemLinks: an image cannot send the system's own mounts elsewhere.
func testSystemLinks(f *fixture) {
	for _, name := range []string{"proc", "dev", "sys"} {
		layer := tempDir(f)
		if err := os.Symlink("/etc", filepath.Join(layer, name)); err != nil {
			f.Fatal(err)
		}
		s := f.spec("euid")
		s.Root = f.root(layer)
		if _, err := f.runner.Run(f.Context(), s); err == nil {
			f.Errorf("an image whose /%s is a link was accepted", name)
		}
	}
}

// testHostMounts looks for mounts on the directories of a Run that has ended: others mount things
// on this machine meanwhile.
func testHostMounts(f *fixture) {
	s := f.spec()
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountTmpfs, Target: "/t"}}
	f.run(s)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		f.Skip(err)
	}
	for line := range strings.Lines(string(mounts)) {
		for _, dir := range append([]string{s.Root.Upper, s.Root.Work}, s.Root.Lowers...) {
			if strings.Contains(line, dir) {
				f.Errorf("a mount is left on the host: %s", line)
			}
		}
	}
}
