package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

// flags are the command line. Lists are in the order in which they were given.
type flags struct {
	file, target, network, cacheDir, progress   string
	iidFile, metadataFile, print, lockFile      string
	explain                                     string
	tags, hosts, platforms, outputs             []string
	secrets, agents, contexts                   []string
	buildArgs, labels                           map[string]string
	annotations, indexAnnotations               map[string]string
	emulators                                   map[string]string
	noCacheStages                               []string
	cacheFrom, cacheTo                          []string
	pull                                        stagewright.PullPolicy
	push, load, noCache, check, offline, verify bool
	context                                     string

	temporary []string // files that go when the program ends
}

// printForms are what --print takes.
var printForms = [...]string{"go", "dockerfile", "json", "dot", "mermaid"}

func parseFlags(args []string, stderr io.Writer) (*flags, error) {
	f := &flags{buildArgs: map[string]string{}, labels: map[string]string{}, annotations: map[string]string{}, indexAnnotations: map[string]string{}, emulators: map[string]string{}}
	set := flag.NewFlagSet("dockerfile", flag.ContinueOnError)
	set.SetOutput(io.Discard) // of errors, which say less than ours
	set.Usage = func() {
		set.SetOutput(stderr)
		fmt.Fprintf(stderr, "usage: dockerfile [flags] CONTEXT\n       dockerfile du [flags]\n       dockerfile prune [flags]\n       dockerfile compact [flags] CACHE\n       dockerfile verify [flags]\n\nCONTEXT is a directory, a git URL, the URL of a tar archive, or - for a tar archive on the standard input.\n\n")
		set.PrintDefaults()
	}
	f.define(set)
	// As in docker build, flags may follow the context.
	var rest []string
	for {
		if err := set.Parse(args); err != nil {
			return nil, flagError(set, err)
		}
		if set.NArg() == 0 {
			break
		}
		rest = append(rest, set.Arg(0))
		args = set.Args()[1:]
	}
	switch {
	case len(rest) == 0:
		return nil, errors.New("no build context; give a directory as the last argument, such as \".\"")
	case len(rest) > 1:
		return nil, fmt.Errorf("%d arguments (%s); give one build context", len(rest), strings.Join(rest, " "))
	case f.explain != "" && f.explain != "text" && f.explain != "json":
		return nil, fmt.Errorf("--explain=%s: want text or json", f.explain)
	case f.print != "" && !slices.Contains(printForms[:], f.print):
		return nil, fmt.Errorf("--print %s: want one of %s", f.print, strings.Join(printForms[:], ", "))
	}
	f.context = rest[0]
	return f, nil
}

// optional is a flag whose value may be left out, which is "text".
type optional string

func (o *optional) String() string   { return string(*o) }
func (o *optional) IsBoolFlag() bool { return true }
func (o *optional) Set(s string) error {
	if *o = optional(s); s == "true" {
		*o = "text"
	}
	return nil
}

// flagError is an error of a flag set, with the flag that was probably meant.
func flagError(set *flag.FlagSet, err error) error {
	name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !ok {
		return err
	}
	var known []string
	set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if near := arg.Near(name, known); len(near) > 0 {
		return fmt.Errorf("unknown flag --%s; did you mean --%s?", name, near[0])
	}
	return fmt.Errorf("unknown flag --%s; --help lists the flags", name)
}

func (f *flags) define(set *flag.FlagSet) {
	text := func(p *string, usage, value string, names ...string) {
		for _, name := range names {
			set.StringVar(p, name, value, usage)
		}
	}
	list := func(p *[]string, usage string, names ...string) {
		for _, name := range names {
			set.Func(name, usage, func(s string) error { *p = append(*p, s); return nil })
		}
	}
	text(&f.file, "read the Dockerfile from `FILE`, - for the standard input (default CONTEXT/Dockerfile)", "", "f", "file")
	text(&f.target, "build the stage `NAME` (default: the last)", "", "target")
	text(&f.network, "`NETWORK` of RUN steps that name none: default, none or host", "", "network")
	text(&f.cacheDir, "keep the cache in `DIR` (default: the user's cache directory)", "", "cache-dir")
	text(&f.progress, "show what happens as `FORM`: auto, tty, plain, json or quiet", "auto", "progress")
	text(&f.iidFile, "write the image's ID to `FILE`", "", "iidfile")
	text(&f.metadataFile, "write digests and names as JSON to `FILE`", "", "metadata-file")
	text(&f.print, "write the graph as `FORM` instead of building: "+strings.Join(printForms[:], ", "), "", "print")
	text(&f.lockFile, "take the digests of images from the lock `FILE`, and add those that it lacks", "", "lock")
	for _, flag := range []string{"t", "tag"} {
		set.Func(flag, "`NAME` of the image, with an optional tag; may be repeated", func(s string) error {
			f.tags = append(f.tags, s)
			_, err := name.NewTag(s, name.WeakValidation)
			return err
		})
	}
	list(&f.hosts, "`HOST:IP`, a name that RUN steps can reach; may be repeated", "add-host")
	list(&f.platforms, "`PLATFORMS` to build for, separated by commas", "platform")
	list(&f.outputs, "`type=oci,dest=DIR`, type=docker[,dest=FILE], type=local,dest=DIR, type=tar,dest=FILE, type=registry, type=podman, type=containerd or type=kind, with compression=gzip|zstd|uncompressed, compression-level=N, force-compression=true, oci-mediatypes=false; may be repeated", "o", "output")
	list(&f.secrets, "`id=ID[,src=FILE|,env=VAR]`, a secret for RUN --mount=type=secret; may be repeated", "secret")
	list(&f.agents, "`default|ID[=SOCKET|KEY[,KEY]]`, an agent for RUN --mount=type=ssh; may be repeated", "ssh")
	list(&f.contexts, "`NAME=PATH|docker-image://REF|oci-layout://DIR`, a further context; may be repeated", "build-context")
	list(&f.cacheFrom, "`type=registry,ref=REF`, type=local,src=DIR or type=oci-layout,src=DIR[,name=NAME], a cache that other builds filled; may be repeated", "cache-from")
	list(&f.cacheTo, "`type=registry,ref=REF`, type=local,dest=DIR or type=oci-layout,dest=DIR[,name=NAME], with mode=min|max, mounts=all or ids of cache mounts with spaces between, ignore-error=true: where to export the cache; may be repeated", "cache-to")
	set.Func("build-arg", "`NAME=VALUE`, or NAME for the value of the environment; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if name == "" {
			return errors.New("want NAME=VALUE or NAME")
		}
		if !ok {
			if value, ok = os.LookupEnv(name); !ok {
				return nil // as docker build: the default counts
			}
		}
		f.buildArgs[name] = value
		return nil
	})
	set.Func("label", "`KEY=VALUE`, a label of the image; may be repeated", func(s string) error {
		key, value, _ := strings.Cut(s, "=")
		if key == "" {
			return errors.New("want KEY=VALUE")
		}
		f.labels[key] = value
		return nil
	})
	set.Func("annotation", "`KEY=VALUE` of the manifest, or index:KEY=VALUE of the index; may be repeated", func(s string) error {
		to := f.annotations
		if rest, ok := strings.CutPrefix(s, "index:"); ok {
			to, s = f.indexAnnotations, rest
		}
		key, value, ok := strings.Cut(strings.TrimPrefix(s, "manifest:"), "=")
		if key == "" || !ok {
			return errors.New("want KEY=VALUE")
		}
		to[key] = value
		return nil
	})
	set.Func("emulator", "`ARCH=PROGRAM`, a static qemu-user program for RUN steps of another platform; may be repeated", func(s string) error {
		arch, program, ok := strings.Cut(s, "=")
		if !ok || arch == "" || program == "" {
			return errors.New("want ARCH=PROGRAM, such as arm64=/usr/bin/qemu-aarch64-static")
		}
		f.emulators[arch] = program
		return nil
	})
	set.BoolVar(&f.load, "load", false, "give the image to the Docker daemon, like --output type=docker")
	set.BoolVar(&f.push, "push", false, "push the image under its names, like --output type=registry")
	set.BoolVar(&f.noCache, "no-cache", false, "run every step, whatever the cache has")
	set.Func("no-cache-filter", "run every step of the `STAGES`, separated by commas; may be repeated", func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			if name = strings.TrimSpace(name); name == "" {
				return errors.New("want the names of stages")
			}
			f.noCacheStages = append(f.noCacheStages, name)
		}
		return nil
	})
	set.Var((*pullFlag)(&f.pull), "pull", "ask registries for images: always, which is the default, missing or never")
	set.BoolVar(&f.verify, "verify", false, "do every step once more in another way before the outputs are written, and compare: a step that is not reproducible is an error")
	set.BoolVar(&f.offline, "offline", false, "send no request; what is not in the cache is an error")
	set.Var((*optional)(&f.explain), "explain", "write why which steps would be built instead of building; --explain=json for tools")
	set.BoolVar(&f.check, "check", false, "write the warnings about the Dockerfile instead of building")
	set.BoolFunc("q", "the same as --progress quiet", func(string) error { f.progress = "quiet"; return nil })
}

// pullFlag is --pull: alone, with a policy, or with the true and false of docker build.
type pullFlag stagewright.PullPolicy

func (p *pullFlag) String() string   { return string(*p) }
func (p *pullFlag) IsBoolFlag() bool { return true }

func (p *pullFlag) Set(s string) error {
	switch policy := stagewright.PullPolicy(s); policy {
	case stagewright.PullAlways, stagewright.PullMissing, stagewright.PullNever:
		*p = pullFlag(policy)
	case "true":
		*p = pullFlag(stagewright.PullAlways)
	case "false":
		*p = pullFlag(stagewright.PullMissing)
	default:
		return errors.New("want always, missing or never, as in --pull=missing")
	}
	return nil
}

// options are what the flags say to the library.
func (f *flags) options(stdin io.Reader) (o stagewright.Options, err error) {
	o = stagewright.Options{
		Args: arg.Values(f.buildArgs), Labels: f.labels, Annotations: f.annotations, IndexAnnotations: f.indexAnnotations,
		NoCache: f.noCache, NoCacheStages: f.noCacheStages, Pull: f.pull, Offline: f.offline, CacheDir: f.cacheDir, Lock: f.lockFile, Emulators: f.emulators,
	}
	for _, text := range f.platforms {
		set, err := platform.ParseSet(text)
		if err != nil {
			return o, fmt.Errorf("--platform: %w", err)
		}
		o.Platforms = append(o.Platforms, set...)
	}
	if o.Run, err = f.runOptions(); err != nil {
		return o, err
	}
	if o.Secrets, err = parseSecrets(f.secrets); err != nil {
		return o, err
	}
	if o.SSH, err = parseAgents(f.agents); err != nil {
		return o, err
	}
	o.Registry = registry.Options{}
	o.Context, err = f.contextSource(stdin)
	return o, err
}

func (f *flags) runOptions() ([]stage.RunOption, error) {
	var options []stage.RunOption
	switch f.network {
	case "", "default":
	case "none", "host":
		options = append(options, stage.WithNetwork(stage.Network(f.network)))
	default:
		return nil, fmt.Errorf("--network %s: want default, none or host", f.network)
	}
	for _, host := range f.hosts {
		name, ip, ok := strings.Cut(host, "=")
		if !ok {
			name, ip, ok = strings.Cut(host, ":")
		}
		ip = strings.Trim(ip, "[]")
		if _, err := netip.ParseAddr(ip); !ok || name == "" || err != nil {
			return nil, fmt.Errorf("--add-host %s: want HOST:IP", host)
		}
		options = append(options, stage.ExtraHost(name, ip))
	}
	return options, nil
}

// lint is what the warnings depend on.
func (f *flags) lint(o stagewright.Options) dockerfile.LintOptions {
	l := dockerfile.LintOptions{Target: f.target, Args: o.Args}
	if len(o.Platforms) > 0 {
		l.Platform = o.Platforms[0]
	}
	return l
}

func (f *flags) cleanUp() {
	for _, path := range f.temporary {
		os.Remove(path)
	}
}

// fields reads "key=value,key=value". A word without "=" has the key "".
func fields(text string) map[string]string {
	m := map[string]string{}
	for word := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			key, value = "", word
		}
		m[strings.ToLower(strings.TrimSpace(key))] = value
	}
	return m
}

// unknown names the fields of a flag that it does not have.
func unknown(flag string, m map[string]string, known ...string) error {
	for _, key := range slices.Sorted(keys(m)) {
		if !slices.Contains(known, key) {
			return fmt.Errorf("%s: unknown field %q; it has %s", flag, key, strings.Join(known, ", "))
		}
	}
	return nil
}

func keys(m map[string]string) iter.Seq[string] { return maps.Keys(m) }
