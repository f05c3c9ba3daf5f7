package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/internal/compress"
)

// limit does the least that any builder has to: read the files, hash them as a layer, compress it, hash that, store it and send it, each
// byte on its way while the next ones are read. The compressor is stagewright's, so that the bytes are as few.
func limit(ctx context.Context, c config) error {
	f, err := os.Create(filepath.Join(c.cacheDir, "limit.blob"))
	if err != nil {
		return err
	}
	defer f.Close()
	up, err := newUpload(ctx, c.push)
	if err != nil {
		return err
	}
	compressed, plain := sha256.New(), sha256.New()
	zw := compress.NewWriter(io.MultiWriter(f, compressed, up), compress.Options{})
	tw := tar.NewWriter(io.MultiWriter(zw, plain))
	if err := addFiles(tw, c.dirs[0]); err != nil {
		return err
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		return err
	}
	return up.finish(ctx, fmt.Sprintf("sha256:%x", compressed.Sum(nil)))
}

func addFiles(tw *tar.Writer, dir string) error {
	buffer := make([]byte, 1<<20)
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
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
		_, err = io.CopyBuffer(struct{ io.Writer }{tw}, struct{ io.Reader }{f}, buffer)
		return err
	})
}

// upload is a blob on its way to a repository while it comes into being: one PATCH, and a PUT with its digest.
type upload struct {
	*io.PipeWriter
	where chan *url.URL
	err   error // when where is closed
}

// newUpload begins an upload. Without a reference what is written goes nowhere.
func newUpload(ctx context.Context, ref string) (*upload, error) {
	r, w := io.Pipe()
	u := &upload{w, make(chan *url.URL, 1), nil}
	if ref == "" {
		go func() { _, u.err = io.Copy(io.Discard, r); close(u.where) }()
		return u, nil
	}
	host, repo, _ := strings.Cut(ref[:strings.LastIndexByte(ref, ':')], "/")
	begun, err := http.Post(fmt.Sprintf("http://%s/v2/%s/blobs/uploads/", host, repo), "", nil)
	if err != nil {
		return nil, err
	}
	begun.Body.Close()
	where, err := begun.Location()
	if err != nil {
		return nil, err
	}
	go func() {
		defer close(u.where)
		next, err := send(ctx, http.MethodPatch, where, r, http.StatusAccepted)
		if err == nil && next == nil {
			err = fmt.Errorf("PATCH %s: the answer has no Location", where)
		}
		if u.err = err; err == nil {
			u.where <- next
		}
		r.CloseWithError(err)
	}()
	return u, nil
}

// send sends one request and returns where the next one goes, nil when the answer does not say.
func send(ctx context.Context, method string, to *url.URL, body io.Reader, want int) (*url.URL, error) {
	request, err := http.NewRequestWithContext(ctx, method, to.String(), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != want {
		return nil, fmt.Errorf("%s %s: %s", method, to, answer.Status)
	}
	where, err := answer.Location()
	if errors.Is(err, http.ErrNoLocation) {
		return nil, nil
	}
	return where, err
}

// finish gives the blob its name.
func (u *upload) finish(ctx context.Context, digest string) error {
	if err := u.Close(); err != nil {
		return err
	}
	where, sent := <-u.where
	if !sent {
		return u.err
	}
	query := where.Query()
	query.Set("digest", digest)
	where.RawQuery = query.Encode()
	_, err := send(ctx, http.MethodPut, where, bytes.NewReader(nil), http.StatusCreated)
	return err
}
