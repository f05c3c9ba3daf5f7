package local_test

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// sameBuilder makes a test process a builder of counted, with the cache directory that it
// names.
const sameBuilder = "LOCAL_TEST_SAME_BUILDER"

// counted is a step that counts how often it runs, and ends when a file appears.
func counted(base stage.Stage) stage.Stage {
	return base.Run("echo ran >> /count/log; echo holding; while [ ! -e /tell/go ]; do sleep 0.01; done; echo made > /out",
		stage.CacheMount("/count"), stage.CacheMount("/tell"))
}

// TestSameBuilder is the other process of TestStepOfTwoProcesses.
func TestSameBuilder(t *testing.T) {
	dir, ok := os.LookupEnv(sameBuilder)
	if !ok {
		return
	}
	build(t, executor(t, dir, local.Options{}), counted(shell(t)), stage.Request{Progress: func(ev stage.Event) {
		if out, ok := ev.(stage.StepOutput); ok {
			os.Stdout.Write(out.Data)
		}
	}})
}

// startSame starts another process that builds counted, and returns when it holds the step.
func startSame(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSameBuilder$")
	cmd.Env = append(os.Environ(), sameBuilder+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "holding\n" {
		t.Fatal(line, err)
	}
	go func() { _, _ = bufio.NewReader(out).WriteTo(os.Stderr) }()
	return cmd
}

// Two processes with one cache directory want the same step at the same time.
func TestStepOfTwoProcesses(t *testing.T) {
	base := shell(t)
	tests := []struct {
		name   string
		during func(t *testing.T, other *exec.Cmd) // while this process waits
		want   stage.Status                        // of the step in this process
		runs   int
	}{
		{"the other one does it", func(t *testing.T, other *exec.Cmd) {}, stage.Hit, 1},
		{"the other one is killed", func(t *testing.T, other *exec.Cmd) {
			if err := other.Process.Kill(); err != nil {
				t.Error(err)
			}
		}, stage.Ran, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			// What the killed one leaves goes at a later start: here it must go as an ordinary user, whom overlayfs
			// gives a directory without permissions.
			t.Cleanup(func() {
				_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if err == nil && d.IsDir() {
						return os.Chmod(path, 0o700)
					}
					return nil
				})
			})
			e := executor(t, dir, local.Options{})
			other := startSame(t, dir)
			waits := make(chan struct{})
			g := compile(t, counted(base))
			var wg sync.WaitGroup
			wg.Go(func() {
				<-waits
				test.during(t, other)
				build(t, e, base.Run("echo > /tell/go", stage.CacheMount("/tell")), stage.Request{})
			})
			res, err := e.Execute(t.Context(), g, stage.Request{Progress: func(ev stage.Event) {
				if n, ok := ev.(stage.Notice); ok && strings.HasPrefix(n.Text, "RUN ") && strings.HasSuffix(n.Text, ": waiting for another build that is doing the same") {
					close(waits) // fails if it is told twice
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer res.Close()
			wg.Wait()
			if err := other.Wait(); err != nil && test.runs == 1 {
				t.Error(err)
			}
			if got := read(t, res, "out"); got != "made\n" {
				t.Errorf("out is %q", got)
			}
			steps := res.Report().Steps
			if got := steps[len(steps)-1].Status; got != test.want {
				t.Errorf("the step's status here is %q, want %q", got, test.want)
			}
			runs := read(t, build(t, e, base.Run("cat /count/log > /out", stage.CacheMount("/count")), stage.Request{}), "out")
			if n := strings.Count(runs, "ran\n"); n != test.runs {
				t.Errorf("the step ran %d times, want %d", n, test.runs)
			}
		})
	}
}

// Who waits for another process's step can be cancelled, and leaves it alone.
func TestWaitingIsCancelled(t *testing.T) {
	base := shell(t)
	dir := t.TempDir()
	e := executor(t, dir, local.Options{})
	other := startSame(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := e.Execute(ctx, compile(t, counted(base)), stage.Request{Progress: func(ev stage.Event) {
		if _, ok := ev.(stage.Notice); ok {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the cancellation", err)
	}
	build(t, e, base.Run("echo > /tell/go", stage.CacheMount("/tell")), stage.Request{})
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
}

// Builds of one process share a store, too: on disk or in memory, a function is called
// once. With NoCache a call counts for the builds that were under way when it began.
func TestStepOfTwoExecutors(t *testing.T) {
	const builds = 3
	stores := map[string]func(t *testing.T) cache.Store{
		"memory": func(t *testing.T) cache.Store { return cache.NewMemory() },
		"disk": func(t *testing.T) cache.Store {
			disk, err := cache.OpenDisk(t.TempDir(), cache.DiskOptions{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { disk.Close() })
			return disk
		},
	}
	for name, open := range stores {
		for _, noCache := range []bool{false, true} {
			store := open(t)
			var calls atomic.Int32
			var last atomic.Int64
			s := stage.Scratch().Func("count", "1", func(_ context.Context, _ fs.FS, out stage.Writer) error {
				calls.Add(1)
				last.Store(time.Now().UnixNano())
				return out.WriteFile("/made", 0o644, strings.NewReader("made"))
			})
			g := compile(t, s)
			var wg sync.WaitGroup
			digests := make([]string, builds)
			for i := range builds {
				wg.Go(func() {
					e, err := local.New(local.Options{Store: store})
					if err != nil {
						t.Error(err)
						return
					}
					defer e.Close()
					began := time.Now()
					res, err := e.Execute(t.Context(), g, stage.Request{NoCache: noCache})
					if err != nil {
						t.Error(err)
						return
					}
					defer res.Close()
					digests[i] = digest(t, res)
					if noCache && last.Load() < began.UnixNano() {
						t.Errorf("%s: a build without cache took a result from before it began", name)
					}
				})
			}
			wg.Wait()
			if got := calls.Load(); got < 1 || got > 1 && !noCache || got > builds {
				t.Errorf("%s, NoCache %v: the function was called %d times", name, noCache, got)
			}
			if slices.Sort(digests); digests[0] != digests[builds-1] {
				t.Errorf("%s: digests %v", name, digests)
			}
		}
	}
}

// A large layer is compressed by one of several builds.
func TestLayerOfTwoExecutors(t *testing.T) {
	disk, err := cache.OpenDisk(t.TempDir(), cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { disk.Close() })
	counts := &countingStore{Store: disk, written: map[cache.Digest]int{}}
	store := struct {
		*countingStore
		cache.Locker
	}{counts, disk}
	content := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{}).Read(content)
	g := compile(t, stage.Scratch().File("/large", string(content)))
	var layer atomic.Value
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			e, err := local.New(local.Options{Store: store})
			if err != nil {
				t.Error(err)
				return
			}
			defer e.Close()
			res, err := e.Execute(t.Context(), g, stage.Request{})
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Close()
			layers, err := res.Outputs()[0].Image.Layers()
			if err != nil {
				t.Error(err)
				return
			}
			d, err := layers[0].Digest()
			if err != nil {
				t.Error(err)
				return
			}
			layer.Store(d.String())
		})
	}
	wg.Wait()
	d, err := cache.ParseDigest(layer.Load().(string))
	if n := counts.written[d]; n != 1 || err != nil {
		t.Errorf("the layer %v was written %d times, want once", d, n)
	}
}
