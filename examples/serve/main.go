// Serve is a registry without a store: each directory below DIR is an image, built when somebody pulls it, from the files that are there
// then. Nothing is pushed.
//
//	go run ./examples/serve -addr 127.0.0.1:5000 DIR
//	docker pull 127.0.0.1:5000/site
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/serve"
	"github.com/stagewright/stagewright/stage"
)

// site is the image of a directory. A real one would begin with stage.From("nginx:1.29").
func site() stage.Stage {
	return stage.Scratch().
		File("/etc/motd", "built when it was pulled\n").
		Copy(".", "/srv/").
		Workdir("/srv")
}

// source builds what clients ask for. The handler has checked the form of repo: it has no "..".
func source(dir, cache string) serve.Source {
	return func(ctx context.Context, repo, reference string) (image.Artifact, error) {
		path := filepath.Join(dir, filepath.FromSlash(repo))
		if fi, err := os.Stat(path); err != nil || !fi.IsDir() {
			return image.Artifact{}, fmt.Errorf("%w: there is no directory %s", serve.ErrNotFound, repo)
		}
		res, err := stagewright.Build(ctx, site(), stagewright.Options{Context: stagewright.Dir(path), CacheDir: cache})
		if err != nil {
			return image.Artifact{}, err
		}
		context.AfterFunc(ctx, func() { res.Close() }) // ctx ends when the image is not served any more
		return res.Artifact(), nil
	}
}

// run serves until ctx ends. The first line that it writes has the address.
func run(ctx context.Context, addr, dir, cache string, out io.Writer) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	h := serve.New(serve.Options{
		Source: source(dir, cache),
		Failed: func(repo, reference string, err error) { fmt.Fprintf(out, "%s:%s: %v\n", repo, reference, err) },
	})
	defer h.Close()
	fmt.Fprintf(out, "serving %s at %s\n", dir, l.Addr())
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func main() {
	addr := flag.String("addr", "127.0.0.1:5000", "listen on `ADDRESS`")
	flag.Parse()
	dir := "."
	if flag.NArg() > 0 {
		dir = flag.Arg(0)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *addr, dir, "", os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}
