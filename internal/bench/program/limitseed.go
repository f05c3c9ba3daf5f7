package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/klauspost/compress/gzip"
)

// limitSeed does the least that a build of the Go program has to, without image, cache, sandbox or push: it fetches the base and unpacks it,
// all layers at once, and runs its go command on the context. What is there from an earlier run, the base and the go command's cache, stays.
func limitSeed(ctx context.Context, c config) error {
	root := filepath.Join(c.cacheDir, "root")
	if _, err := os.Stat(root); err != nil {
		if err := fetch(ctx, c.base, root); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, filepath.Join(root, "usr/local/go/bin/go"), "build", "-C", c.dirs[0], "-o", filepath.Join(c.cacheDir, "main"), "./app")
	cmd.Env = []string{"PATH=" + filepath.Join(root, "usr/local/go/bin"), "HOME=" + c.cacheDir, "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOFLAGS=-buildvcs=false",
		"GOPATH=" + filepath.Join(c.cacheDir, "go"), "GOCACHE=" + filepath.Join(c.cacheDir, "gocache")}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func fetch(ctx context.Context, ref, root string) error {
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	img, err := remote.Image(parsed, remote.WithContext(ctx))
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	errs := make([]error, len(layers))
	var group sync.WaitGroup
	for i, l := range layers {
		group.Go(func() { errs[i] = unpackLayer(l, root) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// unpackLayer unpacks a layer while it comes, and compares its digest at the end.
func unpackLayer(l v1.Layer, root string) error {
	want, err := l.Digest()
	if err != nil {
		return err
	}
	in, err := l.Compressed()
	if err != nil {
		return err
	}
	defer in.Close()
	sum := sha256.New()
	zr, err := gzip.NewReader(struct{ io.Reader }{io.TeeReader(in, sum)})
	if err != nil {
		return err
	}
	if err := unpack(tar.NewReader(zr), root); err != nil {
		return err
	}
	return finish(in, sum, want)
}

func finish(in io.Reader, sum hash.Hash, want v1.Hash) error {
	if _, err := io.Copy(sum, in); err != nil {
		return err
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != want.Hex {
		return fmt.Errorf("a layer has the digest %s, want %s", got, want.Hex)
	}
	return nil
}

// unpack writes the entries of a layer that removes nothing. Modes of directories are their writer's: nobody but this program looks.
func unpack(t *tar.Reader, root string) error {
	buffer := make([]byte, 256<<10)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(root, filepath.FromSlash(h.Name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		case tar.TypeLink:
			err = os.Link(filepath.Join(root, filepath.FromSlash(h.Linkname)), path)
		case tar.TypeReg:
			err = writeFile(path, os.FileMode(h.Mode).Perm(), t, buffer)
		default:
			err = fmt.Errorf("%s: entry of type %q", h.Name, h.Typeflag)
		}
		if err != nil {
			return err
		}
	}
}

func writeFile(path string, mode os.FileMode, r io.Reader, buffer []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, buffer)
	return errors.Join(err, f.Close())
}
