package stage_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// inherited is the configuration of the image "base" in these tests.
func inherited() image.Config {
	return image.Config{
		User:         "app",
		WorkingDir:   "/srv",
		Env:          []string{"PATH=/bin", "A=base", "B=base"},
		Entrypoint:   []string{"/entry"},
		Cmd:          []string{"serve"},
		Labels:       map[string]string{"k": "base", "only": "base"},
		ExposedPorts: map[string]struct{}{"80/tcp": {}},
		Volumes:      map[string]struct{}{"/data": {}},
		Healthcheck:  &image.Healthcheck{Test: []string{"CMD", "old"}, Retries: 9, Timeout: time.Second},
	}
}

// TestConfig compares the configuration after some operations on the image
// above with that configuration as edit changes it.
func TestConfig(t *testing.T) {
	set := func(names ...string) map[string]struct{} {
		m := map[string]struct{}{}
		for _, n := range names {
			m[n] = struct{}{}
		}
		return m
	}
	for _, c := range []struct {
		name string
		add  func(stage.Stage) stage.Stage
		edit func(*image.Config)
	}{
		{"nothing", func(s stage.Stage) stage.Stage { return s }, func(c *image.Config) {}},
		{"ENV replaces in place, appends, keeps empty", func(s stage.Stage) stage.Stage {
			return s.Env("A", "$B!").Env("NEW_$B", "1").Env("EMPTY", "").Env("B", "x$A")
		}, func(c *image.Config) { c.Env = []string{"PATH=/bin", "A=base!", "B=xbase!", "NEW_base=1", "EMPTY="} }},
		{"ENV value with =", func(s stage.Stage) stage.Stage { return s.Env("A", "x=y").Env("C", "${A#x=}") },
			func(c *image.Config) { c.Env = []string{"PATH=/bin", "A=x=y", "B=base", "C=y"} }},
		{"ENV escape", func(s stage.Stage) stage.Stage { return s.Env("C", `\$A 'q' "$A" a\b`) },
			func(c *image.Config) { c.Env = append(c.Env, `C=$A 'q' "base" a\b`) }},
		{"ENV tolerant forms", func(s stage.Stage) stage.Stage { return s.Env("C", "${U:-d}${U-e}${U:+f}${A:+g}${A:-h}") },
			func(c *image.Config) { c.Env = append(c.Env, "C=degbase") }},
		{"LABEL union, last wins", func(s stage.Stage) stage.Stage { return s.Label("k", "1").Label("k", "$A").Label("$B", "") },
			func(c *image.Config) { c.Labels = map[string]string{"k": "base", "only": "base", "base": ""} }},
		{"EXPOSE union", func(s stage.Stage) stage.Stage { return s.Expose(8080, stage.UDP(53), stage.SCTP(9), 80) },
			func(c *image.Config) { c.ExposedPorts = set("80/tcp", "8080/tcp", "53/udp", "9/sctp") }},
		{"EXPOSE specs", func(s stage.Stage) stage.Stage {
			return s.Env("P", "3000 4000/UDP").ExposeSpec("$P", "90-92/tcp", "65535", "7/")
		}, func(c *image.Config) {
			c.Env = append(c.Env, "P=3000 4000/UDP")
			c.ExposedPorts = set("80/tcp", "3000/tcp", "4000/udp", "90/tcp", "91/tcp", "92/tcp", "65535/tcp", "7/tcp")
		}},
		{"VOLUME union", func(s stage.Stage) stage.Stage { return s.Volume("/a/$A", " /b ") },
			func(c *image.Config) { c.Volumes = set("/data", "/a/base", "/b") }},
		{"CMD replaces", func(s stage.Stage) stage.Stage { return s.Cmd("a", "$A") },
			func(c *image.Config) { c.Cmd = []string{"a", "$A"} }},
		{"CMD empty", func(s stage.Stage) stage.Stage { return s.Cmd() },
			func(c *image.Config) { c.Cmd = []string{} }},
		{"CMD line", func(s stage.Stage) stage.Stage { return s.CmdShell("a | b $A") },
			func(c *image.Config) { c.Cmd = []string{"/bin/sh", "-c", "a | b $A"} }},
		{"ENTRYPOINT clears an inherited CMD", func(s stage.Stage) stage.Stage { return s.Entrypoint("/e") },
			func(c *image.Config) { c.Entrypoint, c.Cmd = []string{"/e"}, nil }},
		{"ENTRYPOINT keeps a CMD of the stage", func(s stage.Stage) stage.Stage { return s.Cmd("x").Entrypoint("/e") },
			func(c *image.Config) { c.Entrypoint, c.Cmd = []string{"/e"}, []string{"x"} }},
		{"ENTRYPOINT clears a CMD of the parent stage", func(s stage.Stage) stage.Stage { return stage.From(s.Cmd("x")).Entrypoint("/e") },
			func(c *image.Config) { c.Entrypoint, c.Cmd = []string{"/e"}, nil }},
		{"ENTRYPOINT removed", func(s stage.Stage) stage.Stage { return s.Entrypoint() },
			func(c *image.Config) { c.Entrypoint, c.Cmd = nil, nil }},
		{"ENTRYPOINT line", func(s stage.Stage) stage.Stage { return s.EntrypointShell("exec a") },
			func(c *image.Config) { c.Entrypoint, c.Cmd = []string{"/bin/sh", "-c", "exec a"}, nil }},
		{"SHELL changes what follows and is inherited", func(s stage.Stage) stage.Stage {
			return stage.From(s.CmdShell("a").Shell("/bin/bash", "-euc")).EntrypointShell("b")
		}, func(c *image.Config) {
			c.Shell, c.Entrypoint, c.Cmd = []string{"/bin/bash", "-euc"}, []string{"/bin/bash", "-euc", "b"}, nil
		}},
		{"WORKDIR absolute", func(s stage.Stage) stage.Stage { return s.Workdir("/x/../y/") },
			func(c *image.Config) { c.WorkingDir = "/y" }},
		{"WORKDIR relative", func(s stage.Stage) stage.Stage { return s.Workdir("a").Workdir("../$A") },
			func(c *image.Config) { c.WorkingDir = "/srv/base" }},
		{"WORKDIR above the root", func(s stage.Stage) stage.Stage { return s.Workdir("../../..") },
			func(c *image.Config) { c.WorkingDir = "/" }},
		{"USER as written", func(s stage.Stage) stage.Stage { return s.User("$A:007") },
			func(c *image.Config) { c.User = "base:007" }},
		{"STOPSIGNAL", func(s stage.Stage) stage.Stage { return s.StopSignal("SIG${X:-TERM}") },
			func(c *image.Config) { c.StopSignal = "SIGTERM" }},
		{"STOPSIGNAL forms", func(s stage.Stage) stage.Stage { return s.StopSignal("9").StopSignal("usr1").StopSignal("SIGRTMIN+3") },
			func(c *image.Config) { c.StopSignal = "SIGRTMIN+3" }},
		{"HEALTHCHECK replaces as a whole", func(s stage.Stage) stage.Stage {
			return s.Healthcheck(stage.Health{Shell: "curl $A", Interval: 30 * time.Second})
		}, func(c *image.Config) {
			c.Healthcheck = &image.Healthcheck{Test: []string{"CMD-SHELL", "curl $A"}, Interval: 30 * time.Second}
		}},
		{"HEALTHCHECK exec", func(s stage.Stage) stage.Stage {
			return s.Healthcheck(stage.Health{Exec: []string{"a", "b"}, Timeout: time.Millisecond, StartPeriod: 1e9, StartInterval: 2e9, Retries: 3})
		}, func(c *image.Config) {
			c.Healthcheck = &image.Healthcheck{Test: []string{"CMD", "a", "b"}, Timeout: time.Millisecond, StartPeriod: 1e9, StartInterval: 2e9, Retries: 3}
		}},
		{"HEALTHCHECK none", func(s stage.Stage) stage.Stage { return s.NoHealthcheck() },
			func(c *image.Config) { c.Healthcheck = &image.Healthcheck{Test: []string{"NONE"}} }},
		{"ARG is no part of it", func(s stage.Stage) stage.Stage {
			return s.Arg(arg.New("A", arg.Default("arg")), arg.New("X", arg.Default("x"))).Run("true")
		}, func(c *image.Config) {}},
		{"copying from a stage brings no configuration", func(s stage.Stage) stage.Stage {
			return s.CopyFrom(stage.Scratch().Env("Z", "1").Label("z", "1").Cmd("z"), "/x", "/x")
		}, func(c *image.Config) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := inherited()
			c.edit(&want)
			got := last(compileWith(t, with(inherited()), c.add(stage.From("base")))).Config
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigOfScratch(t *testing.T) {
	want := &image.Config{WorkingDir: "/", Env: []string{defaultPath}}
	if diff := cmp.Diff(want, configOf(t, stage.Scratch())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestBaseWithoutPathGetsOne(t *testing.T) {
	g := compileWith(t, with(image.Config{Env: []string{"A=1"}}), stage.From("base"))
	want := &image.Config{Env: []string{"A=1", defaultPath}}
	if diff := cmp.Diff(want, last(g).Config); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestBaseWithOddEnvironment: of two entries for one name the last one's value
// counts, as for BuildKit, and an entry without '=' is a variable that is not set.
func TestBaseWithOddEnvironment(t *testing.T) {
	o := with(image.Config{Env: []string{"PATH=/", "A=1", "A=2", "BARE"}})
	got := last(compileWith(t, o, stage.From("base").Env("C", "$A${BARE-unset}").Env("BARE", "x"))).Config.Env
	if want := []string{"PATH=/", "A=1", "A=2", "BARE=x", "C=2unset"}; !slices.Equal(got, want) {
		t.Errorf("environment %q, want %q", got, want)
	}
}

// TestHistory says that each instruction is told as BuildKit tells it, but for the
// mark "# buildkit", which belongs to those with a layer and is added with it.
func TestHistory(t *testing.T) {
	version, unset := arg.New("VERSION", arg.Default("1.2")), arg.New("UNSET")
	builder := stage.Scratch(stage.As("builder")).Mkdir("/out")
	s := stage.Scratch().
		Run("echo $PATH").
		Arg(version, unset).
		Env("MODE", "fast $VERSION").
		Label("a", "b c").
		Workdir("src").
		User("app:app").
		Run("go build").
		RunExec([]string{"/bin/echo", "$VERSION"}).
		Env("VERSION", "env").
		Run("go test", stage.SecretMount("token"), stage.SecretEnv("token", "TOKEN")).
		Shell("/bin/bash", "-c").
		Run("one\ntwo").
		Copy(stage.Files("a.txt", "./b"), "${MODE%% *}/", stage.Chown("1:2"), stage.Chmod("0644")).
		CopyFrom(builder, "/out", ".").
		Expose(8080, stage.UDP(53)).
		ExposeSpec("1-2/tcp").
		Volume("/data", "/logs").
		Cmd("serve", `say "hi"`).
		CmdShell("serve $X").
		Entrypoint("/app").
		Entrypoint().
		StopSignal("SIGINT").
		Healthcheck(stage.Health{Shell: "curl localhost", Interval: 30 * time.Second, Retries: 3}).
		NoHealthcheck().
		Needs(builder)
	want := []string{
		"",
		"RUN /bin/sh -c echo $PATH",
		"ARG VERSION=1.2 UNSET",
		"ENV MODE=fast 1.2",
		"LABEL a=b c",
		"WORKDIR /src",
		"USER app:app",
		"RUN |2 VERSION=1.2 UNSET= /bin/sh -c go build",
		"RUN |2 VERSION=1.2 UNSET= /bin/echo $VERSION",
		"ENV VERSION=env",
		"RUN |2 VERSION=env UNSET= /bin/sh -c go test",
		"SHELL [/bin/bash -c]",
		"RUN |2 VERSION=env UNSET= /bin/bash -c one\ntwo",
		"COPY --chown=1:2 --chmod=0644 a.txt ./b fast/",
		"COPY /out .",
		"EXPOSE [8080/tcp 53/udp]",
		"EXPOSE [1/tcp 2/tcp]",
		"VOLUME [/data /logs]",
		`CMD ["serve" "say \"hi\""]`,
		`CMD ["/bin/bash" "-c" "serve $X"]`,
		`ENTRYPOINT ["/app"]`,
		`ENTRYPOINT []`,
		"STOPSIGNAL SIGINT",
		"HEALTHCHECK {Test:[CMD-SHELL curl localhost] Interval:30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}",
		"HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}",
		"",
	}
	var got []string
	for _, step := range compile(t, s).Steps() {
		if step.Stage != "builder" {
			got = append(got, step.History)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
