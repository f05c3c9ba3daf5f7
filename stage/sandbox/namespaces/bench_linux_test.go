package namespaces_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stagewright/stagewright/internal/arch"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/sandbox/sandboxtest"
)

// BenchmarkTrue is one step that does nothing, from directories to teardown:
// what a Run costs on top of its command. The floor is the same program
// without a sandbox; being Go, it takes a millisecond itself.
func BenchmarkTrue(b *testing.B) {
	probe(b)
	lower := sandboxtest.Lower(b)
	r := namespaces.New(namespaces.Options{})
	b.Run("floor", func(b *testing.B) {
		median(b, func(string) error { return exec.Command(filepath.Join(lower, sandboxtest.Prober)).Run() })
	})
	for _, net := range []sandbox.Network{sandbox.NetworkHost, sandbox.NetworkNone} {
		name := map[sandbox.Network]string{sandbox.NetworkHost: "host", sandbox.NetworkNone: "none"}[net]
		b.Run("network="+name, func(b *testing.B) {
			median(b, func(dir string) error {
				s := &sandbox.Spec{
					Root:    sandbox.Root{Lowers: []string{lower}, Upper: dir + "/upper", Work: dir + "/work"},
					Args:    []string{sandboxtest.Prober},
					Network: net,
				}
				for _, d := range []string{dir, s.Root.Upper, s.Root.Work} {
					if err := os.Mkdir(d, 0o755); err != nil {
						return err
					}
				}
				_, err := r.Run(b.Context(), s)
				return err
			})
		})
	}
}

// BenchmarkPlatform is a program of a few instructions, for this machine and for another one that an emulator given
// stands in for: what a step pays for a binfmt_misc of its own and for the start of the emulator.
func BenchmarkPlatform(b *testing.B) {
	probe(b)
	other, emulator := emulator(b)
	r := namespaces.New(namespaces.Options{})
	for name, a := range map[string]string{"native": runtime.GOARCH, "emulated": other} {
		if !arch.Known(a) {
			continue
		}
		b.Run(name, func(b *testing.B) {
			lower := b.TempDir()
			median(b, func(string) error {
				_, err := r.Run(b.Context(), &sandbox.Spec{
					Root: sandbox.Root{Lowers: []string{lower}}, Args: []string{"/program"},
					Mounts:   []sandbox.Mount{{Type: sandbox.MountFile, Target: "/program", Data: arch.Program(a), Mode: 0o755}},
					Platform: platform.Platform{OS: "linux", Architecture: a}, Emulators: map[string]string{other: emulator},
				})
				return err
			})
		})
	}
}

func median(b *testing.B, run func(dir string) error) {
	base := b.TempDir()
	b.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+rwx", base).Run() })
	b.ReportAllocs()
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		start := time.Now()
		if err := run(filepath.Join(base, time.Now().Format("150405.000000000"))); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[0].Microseconds())/1000, "min-ms")
}
