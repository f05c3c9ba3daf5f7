package stagewright

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/internal/absent"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
	"github.com/stagewright/stagewright/stage/lock"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// Options say how to build. The zero value builds for this machine, without a
// context, with the cache in the user's cache directory.
type Options struct {
	// Context is what Copy reads from: see [Dir] and [FS].
	Context stage.Source
	// Args are the values of build arguments.
	Args arg.Values
	// Platforms are what to build for; none means this machine's architecture,
	// with Linux. Several give an index.
	Platforms platform.Set
	// Partial builds the platforms that can be built, and hands an index of those to the
	// sinks: what failed is in Result.Failed. Without it one that fails ends the others.
	// A build of which no platform can be built is an error all the same.
	Partial bool
	// Secrets are the values for SecretMount and SecretEnv, by id.
	Secrets map[string]stage.Secret
	// SSH are the agents for SSHMount, by id.
	SSH map[string]stage.SSHAgent
	// Stages are further stages that stage.Named can find.
	Stages []stage.Stage
	// Labels are set on the image, last; they are in no history.
	Labels map[string]string
	// Annotations are set on the manifest of each image, IndexAnnotations on the index of
	// several platforms; what an image is, Labels say in its configuration. Where they are
	// known, the build sets org.opencontainers.image.base.name and base.digest (of a base
	// image out of a registry), created (with an Epoch), source and revision (of a git
	// context) itself; an empty value here leaves one out.
	Annotations, IndexAnnotations map[string]string
	// MediaTypes is the family of media types of manifests: image.OCI, which is zero, or
	// image.Docker, which has no annotations.
	MediaTypes image.MediaTypes
	// Compression is how layers are stored: gzip (zero), zstd or not at all, with a level,
	// and whether the layers of base images are brought into that form, too. Docker's media
	// types have no zstd.
	Compression image.Compression
	// Run are options for every Run step: a network, extra hosts.
	Run []stage.RunOption
	// MaxLayers is how many layers an image may have, those of its base included; one with
	// more is an error, and goes to no sink. 0 is no limit.
	MaxLayers int
	// NoCache makes every step anew, NoCacheStages those of the stages of these names. What
	// is made goes into the cache. See stage.Request; for single steps there are
	// stage.NoCache, stage.MaxAge and stage.CacheKey.
	NoCache       bool
	NoCacheStages []string
	// Pull says when registries are asked what the reference of an image is now. Empty is
	// PullAlways.
	Pull PullPolicy
	// PullAge is for how long PullMissing believes what a registry said of a reference; 0 is
	// 30 days.
	PullAge time.Duration
	// Offline builds without the network: no request is sent, whatever Pull, HTTP sources
	// and git sources would ask. References are what they were when they were last asked
	// for, and what is not in the cache is an error that says so. Run steps have the network
	// that they have. A sink that pushes is an error before anything is built.
	Offline bool
	// OnBuild runs the ONBUILD triggers of base images; see stage.Options. Give
	// dockerfile.OnBuild of package stage/dockerfile.
	OnBuild func(triggers []string, s stage.Stage) (stage.Stage, error)
	// Policy sees each reference of an image before it is resolved, and may refuse or
	// replace it; see stage.Options.
	Policy func(ctx context.Context, ref string, p platform.Platform) (string, error)
	// Sinks are where the image goes once everything is built, side by side.
	// Result.Deliveries tells what each of them did.
	Sinks []image.Sink
	// Progress is told what happens, one event at a time; stage/report has
	// renderers.
	Progress func(stage.Event)

	// CacheDir is the directory of the cache. Empty means "stagewright" in
	// os.UserCacheDir.
	CacheDir string
	// Store is the cache itself, instead of CacheDir: cache.NewMemory, for
	// instance.
	Store cache.Store
	// Keep makes the cache smaller after each build that ended well, once the image is in all
	// sinks: what the policy asks for goes, the longest unused first, but nothing that this
	// build has used, or one that is under way. The zero value removes nothing; see [Prune]. What
	// goes wrong with it is told as a stage.Notice.
	Keep cache.Policy
	// CacheFrom are caches that other builds filled, asked in order for what the cache of this machine does
	// not know: remote.Registry of package cache/remote, for instance. What is found stays here; layers are downloaded only
	// when something reads them. One that does not answer, or does not have what it promised, costs work and
	// never the build. An Offline build asks none in a registry.
	CacheFrom []cache.Store
	// CacheTo are where what is known of the build is exported, once the sinks have the image.
	CacheTo []CacheExport
	// Registry is how registries are reached, for base images and for the sinks of
	// registry.Push (those of registry.PushWith have options of their own); they share
	// connections and tokens. The zero value uses the credentials of "docker login". Its
	// Transport fetches HTTP sources, too.
	Registry registry.Options
	// Lock is the path of a lock file, in which the digest of each reference stands
	// that has none; see package stage/lock. Empty means that tags are asked for anew in
	// every build. LockMode says what is done with what the file does not have.
	Lock     string
	LockMode lock.Mode
	// Resolver answers what a base image is, instead of the registry and of OCI layouts
	// ("oci-layout://DIR:tag").
	Resolver stage.Resolver
	// Images gives the layers of base images, instead of the registry. It goes
	// with Resolver.
	Images local.Images
	// Runner runs the processes of Run steps; nil means namespaces.New.
	Runner sandbox.Runner
	// Emulators are programs of this machine that run those of other architectures, by
	// GOARCH: static ones, such as "/usr/bin/qemu-aarch64-static" for "arm64". Without one a
	// Run step for another architecture needs an interpreter that is registered with the
	// kernel (binfmt_misc); where there is none the build fails before anything runs. See local.Options.
	Emulators map[string]string
	// Executor evaluates the graph, instead of stage/local. Store, CacheDir,
	// CacheFrom, Images, Runner, Emulators, Compression, Parallel and Epoch are then its own affair.
	Executor stage.Executor
	// Parallel bounds what happens at once; see local.Options.
	Parallel int
	// Epoch is the time of everything that the build makes. Zero means the
	// environment variable SOURCE_DATE_EPOCH, and the Unix epoch without it
	// (reproducible-builds.org/specs/source-date-epoch).
	Epoch time.Time
}

// Dir is the directory at path as a build context. Its .dockerignore file is
// honoured; ignore adds patterns.
func Dir(path string, ignore ...string) stage.DirSource { return stage.Dir(path, ignore...) }

// FS is a file system as a build context: an embed.FS, an fstest.MapFS.
func FS(fsys fs.FS) stage.FSSource { return stage.FS(fsys) }

// Build builds a stage for every wanted platform and hands the image to the
// sinks. The caller must close the result.
//
// Errors are a stage.Errors with every mistake of the stages, a *stage.Error for a
// step that failed (with a *stage.ExitError when its command did), those of the
// sinks, all of them with the sink's name, and the context's. A sink that fails does
// not stop the others. After an error the cache is as good as before. A panic of a sink or
// of Options.Progress ends the build and comes out of Build, whatever goroutine it was in.
func Build(ctx context.Context, target stage.Stage, o Options) (*Result, error) {
	if o.Progress == nil {
		return build(ctx, target, o)
	}
	ctx, stop := context.WithCancelCause(ctx)
	done := false
	defer func() {
		if !done {
			stop(nil)
		}
	}()
	p := &progress{callback: o.Progress, stop: stop}
	o.Progress = p.tell
	res, err := build(ctx, target, o)
	if err != nil {
		p.rethrow()
		return nil, err
	}
	closeBuild := res.close
	res.close = func() error {
		stop(nil)
		return closeBuild()
	}
	if context.Cause(ctx) == errProgress { // too late to end the build
		err = errors.Join(errProgress, res.Close())
		p.rethrow()
		return nil, err
	}
	done = true
	return res, nil
}

func build(ctx context.Context, target stage.Stage, o Options) (*Result, error) {
	g, b, err := compile(ctx, target, &o)
	if err != nil {
		return nil, err
	}
	if err := o.checkManifests(max(1, len(o.Platforms))); err != nil {
		return nil, errors.Join(err, b.close())
	}
	o.Sinks = b.adopt(o.Sinks)
	var before *Result
	for n := 0; ; n++ {
		r, err := b.evaluate(ctx, g, o, before)
		if err == nil {
			return r, nil
		}
		if n == maxAgain || ctx.Err() != nil || !errors.Is(err, local.ErrLost) {
			return nil, errors.Join(err, b.close())
		}
		if before = r; o.Progress != nil {
			o.Progress(stage.Notice{Text: fmt.Sprintf("the cache has not what it promised, and the build begins again without that: %v", err)})
		}
	}
}

// maxAgain is how often a build begins again when a sink found that the cache has lost something. The executor
// believes less each time, and in the end only itself.
const maxAgain = 5

// evaluate executes the graph and hands the image to the sinks, except to those that got the same in a try before. The result of
// one that failed is closed; it is what comes before the next try.
func (b *builder) evaluate(ctx context.Context, g *stage.Graph, o Options, before *Result) (*Result, error) {
	done, closing := false, b.close
	defer func() {
		if !done { // a panic, of a caller's sink or resolver for instance, closes too
			_ = closing()
		}
	}()
	sending := &ahead{ctx: ctx, sinks: o.Sinks}
	defer sending.end()
	request := b.request(o)
	request.Ahead = sending.take
	res, err := b.executor.Execute(ctx, g, request)
	if err != nil {
		done = true
		return nil, joinFailures(err, b.failed)
	}
	r := &Result{Result: res, graph: g, failed: inOrder(o.Platforms, b.failed, stage.FailedOf(res)), close: b.close}
	closing = r.Close
	err = r.assemble(o)
	if err == nil {
		err = o.checkLayers(r.Outputs())
	}
	if err == nil {
		err = r.deliver(ctx, o, before)
	}
	sending.end() // layers that only a cache export wants go to no sink
	if err == nil {
		err = r.exportCaches(ctx, o)
	}
	if err == nil {
		b.tidy(ctx, o)
	}
	done = true
	if err != nil {
		return r, errors.Join(err, r.Result.Close())
	}
	return r, nil
}

// Plan tells for each step of a build whether it would run or is in the cache.
// Nothing runs, and no sink is written to. A CacheDir that is not there is not made, and is as an empty one.
func Plan(ctx context.Context, target stage.Stage, o Options) ([]stage.PlannedStep, error) {
	g, b, err := look(ctx, target, &o)
	if err != nil {
		return nil, err
	}
	plan, err := stage.Plan(ctx, b.executor, g, b.request(o))
	return plan, errors.Join(err, b.close())
}

// Explain tells for each step of a build whether it would run, and why: the first thing that
// differs from the nearest step of an earlier build, such as a variable or a file. Nothing runs,
// no sink is written to, and the cache stays as it is: one that is not there is not made, and is as an empty one. See stage.Explain.
func Explain(ctx context.Context, target stage.Stage, o Options) ([]stage.Explanation, error) {
	g, b, err := look(ctx, target, &o)
	if err != nil {
		return nil, err
	}
	list, err := stage.Explain(ctx, b.executor, g, b.request(o))
	return list, errors.Join(err, b.close())
}

// checkNil finds what is given and has nothing in it: a nil pointer that became an interface, where nil itself would have meant the default.
func (o Options) checkNil() error {
	var errs []error
	for _, f := range []struct {
		name  string
		given any
	}{
		{"Context", o.Context}, {"Store", o.Store}, {"Resolver", o.Resolver}, {"Images", o.Images}, {"Runner", o.Runner}, {"Executor", o.Executor},
		{"Registry.Transport", o.Registry.Transport}, {"Registry.Documents", o.Registry.Documents},
	} {
		if f.given != nil && absent.Is(f.given) {
			errs = append(errs, fmt.Errorf("stagewright: Options.%s is a %T that is nil; give a value, or leave the field nil for the default", f.name, f.given))
		}
	}
	return errors.Join(errs...)
}

// builder is the wiring of one build: what was made for it, to be closed with it.
type builder struct {
	executor stage.Executor
	look     bool // a cache that is not there is not made, and is as an empty one
	client   *registry.Client
	failed   []stage.PlatformFailure // platforms of a partial build that did not compile
	closers  []func() error
}

// adopt has the sinks that push without options of their own use the client that fetched
// the base images.
func (b *builder) adopt(sinks []image.Sink) []image.Sink {
	sinks = slices.Clone(sinks)
	for i, s := range sinks {
		sinks[i] = b.client.Adopt(s)
	}
	return sinks
}

func (b *builder) close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i]())
	}
	b.closers = nil
	return errors.Join(errs...)
}

func (b *builder) request(o Options) stage.Request {
	return stage.Request{Context: o.Context, Secrets: o.Secrets, SSH: o.SSH, NoCache: o.NoCache, NoCacheStages: o.NoCacheStages, Partial: o.Partial, Progress: o.Progress}
}

// compile makes the graph and what evaluates it. It fills in what the options leave open.
func compile(ctx context.Context, target stage.Stage, o *Options) (*stage.Graph, *builder, error) {
	return (&builder{executor: o.Executor}).begin(ctx, target, o)
}

// look is compile for who only looks at the cache.
func look(ctx context.Context, target stage.Stage, o *Options) (*stage.Graph, *builder, error) {
	return (&builder{executor: o.Executor, look: true}).begin(ctx, target, o)
}

func (b *builder) begin(ctx context.Context, target stage.Stage, o *Options) (*stage.Graph, *builder, error) {
	if err := o.Platforms.Check(); err != nil {
		return nil, nil, fmt.Errorf("stagewright: Options.Platforms: %w", err)
	}
	if err := errors.Join(o.checkNil(), o.checkPull(), checkSinks(o.Sinks), o.checkCaches()); err != nil {
		return nil, nil, err
	}
	g, err := b.compile(ctx, target, o)
	if err == nil {
		err = o.checkKeep(ctx)
	}
	if err == nil && b.executor == nil {
		err = b.local(o)
	}
	if err != nil {
		return nil, nil, errors.Join(err, b.close())
	}
	return g, b, nil
}

// compile makes the graph. It fills in where base images come from.
func (b *builder) compile(ctx context.Context, target stage.Stage, o *Options) (*stage.Graph, error) {
	if b.executor == nil {
		err := b.openStore(o, b.look)
		if b.look && errors.Is(err, cache.ErrNoCache) {
			o.Store, err = cache.NewMemory(), nil
		}
		if err != nil {
			return nil, err
		}
	}
	if o.Registry.Documents == nil && o.Store != nil {
		o.Registry.Documents = documents{o.Store}
	}
	b.client = registry.NewClient(o.Registry)
	bases := newBases(b.client, o.pulling())
	if o.Resolver == nil {
		o.Resolver = bases
	}
	if o.Images == nil {
		o.Images = bases
	}
	var locked *lock.File
	if o.Lock != "" {
		var err error
		if locked, err = lock.Open(o.Lock); err != nil {
			return nil, err
		}
		o.Resolver = locked.Resolver(o.Resolver, o.LockMode)
	}
	g, err := b.compileFor(ctx, o, func(platforms platform.Set) (*stage.Graph, error) {
		return stage.Compile(ctx, []stage.Stage{target}, stage.Options{
			Args: o.Args, Platforms: platforms, Resolver: o.Resolver, Stages: o.Stages,
			OnBuild: o.OnBuild, Policy: o.Policy, Run: o.Run, Labels: o.Labels,
		})
	})
	if err == nil && locked != nil {
		err = locked.Save()
	}
	return g, err
}

// openStore opens the cache on disk, unless there is a store already. With existing one that is not there is not made.
func (b *builder) openStore(o *Options, existing bool) error {
	if o.Store != nil {
		return nil
	}
	dir := o.CacheDir
	if dir == "" {
		home, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("stagewright: no directory for the cache: %w; set Options.CacheDir", err)
		}
		dir = filepath.Join(home, "stagewright")
	}
	disk, err := cache.OpenDisk(dir, cache.DiskOptions{Existing: existing})
	if err != nil {
		return err
	}
	b.closers = append(b.closers, disk.Close)
	o.Store = disk
	return nil
}

// local makes the default executor.
func (b *builder) local(o *Options) error {
	if o.Epoch.IsZero() {
		epoch, err := sourceDateEpoch(os.Getenv("SOURCE_DATE_EPOCH"))
		if err != nil {
			return err
		}
		o.Epoch = epoch
	}
	e, err := local.New(local.Options{
		Store: o.Store, From: o.cachesBehind(), Runner: o.Runner, Images: o.Images, Parallel: o.Parallel, Epoch: o.Epoch, Compression: o.Compression,
		Emulators: o.Emulators,
		Transport: o.Registry.Transport, Offline: o.Offline, GitEnv: gitEnvironment(os.LookupEnv),
	})
	if err != nil {
		return err
	}
	b.closers = append(b.closers, e.Close)
	b.executor = e
	return nil
}

// sourceDateEpoch reads the value of SOURCE_DATE_EPOCH; empty is the zero time.
func sourceDateEpoch(value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds < 0 {
		return time.Time{}, fmt.Errorf("stagewright: SOURCE_DATE_EPOCH is %q; want seconds since 1970", value)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// gitEnvironment is what the program git gets of the environment: the way to its helpers,
// to the network and to keys.
func gitEnvironment(lookup func(string) (string, bool)) []string {
	var env []string
	for _, name := range []string{
		"PATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "SYSTEMROOT", "TMPDIR",
	} {
		if value, ok := lookup(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// checkLayers finds an image that has more layers than it may.
func (o Options) checkLayers(outputs []stage.Output) error {
	if o.MaxLayers <= 0 {
		return nil
	}
	for _, out := range outputs {
		layers, err := out.Image.Layers()
		if err != nil {
			return err
		}
		if len(layers) > o.MaxLayers {
			return fmt.Errorf("stagewright: the image for %s has %d layers, and Options.MaxLayers allows %d; join steps with Stage.Layer or Stage.Squash", out.Platform, len(layers), o.MaxLayers)
		}
	}
	return nil
}
