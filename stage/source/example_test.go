package source_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing/fstest"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage/source"
)

// A build context with its ignore file, hashed through a memo.
func ExampleDir() {
	dir, err := os.MkdirTemp("", "context")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	for name, content := range map[string]string{"main.go": "package main\n", "debug.log": "noise\n", ".dockerignore": "*.log\n.*\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			fmt.Println(err)
			return
		}
	}
	files, err := source.Dir(dir, source.DirOptions{Memo: source.OpenMemo(filepath.Join(dir, ".memo"))})
	if err != nil {
		fmt.Println(err)
		return
	}
	show(files)
	v, err := files.Why("debug.log")
	fmt.Println(v.Exists, v.Ignored, v.Rule.File, v.Rule.Line, err)
	// Output:
	// main.go 13 sha256:df1d
	// true true .dockerignore 1 <nil>
}

// Files that never were on a disk.
func ExampleFS() {
	show(source.FS(fstest.MapFS{"etc/motd": {Data: []byte("hello\n")}}, "generated"))
	// Output:
	// etc 0 sha256:0000
	// etc/motd 6 sha256:5891
}

func show(files source.Files) {
	ctx := context.Background()
	entries, err := files.List(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	wanted := make([]*source.Entry, len(entries))
	for n := range entries {
		wanted[n] = &entries[n]
	}
	if err := files.Hash(ctx, wanted); err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range entries {
		fmt.Printf("%s %d %.11s\n", e.Path, e.Size, e.Digest)
	}
}

// A stream of a tar archive, compressed or not, as a source.
func ExampleTar() {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	_ = w.WriteHeader(&tar.Header{Name: "./bin/tool", Mode: 0o4755, Uid: 10, Size: 5})
	_, _ = w.Write([]byte("tool\n"))
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		fmt.Println(err)
		return
	}
	files := source.Tar(func() (io.ReadCloser, error) { return io.NopCloser(&b), nil }, "stdin", source.TarOptions{})
	defer files.Close()
	show(files)
	// Output:
	// bin 0 sha256:0000
	// bin/tool 5 sha256:6794
}

// An archive that is not there is told by List.
func ExampleTarFile() {
	files := source.TarFile("/no/such.tar.gz", source.TarOptions{})
	_, err := files.List(context.Background())
	fmt.Println(err)
	// Output: archive /no/such.tar.gz cannot be opened: open /no/such.tar.gz: no such file or directory
}

// A file of a server, which is downloaded once in the life of the store.
func ExampleHTTP() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "tool\n") }))
	defer server.Close()
	files, err := source.HTTP(server.URL+"/v1/tool", "sha256:6794d38a1b8a68a2ed2e6afa2a3cb9d1bcdd6c9d5e6ba4d2c27a2a9bb0d9c8a1", source.HTTPOptions{Store: cache.NewMemory()})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = files.List(context.Background())
	var sum *source.ChecksumError
	fmt.Println(errors.As(err, &sum))
	// Output: true
}

// A file that may change is used as it is at the moment.
func ExampleHTTPUnchecked() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "tool\n") }))
	defer server.Close()
	files, err := source.HTTPUnchecked(server.URL+"/v1/tool", source.HTTPOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	show(files)
	// Output: tool 5 sha256:6794
}

// What git cannot be given is told at once, before anything is asked.
func ExampleGit() {
	_, err := source.Git(source.GitTree{Remote: "https://example.com/x.git", Ref: "main~1"}, source.GitOptions{Dir: "mirrors"})
	fmt.Println(err)
	_, err = source.Git(source.GitTree{Remote: "file:///srv/x.git"}, source.GitOptions{Dir: "mirrors"})
	fmt.Println(err)
	// Output:
	// git ref "main~1" has a character that no ref has
	// git remote "file:///srv/x.git" is of a kind that is not asked; want https, http, ssh, git or user@host:path
}

// A source that is one archive is what is in the archive.
func ExampleArchive() {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "Dockerfile", Mode: 0o644, Size: 5})
	_, _ = w.Write([]byte("tool\n"))
	if err := w.Close(); err != nil {
		fmt.Println(err)
		return
	}
	files := source.Archive(source.FS(fstest.MapFS{"context": {Data: b.Bytes()}}, "upload"), source.TarOptions{})
	show(files)
	// Output: Dockerfile 5 sha256:6794
}
