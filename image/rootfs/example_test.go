package rootfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"testing/fstest"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/rootfs"
	"github.com/stagewright/stagewright/stage"
)

func Example() {
	temp, err := os.MkdirTemp("", "rootfs-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(temp)
	site := stage.Scratch().CopyFrom(stage.FS(fstest.MapFS{"index.html": {Data: []byte("hello\n")}}), ".", "/srv/")
	res, err := stagewright.Build(context.Background(), site, stagewright.Options{
		Store: cache.NewMemory(),
		Sinks: []image.Sink{
			rootfs.DirWith(filepath.Join(temp, "out"), rootfs.Options{}),
			rootfs.Tar(filepath.Join(temp, "out.tar")),
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer res.Close()
	page, err := os.ReadFile(filepath.Join(temp, "out/srv/index.html"))
	fmt.Printf("%s%v\n", page, err)
	// Output:
	// hello
	// <nil>
}

func ExampleDir() {
	fmt.Println(rootfs.Dir("out"))
	fmt.Println(rootfs.Tar("out.tar"))
	fmt.Println(rootfs.TarTo(os.Stdout))
	// Output:
	// directory out
	// tar out.tar
	// tar stream
}

// One directory out of any file system, as it is: modes and links are kept.
func ExampleSave() {
	temp, err := os.MkdirTemp("", "save-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(temp)
	files := fstest.MapFS{
		"out/app":    {Data: []byte("program"), Mode: 0o755},
		"out/latest": {Data: []byte("app"), Mode: fs.ModeSymlink},
		"src/app.c":  {Data: []byte("source")},
	}
	if err := rootfs.Save(context.Background(), files, "/out", filepath.Join(temp, "dist")); err != nil {
		log.Fatal(err)
	}
	target, err := os.Readlink(filepath.Join(temp, "dist", "latest"))
	fmt.Println(target, err)
	err = rootfs.Save(context.Background(), files, "/src", filepath.Join(temp, "dist"))
	fmt.Println(errors.Is(err, rootfs.ErrNotEmpty))
	// Output:
	// app <nil>
	// true
}
