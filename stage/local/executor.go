package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/internal/absent"
	"github.com/stagewright/stagewright/internal/keep"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces"
	"github.com/stagewright/stagewright/stage/source"
)

// Images gives base images by the name that the graph's resolver found: a
// reference with a digest. Layers are read only when a step needs their files.
type Images interface {
	Image(ctx context.Context, name string, p platform.Platform) (v1.Image, error)
}

// Options configure an Executor. The zero value builds in memory, with the
// built-in sandbox, and has no base images.
type Options struct {
	// Store is the cache. With nil, or a store that has no directory on disk,
	// the directories of Run steps are temporary and go with Close.
	Store cache.Store
	// From are caches that others fill, such as those of package cache/remote: what Store does
	// not know is looked up there, one after the other, and is in Store afterwards. What they say is not trusted
	// where it can be checked; one that does not answer is left out of the build, with a stage.Notice. Nothing is written to them; see ExportCache.
	From []cache.Store
	// Runner runs the processes of Run steps; nil means namespaces.New.
	Runner sandbox.Runner
	// Images gives base images; nil means that a graph may only stand on
	// scratch.
	Images Images
	// Emulators are programs of this machine that run those of other architectures, by
	// GOARCH: static ones, such as /usr/bin/qemu-aarch64-static for "arm64". Run steps for an
	// architecture that has none use what is registered with the kernel (binfmt_misc). No
	// key of the cache has the emulator. See sandbox.Spec.
	// QEMU's can stop for ever when a program with threads starts another (seen with 7.2,
	// once in some 60 shells written in Go): stage.Timeout and stage.Retry are the way out.
	Emulators map[string]string
	// Parallel bounds what happens at once: work of the processor, and Run
	// steps. 0 means GOMAXPROCS for the first and 64 for the second, since a
	// Run step often waits.
	Parallel int
	// Epoch is the time given to everything that the build makes: files,
	// layers, the image's creation date. Zero means the Unix epoch.
	Epoch time.Time
	// Compression is how layers are stored. The zero value is gzip of level 6, and
	// the layers of base images as they are.
	Compression image.Compression
	// Transport sends the requests of HTTP sources; nil means http.DefaultTransport.
	Transport http.RoundTripper
	// Offline sends no request for HTTP sources and asks no remote of git sources: they are
	// what the Store and the cache directory have, else an error that wraps
	// source.ErrOffline. Images and Run steps are not concerned.
	Offline bool
	// GitEnv is the environment of the program git, which fetches git sources: PATH,
	// proxies, SSH_AUTH_SOCK. It gets nothing else.
	GitEnv []string
}

// checkNil finds what is given and has nothing in it: a nil pointer that became an interface, where nil itself would have meant the default.
func (o Options) checkNil() error {
	for name, given := range map[string]any{"Store": o.Store, "Runner": o.Runner, "Images": o.Images, "Transport": o.Transport} {
		if given != nil && absent.Is(given) {
			return fmt.Errorf("local: Options.%s is a %T that is nil; give a value, or leave the field nil for the default", name, given)
		}
	}
	if i := absent.Index(o.From); i >= 0 {
		return fmt.Errorf("local: Options.From[%d] is nil", i)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Store == nil {
		o.Store = cache.NewMemory()
	}
	if o.Runner == nil {
		o.Runner = namespaces.New(namespaces.Options{})
	}
	if o.Epoch.IsZero() {
		o.Epoch = time.Unix(0, 0)
	}
	o.Epoch = o.Epoch.UTC().Truncate(time.Second)
	return o
}

// maxRuns bounds the Run steps that are under way at once when Options.Parallel
// does not say.
const maxRuns = 64

// Executor evaluates graphs in this process. Make one with New and close it when
// it is not needed any more. It is safe for concurrent use.
type Executor struct {
	opts Options
	runs chan struct{} // slots of Run steps
	memo *source.Memo

	downloads chan struct{} // slots of base layers that are being read

	from     []*remote
	distrust distrust

	runnable sync.Map // platform.Platforms of other machines whose programs were seen to run

	youngest atomic.Int64 // when the lease of the last build began, in nanoseconds since the Unix epoch

	mu        sync.Mutex
	snapshots *snapshot.Store
	private   string // directory for logs, cache mounts, temporary files
	temporary bool   // private goes with Close
	closed    bool
	results   map[*session]struct{} // those that are open
	temp      *temporary            // nil before it is needed
	uses      int                   // builds under way, and results that still read from the directories
}

var _ stage.Executor = (*Executor)(nil)
var _ stage.Planner = (*Executor)(nil)

// ErrClosed is returned by the methods of an Executor after Close.
var ErrClosed = errors.New("local: executor is closed")

// New returns an executor. Nothing is read, written or started before the first
// Execute.
func New(o Options) (*Executor, error) {
	if o.Parallel < 0 {
		return nil, fmt.Errorf("local: Options.Parallel is %d; want 0 for the default or more", o.Parallel)
	}
	if err := o.Compression.Validate(); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if err := checkEmulators(o.Emulators); err != nil {
		return nil, err
	}
	if err := o.checkNil(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if s := o.Epoch.Unix(); s < 0 || s > math.MaxInt64/int64(time.Second) {
		return nil, fmt.Errorf("local: Options.Epoch is %v; want a time from 1970 to 2262", o.Epoch)
	}
	runs := o.Parallel
	if runs == 0 {
		runs = maxRuns
	}
	e := &Executor{opts: o, from: newRemotes(o.From), runs: make(chan struct{}, runs), downloads: make(chan struct{}, maxDownloads), results: map[*session]struct{}{}}
	if dir, ok := cache.Dir(o.Store); ok {
		e.memo = source.OpenMemo(filepath.Join(dir, memoDir))
	}
	return e, nil
}

// Execute builds every target of g. See stage.Executor. When Store or one of From turns out not
// to have what it promised, the graph is evaluated once more without that, with a stage.Notice.
func (e *Executor) Execute(ctx context.Context, g *stage.Graph, r stage.Request) (stage.Result, error) {
	for _, from := range e.from {
		from.dead.Store(false)
	}
	for {
		known := e.distrust.count()
		res, err := e.execute(ctx, g, r)
		if err == nil || ctx.Err() != nil || !e.distrusts(known, err, r) {
			return res, err
		}
	}
}

func (e *Executor) execute(ctx context.Context, g *stage.Graph, r stage.Request) (stage.Result, error) {
	if _, ok := cache.Dir(e.opts.Store); ok {
		if _, err := e.privateDir(); err != nil { // begins to remove what dead processes left
			return nil, err
		}
	}
	s, err := e.openBuild(ctx, g, r, nil)
	if err != nil {
		s, err = e.openPartial(ctx, g, r, err)
	}
	if err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done { // a panic, of a function step or of Request.Progress, closes too
			_ = s.close()
		}
	}()
	res, err := s.build(ctx)
	s.early.stop()
	if unwritten := s.writes.settle(); err == nil {
		err = unwritten
	}
	done = true
	if flushErr := s.quick.records.flush(ctx, s); err == nil {
		err = flushErr
	}
	s.remember(ctx)
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	_ = s.touch(ctx, false) // what could not be marked is younger in the next build
	e.mu.Lock()
	e.results[s] = struct{}{}
	e.mu.Unlock()
	return res, nil
}

// Plan tells which steps of g Execute would run. See stage.Planner.
func (e *Executor) Plan(ctx context.Context, g *stage.Graph, r stage.Request) ([]stage.PlannedStep, error) {
	s, err := e.open(ctx, g, r, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.plan(ctx)
}

// Close ends the use of the executor: a later Execute fails with ErrClosed. What is
// temporary is removed now, or when the last open result is closed.
func (e *Executor) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	return e.cleanUp()
}

// cleanUp removes what only the executor's own uses need, once there are none. The
// caller holds mu.
func (e *Executor) cleanUp() error {
	if !e.closed || e.uses > 0 {
		return nil
	}
	var errs []error
	if e.snapshots != nil {
		errs = append(errs, e.snapshots.Close())
	}
	errs = append(errs, e.temp.close())
	if e.temporary {
		errs = append(errs, keep.RemoveAll(e.private))
	}
	return errors.Join(errs...)
}

// use marks the executor as needed until release.
func (e *Executor) use() (release func() error, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrClosed
	}
	e.uses++
	return sync.OnceValue(func() error {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.uses--
		return e.cleanUp()
	}), nil
}

// dirs opens the directories that Run steps need, on first use.
func (e *Executor) dirs() (private string, snapshots *snapshot.Store, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.snapshots != nil {
		return e.private, e.snapshots, nil
	}
	if runtime.GOOS != "linux" {
		return "", nil, fmt.Errorf("%w: Run steps need Linux, this is %s; use an executor on a Linux machine", stage.ErrUnsupported, runtime.GOOS)
	}
	if err := e.makePrivate(); err != nil {
		return "", nil, err
	}
	store, err := snapshot.Open(filepath.Join(e.private, snapshotsDir), snapshot.Options{
		UpperDir: shm(), Parallel: e.opts.Parallel, Since: e.since, Created: e.createdSnapshot,
	})
	if err != nil {
		return "", nil, fmt.Errorf("local: %w", err)
	}
	e.snapshots = store
	return e.private, store, nil
}

// privateDir is the directory for what is neither a blob nor a record, made on first
// use.
func (e *Executor) privateDir() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	err := e.makePrivate()
	return e.private, err
}

// makePrivate finds or makes the private directory. The caller holds mu.
func (e *Executor) makePrivate() error {
	if e.private != "" {
		return nil
	}
	if dir, ok := cache.Dir(e.opts.Store); ok {
		e.private, e.temp = dir, newTemporary(dir)
		return nil
	}
	dir, err := os.MkdirTemp("", "stagewright-")
	if err != nil {
		return fmt.Errorf("local: no directory for private files: %w", err)
	}
	e.private, e.temp, e.temporary = dir, newTemporary(dir), true
	return nil
}

// shm is where uppers go when the cache lies on a filesystem that overlayfs
// refuses; empty when the machine has no such place.
func shm() string {
	const dir = "/dev/shm"
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir
	}
	return ""
}
