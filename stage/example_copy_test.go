package stage_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/stage"
)

func ExampleParents() {
	show(stage.Scratch(stage.As("app")).
		Copy("services/./*/go.mod", "/src/", stage.Parents(), stage.Exclude("old/**")), stage.Options{})
	// Output:
	// app: FROM scratch
	// app: COPY --exclude=old/** --parents services/./*/go.mod /src/
}

func ExampleLink() {
	show(stage.From("alpine:3.22", stage.As("app")).
		Copy("site", "/srv/www/", stage.Link(), stage.Chmod("u=rwX,go=rX"), stage.ChmodDirs("750")), stage.Options{})
	// Output:
	// app: FROM alpine:3.22
	// app: COPY --link --chmod=u=rwX,go=rX site /srv/www/
}

func ExampleWithLinks() {
	show(stage.Scratch(stage.As("app")).
		Copy("current", "/opt/app/", stage.WithLinks(stage.LinksKept)).
		Copy("releases", "/opt/app/releases/"), stage.Options{})
	// Output:
	// app: FROM scratch
	// app: COPY current /opt/app/
	// app: COPY releases /opt/app/releases/
}

func ExampleInline() {
	show(stage.Scratch(stage.As("app")).
		Copy(stage.Files(), "/etc/app/", stage.Inline("app.conf", "port = 80\n"), stage.Inline("users", "root\n")), stage.Options{})
	// Output:
	// app: FROM scratch
	// app: COPY <<app.conf <<users /etc/app/
}

func ExampleStage_Add() {
	show(stage.Scratch(stage.As("app")).
		Add("rootfs.tar.gz", "/").
		Add("data.tar.gz", "/data/", stage.NoUnpack()).
		Copy("bin", "/bin/", stage.KeepModes()), stage.Options{})
	// Output:
	// app: FROM scratch
	// app: ADD rootfs.tar.gz /
	// app: ADD data.tar.gz /data/
	// app: COPY bin /bin/
}

func ExampleHTTP() {
	sum := "sha256:" + strings.Repeat("0", 64)
	show(stage.Scratch(stage.As("app")).
		AddFrom(stage.HTTP("https://example.com/v1/tool.tar.gz", sum), "/opt/tool/", stage.UnpackArchive()).
		AddFrom(stage.HTTPUnchecked("https://example.com/ca.pem"), "/etc/ssl/ca.pem"), stage.Options{})
	_, err := stage.Compile(context.Background(), []stage.Stage{
		stage.Scratch().AddFrom(stage.HTTP("https://example.com/x", ""), "/x"),
	}, stage.Options{})
	fmt.Println(err.(stage.Errors)[0].Err)
	// Output:
	// app: FROM scratch
	// app: ADD https://example.com/v1/tool.tar.gz /opt/tool/
	// app: ADD https://example.com/ca.pem /etc/ssl/ca.pem
	// https://example.com/x has no checksum; give one to stage.HTTP, or use stage.HTTPUnchecked
}

func ExampleGit() {
	lib := stage.Git("https://example.com/lib.git#v1.2:src")
	fmt.Println(lib.Remote, lib.Ref, lib.Subdir)
	show(stage.Scratch(stage.As("app")).AddFrom(lib, "/src/lib/"), stage.Options{})
	// Output:
	// https://example.com/lib.git v1.2 src
	// app: FROM scratch
	// app: ADD git repository https://example.com/lib.git#v1.2:src /src/lib/
}

func ExampleTar() {
	var archive bytes.Buffer // a tar stream from anywhere
	src := stage.Tar(func() (io.ReadCloser, error) { return io.NopCloser(&archive), nil }, "release")
	show(stage.Scratch(stage.As("app")).
		CopyFrom(src, "usr/bin", "/usr/bin/").
		CopyFrom(stage.TarFile("etc.tar"), ".", "/etc/"), stage.Options{})
	// Output:
	// app: FROM scratch
	// app: COPY --from=archive release usr/bin /usr/bin/
	// app: COPY --from=archive etc.tar . /etc/
}

func ExampleStage_Merge() {
	base := stage.From("alpine:3.22", stage.As("base"))
	tools := stage.From(base, stage.As("tools")).Run("apk add git")
	certs := stage.Scratch(stage.As("certs")).Copy("ca.pem", "/etc/ssl/")
	show(stage.From("debian:13", stage.As("app")).Merge(certs).Apply(base, tools), stage.Options{})
	// Output:
	// app: FROM debian:13
	// certs: FROM scratch
	// certs: COPY ca.pem /etc/ssl/
	// app: MERGE certs
	// base: FROM alpine:3.22
	// tools: RUN /bin/sh -c apk add git
	// app: APPLY base tools
}

func ExampleStage_Layer() {
	app := stage.From("alpine:3.22", stage.As("app")).
		Layer(func(s stage.Stage) stage.Stage {
			return s.Mkdir("/data").Symlink("/data", "/var/data")
		}, "data directory").
		Copy("app", "/app").
		Squash()
	show(app, stage.Options{})
	// Output:
	// app: FROM alpine:3.22
	// app: MKDIR /data
	// app: SYMLINK /data /var/data
	// app: data directory
	// app: COPY app /app
	// app: MKDIR /data; SYMLINK /data /var/data; data directory; COPY app /app
}

func ExampleStage_Func() {
	count := func(ctx context.Context, in fs.FS, out stage.Writer) error {
		names, err := fs.Glob(in, "etc/*.conf")
		if err != nil {
			return err
		}
		return out.WriteFile("/etc/conf.count", 0o644, strings.NewReader(fmt.Sprintln(len(names))))
	}
	show(stage.Scratch(stage.As("app")).Copy("etc", "/etc/").Func("count", "v1", count), stage.Options{})
	// Output:
	// app: FROM scratch
	// app: COPY etc /etc/
	// app: FUNC count v1
}

func ExampleInlineText() {
	s := stage.Scratch(stage.As("app")).
		Arg(arg.New("VERSION", arg.Default("1.2"))).
		Copy("", "/etc/", stage.InlineText("version", "version ${VERSION}\n"))
	g, err := stage.Compile(context.Background(), []stage.Stage{s}, stage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", g.Steps()[2].Op.(*stage.CopyOp).Inline[0].Content)
	// Output:
	// version 1.2
}
