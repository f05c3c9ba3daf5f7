package dockerfile_test

import (
	"time"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// goCases are stages as programs write them: every kind of stage, operation and option.
func goCases() []sourceCase {
	one := func(name string, s stage.Stage) sourceCase { return sourceCase{name: name, targets: []stage.Stage{s}} }
	return []sourceCase{
		one("readme", readme()),
		one("config", configured()),
		one("files", fileSteps()),
		one("copies", copies()),
		one("runs", runs()),
		one("trees", trees()),
		one("layers", layers()),
		one("texts", texts()),
		{name: "forks", targets: forks()},
		{name: "sources", targets: []stage.Stage{sources()}, params: "files, files, archive"},
		{name: "platform", targets: []stage.Stage{perPlatform()}, platforms: "linux/arm64"},
		{name: "platforms", targets: []stage.Stage{pinned()}, platforms: "linux/amd64,linux/arm64"},
		{name: "arguments", targets: []stage.Stage{arguments()}, args: map[string]string{"MODE": "fast", "TOKEN": "x"}},
		{name: "names", targets: names()},
		one("docker", docker()),
		one("spelled", spelled()),
	}
}

func readme() stage.Stage {
	goVersion := arg.New("GO_VERSION", arg.Default("1.26"))
	targetEnv := arg.New("TARGET_ENV", arg.OneOf("development", "production"), arg.Default("production"))
	builder := stage.From("golang:${GO_VERSION}", stage.As("builder"), stage.FromArgs(goVersion)).
		Workdir("/app").
		Copy(stage.Files("go.mod", "go.sum"), "./").
		Run("go mod download", stage.CacheMount("/go/pkg/mod")).
		Copy(".", ".").
		Run("go build -o main .", stage.CacheMount("/root/.cache/go-build"))
	return stage.From("alpine:3.22").Arg(targetEnv).
		Workdir("/app").
		CopyFrom(builder, "/app/main", ".").
		CopyFrom(builder, "/app/config-${TARGET_ENV}.yaml", "/app/config.yaml").
		Expose(8080).
		Cmd("./main")
}

func configured() stage.Stage {
	return stage.From("alpine:3.22", stage.As("app")).
		Env("A", "1").
		Env("B", `it's "quoted" \ $A`, "C", "${B:-x}").
		Label("old", "2", "new", "a\nb").
		Author("A. Person").
		User("app").
		Expose(80, stage.UDP(53), stage.SCTP(9)).
		ExposeSpec("3000-3002", "${A}/tcp").
		Volume("/data", "/more").
		UnsetEnv("BASE").UnsetLabel("old").Unexpose("22").RemoveVolume("/old").
		Shell("/bin/bash", "-c").
		StopSignal("SIGINT").
		Healthcheck(stage.Health{Exec: []string{"check", "-v"}, Interval: 90 * time.Second, Timeout: time.Minute, StartPeriod: 1500 * time.Millisecond, StartInterval: 2 * time.Hour, Retries: 3}).
		NoHealthcheck().
		Healthcheck(stage.Health{Shell: `test "$A"`}).
		OnBuild(`RUN echo "hi"`).
		Entrypoint("/bin/app", "--name", `"x"`).
		CmdShell("echo $A").
		EntrypointShell("exec app").
		Cmd("a", "b").
		Entrypoint().
		Cmd()
}

func fileSteps() stage.Stage {
	return stage.Scratch(stage.As("files")).
		Workdir("/srv").
		File("app.conf", "port = 80\nname = `x`\n", stage.Mode(0o600), stage.Owner("1:2")).
		File("/bin/run", "#!/bin/sh\necho \"$1\"\n", stage.Mode(0o4755)).
		File("/empty", "").
		File("/crlf", "a\r\nb\x00\xff\n").
		Mkdir("/a/b", stage.Mode(0o1777), stage.Owner("0:5")).
		Mkdir("/c").
		Symlink("../a", "/l").
		Remove("/c").
		Remove("/d", stage.MayBeAbsent())
}

func copies() stage.Stage {
	tools := stage.From("golang:1.26", stage.As("tools")).Run("make tools")
	return stage.From("alpine:3.22", stage.As("app")).
		Copy(stage.Files("a b", "c"), "/x/", stage.Chown("app:app"), stage.Chmod("u=rwX,go="), stage.ChmodDirs("755"), stage.Exclude("*.md", "!README.md"), stage.Link(), stage.Optional(), stage.KeepModes()).Copy("l", "/l", stage.WithLinks(stage.LinksKept)).Copy("m", "/m", stage.WithLinks(stage.LinksRefused)).
		Copy("src/./*/go.mod", "/m/", stage.Parents()).
		Copy(stage.Files(), "/etc/", stage.Inline("a.conf", "a = 1\nb = 2\n"), stage.InlineText("b.conf", "x")).
		Add("rootfs.tar", "/").
		Add("data.tgz", "/data/", stage.NoUnpack()).
		Add("must.tgz", "/must/", stage.UnpackArchive()).
		CopyFrom(tools, "/bin/tool", "/bin/").
		CopyFrom(stage.Image("busybox:1.37"), "/bin/busybox", "/bin/")
}

func runs() stage.Stage {
	tools := stage.From("golang:1.26", stage.As("tools"))
	return stage.From("alpine:3.22", stage.As("app")).
		RunDefaults(stage.CacheMount("/var/cache/apk", stage.SeedFrom(tools, "/cache"), stage.ReadOnly()), stage.Timeout(time.Minute)).
		Run("apk update &&     apk add     git     make     curl     openssl     ca-certificates     tzdata &&     rm -rf /tmp").
		Run("one\ntwo `three`\n").
		Run("one\ntwo\n", stage.WithNetwork(stage.NetworkNone), stage.Retry(2), stage.AllowExit(1, 77), stage.Capture()).
		RunExec([]string{"/bin/tool", "a b", `"c"`}, stage.WithNetwork(stage.NetworkHost), stage.Timeout(90*time.Second)).
		Script("make\nmake install\n", stage.Stdin("yes\n"), stage.ExtraHost("mirror.test", "10.0.0.7")).
		Script("#!/usr/bin/env python3\nprint('x')\n", stage.ScriptPath("/run/x.py")).
		Run("limits", stage.WithLimits(stage.Limits{Memory: 512 << 20, Pids: 100, CPU: 0.5, Ulimits: []stage.Ulimit{{Name: "nofile", Soft: 1024, Hard: 4096}}})).
		Run("mounts",
			stage.BindMount(tools, "/go", "/mnt/go"),
			stage.BindMount(stage.Context(), ".", "/mnt/src", stage.Writable()),
			stage.BindMount(stage.Dir("vendor", "*.md"), "", "/mnt/vendor"),
			stage.TmpfsMount("/tmp", 64<<20),
			stage.TmpfsMount("/run", 0),
			stage.SecretMount("token"),
			stage.SecretMount("key", stage.At("/root/.key"), stage.MountMode(0o440), stage.MountOwner(1, 2), stage.OptionalSecret()),
			stage.SecretEnv("token", "TOKEN"),
			stage.SSHMount(""),
			stage.SSHMount("work", stage.OptionalSecret()),
			stage.CacheMount("/cache", stage.ID("shared"), stage.WithSharing(stage.Locked), stage.MountMode(0o700), stage.MountOwner(3, 4)))
}

func trees() stage.Stage {
	base := stage.From("debian:13", stage.As("base"))
	git := stage.From(base, stage.As("git")).Run("apt-get install git")
	certs := stage.Scratch(stage.As("certs")).Copy("ca.pem", "/etc/ssl/")
	test := stage.From(base, stage.As("test")).Run("make test")
	return stage.From("alpine:3.22", stage.As("app")).Merge(certs, git).Apply(base, git).Needs(test)
}

func layers() stage.Stage {
	return stage.From("alpine:3.22", stage.As("app")).
		Layer(func(s stage.Stage) stage.Stage {
			return s.Mkdir("/data").Layer(func(s stage.Stage) stage.Stage { return s.Mkdir("/a").Mkdir("/b") }).Symlink("/data", "/var/data")
		}, "data").
		Layer(func(s stage.Stage) stage.Stage { return s.Mkdir("/c") }).
		Squash().
		Mkdir("/d")
}

func texts() stage.Stage {
	return stage.From("alpine:3.22", stage.As("texts")).
		Run("echo `date`").
		Run(`echo "a" \ b`).
		Run("a\tb\x01").
		Run("#comment\n`x`\n\\y\n").
		File("/a", "\ufeffx\ny\n").
		File("/b", "one line\n").
		File("/c", "\n\n").
		Env("DOLLAR", `\$A \\`)
}

// forks has a stage that others use at several points.
func forks() []stage.Stage {
	base := stage.From("alpine:3.22", stage.As("base")).Run("apk update")
	tools := base.Run("apk add make")
	early := stage.From(base, stage.As("early")).CopyFrom(tools, "/usr/bin/make", "/usr/bin/")
	unnamed := stage.From(tools).Run("make")
	app := tools.CopyFrom(early, "/etc", "/etc").CopyFrom(unnamed, "/out", "/out")
	other := tools.CopyFrom(stage.Named("EARLY"), "/x", "/x")
	return []stage.Stage{app, other, app}
}

func sources() stage.Stage {
	return stage.Scratch(stage.As("app")).
		CopyFrom(stage.FS(files), "a.txt", "/a").
		CopyFrom(stage.FSSource{FS: files, Name: "embedded"}, ".", "/b/").
		CopyFrom(stage.Tar(archive, "release"), "usr", "/usr").
		CopyFrom(stage.Dir("site", "*.tmp", "!keep.tmp"), ".", "/srv").
		CopyFrom(stage.DirSource{Path: "src", IgnoreFile: "-", Ignore: []string{"x"}, GitIgnore: true}, ".", "/src").
		AddFrom(stage.HTTP("https://example.com/t.tgz", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "/t/", stage.UnpackArchive()).
		AddFrom(stage.HTTPUnchecked("https://example.com/ca.pem"), "/ca.pem").
		AddFrom(stage.HTTPSource{URL: "https://example.com/x?y", Unchecked: true, Name: "z"}, "/z/").
		AddFrom(stage.Git("https://example.com/lib.git#v1:src"), "/lib").
		AddFrom(stage.Git("https://example.com/all.git"), "/all").
		AddFrom(stage.GitSource{Remote: "https://example.com/k.git", KeepGit: true, Checksum: "abc"}, "/k")
}

func perPlatform() stage.Stage {
	s := stage.ForPlatform(func(p platform.Platform) stage.Stage {
		return stage.From("alpine:3.22-"+p.Architecture, stage.As("base")).Run("apk add " + p.Architecture)
	})
	return s.Run("make")
}

func pinned() stage.Stage {
	target := arg.New("TARGETARCH")
	builder := stage.From("golang:1.26", stage.As("builder"), stage.OnBuildPlatform()).Arg(target).Run("GOARCH=$TARGETARCH go build")
	arm := stage.From("alpine:3.22", stage.As("arm"), stage.OnPlatform(platform.MustParse("linux/arm64")))
	return stage.From("alpine:3.22", stage.As("app"), stage.IgnoreOnBuild()).CopyFrom(builder, "/app", "/app").CopyFrom(arm, "/etc/arch", "/etc/arm")
}

func arguments() stage.Stage {
	return stage.Scratch(stage.As("app")).
		Arg(arg.New("MODE", arg.OneOf("fast", "slow"), arg.Doc("how to build"))).
		Arg(arg.New("TOKEN", arg.Required()), arg.New("PORT", arg.Default("80"), arg.IntRange(1, 65535)), arg.New("COUNT", arg.Default("-1"), arg.Int()), arg.New("DEBUG", arg.Default("false"), arg.Bool())).
		Arg(arg.New("IMAGE", arg.Default("app:${PORT}"))).
		Label("a", "$MODE$TOKEN$PORT$COUNT$DEBUG$IMAGE").
		Arg(arg.New("MODE", arg.Default("other"))).
		Label("b", "$MODE")
}

// spelled uses what Dockerfiles can say, in the words of package stage.
func spelled() stage.Stage {
	word := arg.New("WORD", arg.Default(`it's "so" \`), arg.Doc("is said"))
	tools := stage.From("golang:${WORD:+1.26}", stage.As("tools"), stage.FromArgs(word), stage.OnBuildPlatform()).Arg(word).Run("echo $WORD")
	return stage.From(tools, stage.As("app")).
		RunDefaults(stage.CacheMount("/var/cache"), stage.WithNetwork(stage.NetworkNone)).
		Env("A", "two words").Env("B", `"$A" \\$A \$A`, "C", "${A:-x y}", "EMPTY", "", "D", "a'b").
		Label("a.b/c-d", "$A").
		Author("A. Person <a@example.com>").
		Expose(80, stage.UDP(53)).
		ExposeSpec("${A:+90} 91").
		Volume("/data", "/with blank").
		Workdir("/srv/a b").
		File("run.sh", "#!/bin/sh\necho $A\n", stage.Mode(0o755), stage.Owner("1:2")).
		File("/etc/deep/secret", "EOF\nx\n", stage.Mode(0o4640)).
		Copy(stage.Files("a b", "c$A"), "/x y/", stage.Chown("1:2"), stage.Chmod("u=rwX,go="), stage.Exclude("*.md", "a b"), stage.Link()).
		Copy(stage.Files(), "/etc/", stage.Inline("a.conf", "a = $A\n"), stage.InlineText("b.conf", "b = $A\n"), stage.InlineText("empty", "")).
		CopyFrom(tools, "/out", ".").
		CopyFrom(stage.Image("busybox:1.37"), "/bin/busybox", "/bin/").
		Add("rootfs.tar", "/").
		Add("data.tgz", "/data/", stage.NoUnpack()).
		AddFrom(stage.Git("https://example.com/lib.git#v1:src"), "/lib").
		AddFrom(stage.GitSource{Remote: "https://example.com/x.git", Ref: "v2", KeepGit: true}, "/x").
		AddFrom(stage.HTTP("https://example.com/t", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), "/t/").
		User("app").
		Run("plain && text").
		Run("one\ntwo\n").
		Run("one\ntwo").
		Run("cat <<X >/f\na\nX").
		Script("make\nmake install\n").
		Script("#!/usr/bin/env python3\nprint('x')\n", stage.ScriptPath("/dev/pipes/EOF")).
		RunExec([]string{"/bin/tool", "a b", `"c"`}, stage.WithNetwork(stage.NetworkHost)).
		Run("mounts",
			stage.BindMount(tools, "/go", "/mnt/go", stage.Writable()),
			stage.BindMount(stage.Context(), ".", "src"),
			stage.TmpfsMount("/tmp", 64<<20),
			stage.SecretMount("token", stage.MountMode(0o440), stage.MountOwner(1, 2)),
			stage.SecretMount("key", stage.At("/root/a,b c"), stage.OptionalSecret()),
			stage.SecretEnv("token", "TOKEN"),
			stage.SSHMount("", stage.OptionalSecret()),
			stage.CacheMount("/cache", stage.ID("shared"), stage.WithSharing(stage.Locked))).
		Shell("/bin/bash", "-c").
		Run("one\ntwo").
		StopSignal("SIGINT").
		Healthcheck(stage.Health{Exec: []string{"check", "-v"}, Interval: 90 * time.Second, Timeout: time.Minute, StartPeriod: 1500 * time.Millisecond, StartInterval: 2 * time.Hour, Retries: 3}).
		Healthcheck(stage.Health{Shell: `test "$A"`}).
		NoHealthcheck().
		OnBuild(`RUN echo "hi"`).
		EntrypointShell("exec app").
		CmdShell("a\nb").
		Cmd("a", `"b" <c>`)
}

// names has stages and arguments whose names cannot be variables.
func names() []stage.Stage {
	a := stage.From("alpine:3.22", stage.As("go")).Arg(arg.New("type", arg.Default("1")), arg.New("GO", arg.Default("2"))).Run("x")
	b := stage.From(a, stage.As("stage")).Arg(arg.New("_", arg.Default("3"))).Run("y")
	c := stage.From(b, stage.As("build-env")).Run("z")
	d := stage.From(c, stage.As("build_env")).Run("z")
	e := stage.From(d).Run("e")
	return []stage.Stage{stage.From(e).Run("f"), stage.From(e).Run("g")}
}

// docker has the rules of Dockerfiles where they make a difference.
func docker() stage.Stage {
	rules := stage.Compatible(stage.DockerRules{Escape: '`', Target: "app"})
	version := arg.New("VERSION", arg.Default(`"1.0 beta"`), arg.Written())
	tail := arg.New("TAIL", arg.Default("${VERSION%%.*}"))
	unused := arg.New("UNUSED", arg.Default("x"))
	builder := stage.From("golang:${TAIL}", stage.As("builder"), rules, stage.FromArgs(version, tail, unused))
	return stage.From("${BASE}", stage.As("app"), rules, stage.FromArgs(version, tail, unused, arg.New("BASE", arg.Default("builder"))), stage.Among(map[string]stage.Stage{"builder": builder, "scratch": stage.Scratch()})).
		Arg(arg.New("VERSION"), arg.New("TARGETSTAGE"), arg.New("a-b", arg.Written())).
		Env("A", `"a b"`, "B", `'$A'`, "C", `"$A c"`, "D", "`$A", "E", "$NOBODY").
		ExposeSpec("80 81", `"82"`).
		Copy(stage.Files("/x", "../y"), "'/z'/").
		AddFrom(stage.AddSource{Text: "https://example.com/$A"}, "/u/").
		AddFrom(stage.AddSource{Text: "https://example.com/lib.git", KeepGit: new(true)}, "/git/").
		AddFrom(stage.AddSource{Text: "https://example.com/a.txt"}, "/u/", stage.Chmod("755")).
		AddFrom(stage.AddSource{Text: "https://example.com/b.tgz"}, "/u/", stage.UnpackArchive()).
		AddFrom(stage.AddSource{Text: "${A}"}, "/u/", stage.NoUnpack()).
		Run("x", stage.CacheMount("$A", stage.MountSetting("mode", "${MODE:-0700}")), secret(stage.Mount{Type: stage.MountSecret, ID: "token"}), secret(stage.Mount{Type: stage.MountSecret, Target: "/x/y", Optional: true}))
}

func secret(m stage.Mount) stage.RunOption {
	return stage.RunFunc(func(op *stage.RunOp) { op.Mounts = append(op.Mounts, m) })
}
