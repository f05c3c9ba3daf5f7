package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// FSFiles is an [fs.FS] as a source of files. Nothing is ignored, nothing is
// remembered, owners are 0. It is safe for concurrent use when its fs.FS is.
type FSFiles struct {
	fsys fs.FS
	name string
}

// FS returns fsys as a source; name stands in messages ("assets"). Symbolic
// links are read where fsys is an [fs.ReadLinkFS] and are an error of List where
// it is not. Whether a name can lead outside is for fsys to prevent: use
// [os.Root].FS rather than [os.DirFS], or [Dir], for files that others write.
func FS(fsys fs.FS, name string) *FSFiles { return &FSFiles{fsys: fsys, name: name} }

// String names the source for a message.
func (f *FSFiles) String() string { return "file system " + quote(f.name) }

// List implements [Files].
func (f *FSFiles) List(ctx context.Context) ([]Entry, error) {
	return f.list(ctx, nil, ".")
}

// list appends what is below dir to out.
func (f *FSFiles) list(ctx context.Context, out []Entry, dir string) ([]Entry, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	items, err := fs.ReadDir(f.fsys, dir)
	if err != nil {
		return nil, f.explain(strings.TrimPrefix(dir, "."), fs.ModeDir, err)
	}
	// The order is promised by fs.ReadDir, but a file system can break it.
	slices.SortFunc(items, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for n, item := range items {
		name := item.Name()
		path := name
		if dir != "." {
			path = dir + "/" + name
		}
		switch {
		case !fs.ValidPath(path) || name == "." || strings.Contains(name, "/"):
			return nil, fmt.Errorf("%s gives a name that is not valid in a file system: %q", f, shorten(path))
		case n > 0 && items[n-1].Name() == name:
			return nil, fmt.Errorf("%s gives the name %s twice", f, quote(path))
		case len(path) > maxPath:
			return nil, &LimitError{Source: f.String(), What: "path length in bytes", Limit: maxPath, Path: path}
		case len(out) == maxEntries:
			return nil, &LimitError{Source: f.String(), What: "number of files", Limit: maxEntries, Path: path}
		}
		e, err := f.entry(path, item)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
		if e.Mode.IsDir() {
			if out, err = f.list(ctx, out, path); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// entry makes the entry of one name.
func (f *FSFiles) entry(path string, item fs.DirEntry) (Entry, error) {
	fi, err := item.Info()
	if err != nil {
		return Entry{}, f.explain(path, item.Type(), err)
	}
	if fi.Size() < 0 {
		return Entry{}, fmt.Errorf("%s gives %s a negative size", f, quote(path))
	}
	e := Entry{Path: path, Mode: fi.Mode(), Mtime: unixNano(fi.ModTime())}
	if e.Mode.IsRegular() {
		e.Size = fi.Size()
	}
	if e.Mode&fs.ModeSymlink != 0 {
		if e.Link, err = fs.ReadLink(f.fsys, path); err != nil {
			return Entry{}, fmt.Errorf("%s: the link %s cannot be read: %w; implement io/fs.ReadLinkFS, or leave links out", f, quote(path), err)
		}
	}
	return e, nil
}

// explain makes err one that names the source and says what to do.
func (f *FSFiles) explain(path string, mode fs.FileMode, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &AccessError{Source: f.String(), Path: path, Mode: mode, Err: err}
	case path != "" && errors.Is(err, fs.ErrNotExist):
		return &ChangedError{Source: f.String(), Path: path, Err: err}
	}
	return fmt.Errorf("%s: %s: %w", f, quote(cmp.Or(path, ".")), err)
}

// Hash implements [Files]. It reads every file that it is given, one after the
// other: few file systems in memory gain from more, and some allow no more.
func (f *FSFiles) Hash(ctx context.Context, entries []*Entry) error {
	var buf []byte
	sum := sha256.New()
	for _, e := range entries {
		if !e.Mode.IsRegular() {
			continue
		}
		r, err := f.Open(e.Path)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotRegular) {
				return &ChangedError{Source: f.String(), Path: e.Path, Err: err}
			}
			return err
		}
		if buf == nil {
			buf = make([]byte, min(hashBuffer, max(e.Size+1, 4<<10)))
		} else if int64(len(buf)) <= e.Size && len(buf) < hashBuffer {
			buf = make([]byte, hashBuffer)
		}
		sum.Reset()
		size, err := readAll(ctx, sum, r, buf)
		r.Close()
		switch {
		case err != nil && ctx.Err() != nil:
			return err
		case err != nil:
			return fmt.Errorf("read %s in %s: %w", quote(e.Path), f, err)
		case size != e.Size:
			return &ChangedError{Source: f.String(), Path: e.Path, Err: fmt.Errorf("%d bytes of %d", size, e.Size)}
		}
		sum.Sum(e.Digest[:0])
	}
	return nil
}

// Open implements [Files].
func (f *FSFiles) Open(path string) (io.ReadCloser, error) {
	fail := func(err error) (io.ReadCloser, error) {
		if errors.Is(err, fs.ErrPermission) {
			return nil, &AccessError{Source: f.String(), Path: path, Err: err}
		}
		return nil, fmt.Errorf("open %s in %s: %w", quote(path), f, err)
	}
	if !fs.ValidPath(path) || path == "." {
		return fail(fs.ErrInvalid)
	}
	if err := f.noLink(path); err != nil {
		return fail(err)
	}
	file, err := f.fsys.Open(path)
	if err != nil {
		return fail(err)
	}
	fi, err := file.Stat()
	if err == nil && fi.Mode().IsRegular() {
		return file, nil
	}
	file.Close()
	if err == nil {
		err = fmt.Errorf("%w but a %s", ErrNotRegular, kind(fi.Mode()))
	}
	return fail(err)
}

// noLink refuses a path with a symbolic link, where fsys can tell.
func (f *FSFiles) noLink(path string) error {
	links, ok := f.fsys.(fs.ReadLinkFS)
	if !ok {
		return nil
	}
	for end := 0; end < len(path); end++ {
		if next := strings.IndexByte(path[end:], '/'); next < 0 {
			end = len(path)
		} else {
			end += next
		}
		fi, err := links.Lstat(path[:end])
		if err != nil {
			return err
		}
		if fi.Mode()&fs.ModeSymlink != 0 {
			return fmt.Errorf("%w: %s is a symbolic link", ErrNotRegular, quote(path[:end]))
		}
	}
	return nil
}

// Why implements [Files].
func (f *FSFiles) Why(path string) (Verdict, error) {
	v := Verdict{Source: f.String(), Path: cleanAsked(path)}
	return v, v.look(func(p string) (fs.FileMode, error) {
		if p == "" {
			p = "."
		}
		fi, err := fs.Lstat(f.fsys, p)
		if err != nil {
			return 0, err
		}
		return fi.Mode(), nil
	}, func(p string) ([]string, error) {
		if p == "" {
			p = "."
		}
		items, err := fs.ReadDir(f.fsys, p)
		var names []string
		for _, item := range items {
			names = append(names, item.Name())
		}
		return names, err
	})
}
