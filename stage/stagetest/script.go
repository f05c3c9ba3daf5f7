package stagetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// Script is a sandbox.Runner that runs nothing: it has an answer for each command line, as [Recorder.Commands] writes it, and
// under "" one for all others. A command that it has no answer for is an error. It works for everybody, without a sandbox;
// whether the command, its working directory or its user exist in the stage it does not look at, and mounts and limits have no
// effect. It may be used by several builds at once, and must not be changed meanwhile.
//
//	runner := stagetest.Script{
//		"apk add curl": {Files: fstest.MapFS{"usr/bin/curl": {Data: []byte("curl"), Mode: 0o755}}},
//		"make test":    {Stderr: "FAIL\n", Code: 2},
//	}
type Script map[string]Answer

// Answer is what a command of a [Script] does.
type Answer struct {
	// Stdout and Stderr are what it writes.
	Stdout, Stderr string
	// Files are put into the stage. They belong to 0:0 and have mode 0755 when they are executable, else 0644; new directories
	// have 0755; symbolic links are kept. Nothing is written through a link that the stage has: name the place that it leads to.
	Files fs.FS
	// Code is the exit code.
	Code int
	// Err, when set, is what Run returns: a *sandbox.UnavailableError, for instance.
	Err error
}

var _ sandbox.Runner = Script(nil)

// Run implements sandbox.Runner.
func (s Script) Run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	if err := check(ctx, spec); err != nil {
		return sandbox.Status{}, err
	}
	line := commandLine(spec.Args)
	a, ok := s[line]
	if !ok {
		a, ok = s[""]
	}
	if !ok {
		return sandbox.Status{}, fmt.Errorf("stagetest: the Script has no answer for the command %q; it has %q", line, slices.Sorted(maps.Keys(s)))
	}
	if a.Err != nil {
		return sandbox.Status{}, a.Err
	}
	if err := errors.Join(say(spec.Stdout, a.Stdout), say(spec.Stderr, a.Stderr)); err != nil {
		return sandbox.Status{}, err
	}
	if a.Files != nil {
		if err := put(spec.Root, a.Files); err != nil {
			return sandbox.Status{}, fmt.Errorf("stagetest: the files of the answer to %q: %w", line, err)
		}
	}
	return sandbox.Status{Code: a.Code}, nil
}

// overlay is a root as overlayfs would show it, as far as writing new files needs it.
type overlay struct {
	upper  *os.Root
	lowers []*os.Root
}

// put writes files into the upper directory of a root, the directories above them as overlayfs copies them up.
func put(root sandbox.Root, files fs.FS) (err error) {
	if root.Upper == "" {
		return errors.New("the root is read-only")
	}
	o := overlay{}
	defer func() {
		for _, r := range append(o.lowers, o.upper) {
			if r != nil {
				err = errors.Join(err, r.Close())
			}
		}
	}()
	if o.upper, err = os.OpenRoot(root.Upper); err != nil {
		return err
	}
	for _, dir := range root.Lowers {
		r, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		o.lowers = append(o.lowers, r)
	}
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case d.IsDir():
			return o.mkdir(name)
		}
		return o.write(files, name)
	})
}

// mkdir makes a directory of the root be in the upper, with the mode and owner that it has below.
func (o *overlay) mkdir(name string) error {
	if info, err := o.upper.Lstat(name); err == nil {
		return isDir(name, info)
	}
	mode, uid, gid := fs.FileMode(0o755), 0, 0
	for _, lower := range o.lowers {
		info, err := lower.Lstat(name)
		if err != nil {
			continue
		}
		if info.Mode().Type() == fs.ModeDevice|fs.ModeCharDevice {
			break // a whiteout: what is below it was removed
		}
		if err := isDir(name, info); err != nil {
			return err
		}
		mode = info.Mode()
		uid, gid = ownerOf(info)
		break
	}
	if err := o.upper.Mkdir(name, 0o700); err != nil {
		return err
	}
	return errors.Join(o.own(name, uid, gid), o.upper.Chmod(name, mode&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)))
}

// own gives a file to a user where this process may do that. In the sandbox of an ordinary user everything is its own.
func (o *overlay) own(name string, uid, gid int) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return o.upper.Lchown(name, uid, gid)
}

func isDir(name string, info fs.FileInfo) error {
	if !info.IsDir() {
		return fmt.Errorf("%s is %s in the stage", path.Join("/", name), kind(info.Mode()))
	}
	return nil
}

// write puts one file or link in place of what an earlier attempt has put there. Its directory was visited before it.
func (o *overlay) write(files fs.FS, name string) error {
	info, err := fs.Lstat(files, name)
	if err != nil {
		return err
	}
	if err := o.upper.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch {
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := fs.ReadLink(files, name)
		if err != nil {
			return err
		}
		return o.upper.Symlink(target, name)
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is %s", name, kind(info.Mode()))
	}
	content, err := fs.ReadFile(files, name)
	if err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	if err := o.upper.WriteFile(name, content, mode); err != nil {
		return err
	}
	return o.upper.Chmod(name, mode) // past the umask
}
