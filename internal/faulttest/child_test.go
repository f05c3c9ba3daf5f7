//go:build linux

package faulttest_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
)

// order is what a child is to do: some builds, one after the other.
type order struct {
	World   *world
	Cache   string
	Builds  []wanted
	KillAt  int   // the event of all builds at which it kills itself, from 1; 0 for never
	Books   books // where it writes what it does; empty for nowhere
	Threads int   // GOMAXPROCS; 0 for the default
	Disk    *disk // what is wrong with the disk of the cache; nil for nothing
	// Stall is what it does instead: it starts so many processes that sleep, which nothing ends with it, and waits for ever.
	Stall int
	// Collect is what it collects by instead of building: over and over until its standard input ends.
	Collect *cache.Policy
}

// answer is what a child says of each build, as a line of JSON.
type answer struct {
	wanted
	Digest string
	Err    string
	Ran    int
	Events int
	Took   time.Duration
	// Removed is how many entries a collection has removed.
	Removed int
}

// carryOut does what the order says, and returns the exit status.
func (o *order) carryOut() int {
	// No deadline of its own: it would end a build that hangs, and have it look like one that says so.
	ctx := context.Background()
	b := &bench{world: o.World, ctx: ctx}
	b.books = o.Books
	if o.Stall > 0 {
		return o.stall()
	}
	if o.Collect != nil {
		return o.collect(ctx)
	}
	if o.Disk != nil {
		if err := o.Disk.spoil(o.Cache); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	events, failed := 0, 0
	out := json.NewEncoder(os.Stdout)
	for i, n := range o.Builds {
		if o.Disk != nil && i == o.Disk.Until {
			if err := o.Disk.mend(o.Cache); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
		}
		began, before := time.Now(), events
		a := answer{wanted: n}
		var err error
		a.Digest, a.Ran, err = b.build(o.Cache, n, func(stage.Event) {
			if events++; events == o.KillAt {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			}
		})
		if err != nil {
			a.Err, failed = err.Error(), 1
		}
		a.Took, a.Events = time.Since(began), events-before
		_ = out.Encode(a)
	}
	return failed
}

// stall is a program that does not end.
func (o *order) stall() int {
	for range o.Stall {
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	for {
		time.Sleep(time.Hour)
	}
}

// collect collects, and says what it has removed.
func (o *order) collect(ctx context.Context) int {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for out := json.NewEncoder(os.Stdout); ; {
		from := clock()
		removed, err := collectOnce(ctx, o.Cache, *o.Collect)
		a := answer{Removed: len(removed)}
		if o.Books != "" && len(removed) > 0 {
			o.Books.note(deed{Kind: "collected", Entries: removed, From: from})
		}
		if err != nil {
			a.Err = err.Error()
		}
		_ = out.Encode(a)
		if err != nil {
			return 1
		}
		time.Sleep(time.Millisecond) // others have something to do, too
	}
}

// collectOnce opens the store, collects and closes it.
func collectOnce(ctx context.Context, dir string, p cache.Policy) (removed []string, err error) {
	d, err := cache.OpenDisk(dir, cache.DiskOptions{})
	if err != nil {
		return nil, err
	}
	c, err := d.Collect(ctx, p, local.Areas(d)...)
	if c != nil {
		for _, r := range c.Removed {
			removed = append(removed, entry(r.Kind, r.ID))
		}
	}
	return removed, errors.Join(err, d.Close())
}

// build builds, reads all bytes of the image, and closes what it opened.
func (b *bench) build(dir string, n wanted, progress func(stage.Event)) (digest string, ran int, err error) {
	target, o, err := b.find(n)
	if err != nil {
		return "", 0, err
	}
	o.CacheDir, o.Progress = dir, progress
	if b.books != "" {
		disk, err := cache.OpenDisk(dir, cache.DiskOptions{})
		if err != nil {
			return "", 0, err
		}
		defer func() { err = errors.Join(err, disk.Close()) }()
		o.Store = &noted{disk, b.books}
		o.Runner = &counted{namespaces.New(namespaces.Options{}), b}
	}
	o.Sinks = append(o.Sinks, everyByte{})
	res, err := stagewright.Build(b.ctx, target, o)
	if err != nil {
		return "", 0, err
	}
	digest, err = res.Digest()
	return digest, res.Report().Ran(), errors.Join(err, res.Close())
}

// counted tells of each command before it runs.
type counted struct {
	sandbox.Runner
	bench *bench
}

func (c *counted) Run(ctx context.Context, s *sandbox.Spec) (sandbox.Status, error) {
	c.bench.told(strings.Join(s.Args, " "))
	return c.Runner.Run(ctx, s)
}

// everyByte is a sink that compares each blob with its digest.
type everyByte struct{}

func (everyByte) Write(_ context.Context, a image.Artifact) error {
	if a.Image != nil {
		return checkImage(a.Image)
	}
	list, err := a.Index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range list.Manifests {
		img, err := a.Index.Image(d.Digest)
		if err == nil {
			err = checkImage(img)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkImage(img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		want, err := l.Digest()
		if err != nil {
			return err
		}
		rc, err := l.Compressed()
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.Copy(h, rc)
		if err := errors.Join(err, rc.Close()); err != nil {
			return err
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want.Hex {
			return fmt.Errorf("WRONG BYTES: a layer reads as %s and is to be %s", got, want.Hex)
		}
	}
	return nil
}

// command returns a child that is not started yet. wrap are words before its own, such as those of strace.
func (o *order) command(t testing.TB, wrap ...string) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := append(wrap, exe)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), orderEnv+"="+string(text), "TMPDIR="+o.World.in("tmp"))
	if o.Threads > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprint("GOMAXPROCS=", o.Threads))
	}
	if o.Disk != nil && os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // what it mounts ends with it
	}
	return cmd
}

// bound is how long a child may take for the order before it counts as hanging.
func (o *order) bound() time.Duration {
	return *hang + time.Duration(len(o.Builds))*30*time.Second
}

func (o *order) String() string {
	return fmt.Sprintf("builds %v, kill at %d, threads %d, disk %+v, collect %+v", o.Builds, o.KillAt, o.Threads, o.Disk, o.Collect)
}

// start has a child begin with the order. wrap are words before its own, such as those of strace.
func (o *order) start(t testing.TB, wrap ...string) *child {
	t.Helper()
	return o.World.family.start(t, o.command(t, wrap...), strings.TrimSpace(strings.Join(wrap, " ")+" "+o.String()))
}

// run has a child do the order and returns what it said of its builds, and how it ended. What it wrote to standard error is in the error.
// One that hangs fails the test.
func (o *order) run(t testing.TB, wrap ...string) ([]answer, error) {
	t.Helper()
	c := o.start(t, wrap...)
	err := c.wait(o.bound())
	if hung := (*hungError)(nil); errors.As(err, &hung) {
		t.Error(hung)
		return answers(c.out.String()), errors.New("it hung")
	}
	if text := c.errs.String(); text != "" {
		err = errors.Join(err, fmt.Errorf("it wrote\n%s", tail(text)))
	}
	return answers(c.out.String()), err
}

func answers(out string) []answer {
	var list []answer
	for d := json.NewDecoder(strings.NewReader(out)); ; {
		var a answer
		if d.Decode(&a) != nil {
			return list
		}
		list = append(list, a)
	}
}

func tail(s string) string { return s[max(0, len(s)-8<<10):] }

// want holds a child's answers to the golden digests: all builds are there and right.
func (w *world) want(t *testing.T, o *order, got []answer, err error) {
	t.Helper()
	if err != nil || len(got) != len(o.Builds) {
		t.Errorf("%d of %d builds: %v", len(got), len(o.Builds), err)
	}
	for _, a := range got {
		if a.Err != "" {
			t.Errorf("%s: %s", a.wanted, a.Err)
		} else if g := w.goldenOf(t, a.wanted); a.Digest != g {
			t.Errorf("%s: WRONG IMAGE %s; golden %s", a.wanted, a.Digest, g)
		}
	}
}

// goldenOf returns the digest of what is wanted, built undisturbed in a cache that has at most the other variants of the graph.
func (w *world) goldenOf(t *testing.T, n wanted) string {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.golden[n] != "" {
		return w.golden[n]
	}
	o := &order{World: w, Cache: w.in("golden", n.Graph)}
	for v := range variants {
		o.Builds = append(o.Builds, wanted{n.Graph, v})
	}
	got, err := o.run(t)
	if err != nil || len(got) != variants {
		t.Fatalf("%s cannot be built undisturbed: %v %+v", n.Graph, err, got)
	}
	for _, a := range got {
		w.golden[a.wanted] = a.Digest
	}
	w.cold[n.Graph] = got[0].Took
	if err := os.RemoveAll(o.Cache); err != nil {
		t.Fatal(err)
	}
	return w.golden[n]
}
