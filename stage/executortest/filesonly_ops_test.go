package executortest_test

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing/fstest"

	"github.com/stagewright/stagewright/stage"
)

// copyPath copies what a pattern matches: a file, or the contents of a directory.
func copyPath(to, from fstest.MapFS, pattern string, op *stage.CopyOp) error {
	matches, err := fs.Glob(from, pattern)
	if err != nil || len(matches) == 0 && !op.Optional {
		return fmt.Errorf("%s in %s: %w", pattern, op.From, cmp.Or(err, fs.ErrNotExist))
	}
	dest := follow(to, op.Dest)
	for _, match := range matches {
		for _, name := range slices.Sorted(maps.Keys(from)) {
			at := path.Join(dest, strings.TrimPrefix(name, match+"/"))
			top := name == match && !from[name].Mode.IsDir()
			if top && (strings.HasSuffix(op.Dest, "/") || to[dest] != nil && to[dest].Mode.IsDir()) {
				at = path.Join(dest, path.Base(name))
			} else if top {
				at = dest
			} else if match != "." && !strings.HasPrefix(name, match+"/") {
				continue
			}
			f := *from[name]
			if op.Chown != "" {
				f.Sys = op.Chown
			}
			if bits, err := strconv.ParseUint(op.Chmod, 8, 32); err == nil && f.Mode&fs.ModeSymlink == 0 {
				f.Mode = f.Mode.Type() | mode(uint32(bits))
			}
			if f.Mode.IsDir() {
				err = mkdir(to, at, &f)
			} else {
				err = put(to, "/"+at, &f)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// put places a file; links above it are followed.
func put(to fstest.MapFS, name string, f *fstest.MapFile) error {
	dir := follow(to, path.Dir(name))
	if err := mkdir(to, dir, &fstest.MapFile{Mode: fs.ModeDir | 0o755}); err != nil {
		return err
	}
	at := path.Join(dir, path.Base(name))
	if old := to[at]; old != nil && old.Mode.IsDir() {
		return fmt.Errorf("%s is a directory", name)
	}
	to[at] = f
	return nil
}

// mkdir makes a directory where there is none, and those above it; what is made
// on the way to a working directory belongs to nobody else.
func mkdir(to fstest.MapFS, name string, d *fstest.MapFile) error {
	switch old := to[name]; {
	case name == "" || name == "." || old != nil && old.Mode.IsDir():
		return nil
	case old != nil:
		return fmt.Errorf("%s is no directory", name)
	}
	if err := mkdir(to, path.Dir(name), &fstest.MapFile{Mode: fs.ModeDir | 0o755}); err != nil {
		return err
	}
	to[name] = d
	return nil
}

// follow resolves the links of a path inside the root, as far as it exists.
func follow(files fstest.MapFS, name string) string {
	done, rest := "", strings.Trim(name, "/")
	for n := 0; rest != "" && n < 255; n++ {
		element, after, _ := strings.Cut(rest, "/")
		next := strings.Trim(path.Join("/", done, element), "/")
		rest = after
		if f := files[next]; f == nil || f.Mode&fs.ModeSymlink == 0 {
			done = next
		} else if rest = string(f.Data) + "/" + after; strings.HasPrefix(rest, "/") {
			done = ""
		}
		rest = strings.Trim(rest, "/")
	}
	return done
}

func mode(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			m |= flag
		}
	}
	return m
}
