package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/dockerfile"
)

// contextSource is what the last argument names: a directory, an archive on the standard input, a repository, an archive at a URL.
func (f *flags) contextSource(stdin io.Reader) (stage.Source, error) {
	switch {
	case f.context == "-":
		if f.file == "-" {
			return nil, errors.New("the context and the Dockerfile cannot both be the standard input")
		}
		path, err := f.spool(stdin)
		return stage.TarFile(path), err
	case isRemote(f.context):
		return remoteSource(f.context), nil
	}
	fi, err := os.Stat(f.context)
	if err != nil {
		return nil, fmt.Errorf("build context: %w", err)
	}
	if !fi.IsDir() {
		return nil, fmt.Errorf("build context %s: it is not a directory", f.context)
	}
	return stage.DirSource{Path: f.context}, nil
}

func isRemote(text string) bool {
	return strings.Contains(text, "://") || strings.HasPrefix(text, "git@") || strings.HasPrefix(text, "github.com/")
}

// remoteSource tells a repository from an archive as docker build does: a repository's URL ends in ".git" before the fragment.
func remoteSource(text string) stage.Source {
	url, _, _ := strings.Cut(text, "#")
	if strings.HasPrefix(url, "http") && !strings.HasSuffix(url, ".git") {
		return stage.HTTPUnchecked(text)
	}
	return stage.Git(text)
}

// spool copies the standard input to a file, since a build may want to read it more than once.
func (f *flags) spool(r io.Reader) (string, error) {
	file, err := os.CreateTemp("", "context-*.tar")
	if err != nil {
		return "", err
	}
	f.temporary = append(f.temporary, file.Name())
	_, err = io.Copy(file, r)
	return file.Name(), errors.Join(err, file.Close())
}

// read reads and parses the Dockerfile. An ignore file that belongs to it takes the place of the context's.
func (f *flags) read(ctx context.Context, o *stagewright.Options, stdin io.Reader) (*dockerfile.File, error) {
	name, text, err := f.text(ctx, o, stdin)
	if err != nil {
		return nil, err
	}
	if dir, ok := o.Context.(stage.DirSource); ok && f.file != "-" {
		if o.Context, err = dockerfile.Context(dir.Path, name); err != nil {
			return nil, err
		}
	}
	options := dockerfile.Options{Contexts: map[string]stage.Source{}, ContextRefs: map[string]string{}}
	for _, text := range f.contexts {
		name, value, ok := strings.Cut(text, "=")
		switch {
		case !ok || name == "" || value == "":
			return nil, fmt.Errorf("--build-context %s: want NAME=PATH, NAME=docker-image://REF or NAME=oci-layout://DIR", text)
		case strings.HasPrefix(value, "docker-image://"), strings.HasPrefix(value, "oci-layout://"):
			options.ContextRefs[name] = value
		case isRemote(value):
			options.Contexts[name] = remoteSource(value)
		default:
			if fi, err := os.Stat(value); err != nil || !fi.IsDir() {
				return nil, fmt.Errorf("--build-context %s: %s is not a directory", text, value)
			}
			options.Contexts[name] = stage.Dir(value)
		}
	}
	return dockerfile.Parse(name, text, options)
}

// text is the Dockerfile and its name. A path is that of a file on this machine, or one in a context that is elsewhere.
func (f *flags) text(ctx context.Context, o *stagewright.Options, stdin io.Reader) (string, []byte, error) {
	if f.file == "-" {
		text, err := io.ReadAll(stdin)
		return "Dockerfile", text, err
	}
	if dir, ok := o.Context.(stage.DirSource); ok {
		path := f.file
		if path == "" {
			path = filepath.Join(dir.Path, "Dockerfile")
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && f.file == "" {
			err = fmt.Errorf("%w; name another one with -f", err)
		}
		return path, text, err
	}
	path := f.file
	if path == "" {
		path = "Dockerfile"
	}
	// Reading a file of a remote context is a build of its own, and the cache keeps what it fetched.
	alone := stage.Scratch().Copy(stage.Files(path), "/Dockerfile")
	res, err := stagewright.Build(ctx, alone, stagewright.Options{Context: o.Context, CacheDir: o.CacheDir, Offline: o.Offline})
	if err != nil {
		return path, nil, err
	}
	defer res.Close()
	files, err := res.FS()
	if err != nil {
		return path, nil, err
	}
	text, err := fs.ReadFile(files, "Dockerfile")
	return path, text, err
}
