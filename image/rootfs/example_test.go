package rootfs_test

import (
	"context"
	"fmt"
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
