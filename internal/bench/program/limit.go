package main

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/internal/compress"
)

// limit does the least that any builder has to: read the files, hash them as a layer, compress it, hash that, store it and send it.
func limit(ctx context.Context, c config) error {
	f, err := os.Create(filepath.Join(c.cacheDir, "limit.blob"))
	if err != nil {
		return err
	}
	defer f.Close()
	compressed, plain := sha256.New(), sha256.New()
	zw := compress.NewWriter(io.MultiWriter(f, compressed), compress.Options{})
	tw := tar.NewWriter(io.MultiWriter(zw, plain))
	if err := addFiles(tw, c.dirs[0]); err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	if err := zw.Close(); err != nil {
		return err
	}
	if c.push == "" {
		return nil
	}
	return send(ctx, c.push, f, fmt.Sprintf("sha256:%x", compressed.Sum(nil)))
}

func addFiles(tw *tar.Writer, dir string) error {
	buffer := make([]byte, 1<<20)
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		header, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		header.Name = strings.TrimPrefix(path, dir+"/")
		if err := tw.WriteHeader(header); err != nil || !info.Mode().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.CopyBuffer(tw, struct{ io.Reader }{f}, buffer)
		return err
	})
}

// send uploads the blob to the repository of a reference, in two requests.
func send(ctx context.Context, ref string, f *os.File, digest string) error {
	host, repo, _ := strings.Cut(ref[:strings.LastIndexByte(ref, ':')], "/")
	r, err := http.Post(fmt.Sprintf("http://%s/v2/%s/blobs/uploads/", host, repo), "", nil)
	if err != nil {
		return err
	}
	r.Body.Close()
	where, err := r.Location()
	if err != nil {
		return err
	}
	query := where.Query()
	query.Set("digest", digest)
	where.RawQuery = query.Encode()
	size, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	put, err := http.NewRequestWithContext(ctx, http.MethodPut, where.String(), f)
	if err != nil {
		return err
	}
	put.ContentLength = size
	if r, err = http.DefaultClient.Do(put); err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusCreated {
		return fmt.Errorf("PUT %s: %s", where, r.Status)
	}
	return nil
}
