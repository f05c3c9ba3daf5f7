package stagetest_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/stagetest"
)

func ExampleImage() {
	test := func(t testing.TB) {
		img := stagetest.Image(t, stage.Scratch().
			File("/etc/app.conf", "port = 8080\n", stage.Mode(0o600)).
			Env("MODE", "fast").
			Cmd("/app", "-v"))

		img.File("/etc/app.conf").WantContent("port = 8080\n").WantMode(0o600).WantOwner(0, 0)
		img.WantAbsent("/etc/passwd")
		img.WantEnv("MODE", "slow")
	}
	show(test)
	// Output:
	// stagetest: the variable MODE (-want +got):
	//   string(
	// - 	"slow",
	// + 	"fast",
	//   )
}

func ExampleImageWith() {
	test := func(t testing.TB) {
		img := stagetest.ImageWith(t, stage.Scratch().Arg(arg.New("TARGETARCH")).Copy("bin/${TARGETARCH}", "/app"), stagewright.Options{
			Context: stagewright.FS(fstest.MapFS{
				"bin/amd64": {Data: []byte("an amd64 program"), Mode: 0o755},
				"bin/arm64": {Data: []byte("an arm64 program"), Mode: 0o755},
			}),
			Platforms: platform.MustParseSet("linux/amd64,linux/arm64"),
		})
		img.For("linux/arm64").File("/app").WantContent("an arm64 program").WantMode(0o755)
	}
	show(test)
	// Output:
}

func ExampleRegistry() {
	test := func(t testing.TB) {
		reg := stagetest.Registry(t)
		reg.Push("app:1", stage.Scratch().File("/motd", "hello\n"))

		// What the code under test does.
		resp, err := http.Get("http://" + reg.Host() + "/v2/app/tags/list")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		fmt.Println(string(body), err)
		fmt.Println(reg.Requests())

		reg.Pull("app:1").File("/motd").WantContent("hello\n")
	}
	show(test)
	// Output:
	// {"name":"app","tags":["1"]} <nil>
	// [GET /v2/app/tags/list: 200]
}

func ExampleRegistryServer_Set() {
	test := func(t testing.TB) {
		reg := stagetest.Registry(t, stagetest.FailEvery(2))
		get := func() {
			resp, err := http.Get("http://" + reg.Host() + "/v2/")
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
		}
		get()
		get()
		reg.Set(stagetest.RateLimit(0, 0))
		get()
		reg.Set()
		get()
		for _, r := range reg.Requests() {
			fmt.Println(r)
		}
	}
	show(test)
	// Output:
	// GET /v2/: 200
	// GET /v2/: 503 (FailEvery)
	// GET /v2/: 429 (RateLimit)
	// GET /v2/: 200
}

func ExampleQuirk() {
	test := func(t testing.TB) {
		reg := stagetest.Registry(t)
		base := reg.Push("base:1", stage.Scratch().File("/etc/os-release", "ID=base\n"))
		digest, err := base.Digest()
		if err != nil {
			t.Fatal(err)
		}
		layer := layerOf(t, base)
		for _, each := range []struct {
			quirk  stagetest.Quirk
			method string
			path   string
		}{
			{stagetest.FailEvery(1), "GET", "/v2/"},
			{stagetest.RateLimit(0, time.Minute), "GET", "/v2/"},
			{stagetest.Login("me", "secret"), "GET", "/v2/"},
			{stagetest.ReadOnly(), "DELETE", "/v2/base/manifests/1"},
			{stagetest.NoReferrers(), "GET", "/v2/base/referrers/" + digest},
			{stagetest.RejectMounts(), "POST", "/v2/app/blobs/uploads/?from=base&mount=" + layer},
			{stagetest.TruncateEvery(1), "GET", "/v2/base/blobs/" + layer},
			{stagetest.Slow(time.Millisecond), "GET", "/v2/"},
		} {
			reg.Set(each.quirk)
			reg.Forget()
			send(t, each.method, "http://"+reg.Host()+each.path)
			r := reg.Requests()[0]
			fmt.Println(r.Quirk, r.Status)
		}
	}
	show(test)
	// Output:
	// FailEvery 503
	// RateLimit 429
	// Login 401
	// ReadOnly 403
	// NoReferrers 404
	// RejectMounts 202
	// TruncateEvery 200
	// Slow 200
}

func ExampleCheck() {
	test := func(t testing.TB) {
		stagetest.Check(t, empty.Image).WantLayers(0).WantUser("").WantCmd("/app")
	}
	show(test)
	// Output:
	// stagetest: the command (-want +got):
	//   []string{
	// - 	"/app",
	//   }
}

func ExampleChecks_WantTree() {
	golden := filepath.Join(os.TempDir(), fmt.Sprintf("stagetest-%d.txt", os.Getpid())) // "testdata/tree.txt" in a real test
	defer os.Remove(golden)
	test := func(t testing.TB) {
		stagetest.Image(t, stage.Scratch().File("/etc/app.conf", "a\n").Symlink("app.conf", "/etc/link")).WantTree(golden)
	}
	try(test) // fails, and writes the file
	show(test)
	text, err := os.ReadFile(golden)
	fmt.Print(string(text), err)
	// Output:
	// drwxr-xr-x 0:0 /etc
	// -rw-r--r-- 0:0 2 sha256:87428fc522803d31 /etc/app.conf
	// Lrwxrwxrwx 0:0 /etc/link -> app.conf
	// <nil>
}

func ExampleScript() {
	test := func(t testing.TB) {
		runner := stagetest.Script{
			"apk add curl": {Files: fstest.MapFS{"usr/bin/curl": {Data: []byte("curl"), Mode: 0o755}}},
			"make test":    {Stderr: "FAIL\n", Code: 2},
		}
		img := stagetest.ImageWith(t, stage.Scratch().Run("apk add curl"), stagewright.Options{Runner: runner})
		img.File("/usr/bin/curl").WantContent("curl").WantMode(0o755)

		_, err := stagewright.Build(t.Context(), stage.Scratch().Run("make test"), stagewright.Options{Runner: runner, CacheDir: t.TempDir()})
		fmt.Println(err != nil)
	}
	show(test)
	// Output: true
}

func ExampleNewRecorder() {
	test := func(t testing.TB) {
		recorder := stagetest.NewRecorder(nil) // runs nothing
		stagetest.ImageWith(t, stage.Scratch().Workdir("/src").Run("make").RunExec([]string{"make", "install"}), stagewright.Options{Runner: recorder})
		fmt.Printf("%q in %s\n", recorder.Commands(), recorder.Specs()[0].Dir)
	}
	show(test)
	// Output: ["make" "make install"] in /src
}

func ExampleShell() {
	test := func(t testing.TB) {
		img := stagetest.Image(t, stagetest.Shell(t).Run("mkdir /data && echo hello > /data/file"))
		img.File("/data/file").WantContent("hello\n")
	}
	try(test) // skips where Run steps do not work
	// Output:
}
