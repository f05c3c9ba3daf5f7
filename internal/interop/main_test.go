package interop

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
)

var summaryFile = flag.String("summary", "", "write the table of what was compared to `FILE`")

// bench is what all tests share: the builds, and the daemons, each started by the first test that needs it.
type bench struct {
	dir    string
	cgroup string // of all containers, below each controller

	mu    sync.Mutex
	stops []func() error
	rows  table

	build    sync.Once
	variants []*variant
}

var shared bench

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(shared.run(m))
}

func (b *bench) run(m *testing.M) (code int) {
	var err error
	if b.dir, err = os.MkdirTemp("", "swi-"); err != nil { // short: it is in the names of sockets
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	b.cgroup = "/" + filepath.Base(b.dir)
	defer func() {
		if err := errors.Join(b.stop(), removeGroups(b.cgroup), os.RemoveAll(b.dir)); err != nil {
			fmt.Fprintln(os.Stderr, "left behind:", err)
			code = 1
		}
	}()
	code = m.Run()
	fmt.Print(b.rows.String())
	if *summaryFile != "" {
		if err := os.WriteFile(*summaryFile, []byte(b.rows.String()), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// atEnd has something done when all tests are done, the last first.
func (b *bench) atEnd(stop func() error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stops = append(b.stops, stop)
}

// removeGroups removes what container engines leave of control groups.
func removeGroups(name string) error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/*" + name, "/sys/fs/cgroup" + name} {
		tops, err := filepath.Glob(pattern)
		errs = append(errs, err)
		for _, top := range tops {
			var groups []string
			err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					groups = append(groups, path)
				}
				return err
			})
			errs = append(errs, err)
			for _, group := range slices.Backward(groups) {
				errs = append(errs, os.Remove(group))
			}
		}
	}
	return errors.Join(errs...)
}

func (b *bench) stop() error {
	var errs []error
	for i := len(b.stops) - 1; i >= 0; i-- {
		errs = append(errs, b.stops[i]())
	}
	return errors.Join(errs...)
}

// forms are what the fixture is built as. "grouped" has a number of layers that every engine takes, "deep" one for each step; the others are
// grouped and differ in how they are stored.
var forms = []struct {
	name        string
	grouped     bool
	media       image.MediaTypes
	compression image.Compression
}{
	{name: "grouped", grouped: true},
	{name: "deep"},
	{name: "docker", grouped: true, media: image.Docker},
	{name: "zstd", grouped: true, compression: image.Compression{Format: image.Zstd, Force: true}},
	{name: "tar", grouped: true, compression: image.Compression{Format: image.Uncompressed, Force: true}},
}

// variant is a form, built.
type variant struct {
	name   string
	result *stagewright.Result
	*built
}

// fixtures builds the forms of the fixture, once.
func fixtures(t *testing.T) []*variant {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("it takes root to unpack files of several owners, and to start engines")
	}
	tool(t, "busybox", "busybox-static")
	tool(t, "qemu-aarch64-static", "qemu-user-static")
	shared.build.Do(func() {
		base := filepath.Join(shared.dir, "base")
		writeBase(t, base)
		probes := map[string][]byte{}
		for _, p := range platforms {
			probes[p.Architecture] = compileProbe(t, p.Architecture, probePath(p.Architecture))
		}
		for _, f := range forms {
			res, err := stagewright.Build(t.Context(), fixture("oci-layout://"+base+":base", probes, f.grouped), stagewright.Options{
				Platforms: platforms, CacheDir: filepath.Join(shared.dir, "cache"), MediaTypes: f.media, Compression: f.compression,
				Emulators: map[string]string{"arm64": emulator(t)},
			})
			if err != nil {
				t.Fatal(err)
			}
			shared.atEnd(res.Close)
			shared.variants = append(shared.variants, &variant{f.name, res, describe(t, res)})
		}
	})
	if len(shared.variants) != len(forms) {
		t.Fatal("the fixture was not built; see the first test")
	}
	return shared.variants
}

// only picks variants.
func only(all []*variant, names ...string) []*variant {
	return slices.DeleteFunc(slices.Clone(all), func(v *variant) bool { return !slices.Contains(names, v.name) })
}

// emulator is the program that runs arm64 programs here.
func emulator(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("qemu-aarch64-static")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// probePath is the compiled probe on this machine.
func probePath(arch string) string { return filepath.Join(shared.dir, "probe-"+arch) }
