package stagewright_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
)

// goldenDigest is that of the image of goldenStage, for linux/amd64, wherever and by whomever
// it is built. It may change only with what is said in the change that does so.
const goldenDigest = "sha256:b2b73f0b24e65d546f1b0b4c0e369b385b67356d90cad03aafd30facc2fc9dec"

// goldenStage has every operation that makes files.
func goldenStage(tools stage.Stage) stage.Stage {
	made := tools.CopyFrom(stage.Tar(openArchive(false), "linked.tar"), ".", "/t").
		Run("umask 077; mkdir -p /out/d; echo made > /out/d/f; ln /out/d/f /out/hard; ln -s d/f /out/soft; chmod 4755 /out/d/f; seq 1 2000 > /out/numbers").
		Run("echo more >> /t/a; cat /t/b > /out/linked; rm /out/numbers; touch -d 2001-02-03T04:05:06Z /out/d")
	below := stage.Scratch(stage.As("below")).File("/m/a", "1").File("/m/b", "2")
	above := below.Remove("/m/a").File("/m/c", "3")
	return stage.Scratch(stage.As("golden")).
		Copy("ctx", "/srv/").
		Copy("ctx/run.sh", "/bin/run", stage.Chown("12:34"), stage.Chmod("4750")).
		CopyFrom(made, "/out", "/out").
		CopyFrom(stage.Tar(openArchive(true), "all.tar"), ".", "/archive").
		Copy("ctx/x", "/linked/", stage.Link()).
		Mkdir("/empty", stage.Mode(0o1777)).Symlink("../etc", "/srv/etc").
		File("/gone", "x").Remove("/gone").
		Merge(below).Apply(below, above).
		Func("upper", "1", func(_ context.Context, in fs.FS, out stage.Writer) error {
			data, err := fs.ReadFile(in, "srv/x")
			if err != nil {
				return err
			}
			return out.WriteFile("/upper", 0o600, strings.NewReader(strings.ToUpper(string(data))))
		}).
		Layer(func(s stage.Stage) stage.Stage { return s.File("/g/1", "1").File("/g/2", "2") }).
		Workdir("/work").Env("A", "b").User("12:34").Cmd("/bin/run")
}

// openArchive is a tar with hard links, and with extended attributes if asked.
func openArchive(xattrs bool) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		head := tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o644, Size: 4}
		if xattrs {
			head.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "kept"}
			head.Mode, head.Uid, head.Gid = 0o6755, 7, 8
		}
		if err := w.WriteHeader(&head); err != nil {
			return nil, err
		}
		fmt.Fprint(w, "same")
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: "b", Linkname: "a"}); err != nil {
			return nil, err
		}
		return io.NopCloser(&b), w.Close()
	}
}

var goldenContext = fstest.MapFS{
	"ctx/x": {Data: []byte("text\n"), Mode: 0o600}, "ctx/run.sh": {Data: []byte("#!/bin/sh\n"), Mode: 0o711}, "ctx/é/y": {Data: []byte("y")},
}

// goldenBuilder makes a test process a builder of goldenStage with the cache directory that it
// names.
const goldenBuilder = "STAGEWRIGHT_TEST_GOLDEN"

// TestGoldenBuilder is the other process of TestGolden.
func TestGoldenBuilder(t *testing.T) {
	dir, ok := os.LookupEnv(goldenBuilder)
	if !ok {
		return
	}
	files := filepath.Join(dir, "context")
	if err := os.CopyFS(files, goldenContext); err != nil {
		t.Fatal(err)
	}
	res, err := stagewright.Build(t.Context(), goldenStage(shell(t)), stagewright.Options{
		Context: stagewright.Dir(files), CacheDir: filepath.Join(dir, "cache"), Platforms: linuxAmd64,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	fmt.Println(res.Digest())
}

// The same image on every filesystem, whatever the user's umask, time zone and number of
// processors are. CI runs it as root and as an ordinary user.
func TestGolden(t *testing.T) {
	shell(t)
	if runtime.GOARCH != "amd64" {
		t.Skip("the image's processes are those of linux/amd64")
	}
	places := map[string]string{"the temporary directory": t.TempDir()}
	if shm, err := os.MkdirTemp("/dev/shm", "stagewright-test-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(shm) })
		places["/dev/shm"] = shm
	}
	home, err := os.UserCacheDir()
	if err != nil {
		t.Log("no directory for caches:", err)
	} else if dir, err := os.MkdirTemp(home, "stagewright-test-"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		places["the user's cache directory"] = dir
	}
	for name, place := range places {
		for i, how := range []struct{ umask, zone, processors string }{{"022", "UTC", "1"}, {"077", "Asia/Kolkata", "7"}} {
			dir := filepath.Join(place, fmt.Sprint(i))
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `umask "$1"; shift; exec "$@"`, "sh", how.umask, os.Args[0], "-test.run=^TestGoldenBuilder$")
			cmd.Env = append(os.Environ(), goldenBuilder+"="+dir, "TZ="+how.zone, "GOMAXPROCS="+how.processors)
			out, err := cmd.CombinedOutput()
			if got, _, _ := strings.Cut(string(out), " "); err != nil || got != goldenDigest {
				t.Errorf("in %s, with %+v: %s, %v; want %s", name, how, out, err, goldenDigest)
			}
		}
	}
}
