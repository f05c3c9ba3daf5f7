package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// onMountPoints puts a directory below lowers that has the places on which a process
// gets its mounts, and nothing else. What an image lacks of them the sandbox would make
// in the upper directory of each step and take out again: five inodes, where a
// filesystem such as ext4 takes the longer to find one the more were deleted lately. An
// image that hides a place, behind a link for instance, still has it made.
func (s *session) onMountPoints(ctx context.Context, lowers []string, mounts []sandbox.Mount) ([]string, error) {
	_, snapshots, err := s.dirs()
	if err != nil {
		return nil, err
	}
	root := mountPoints(mounts)
	id := cache.NewKey("mount points", 1).Digest("tree", cache.Digest(root.Identity())).Sum()
	dir, err := snapshots.Merged(ctx, tree.Digest(id), root, func(tree.Digest) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("")), nil
	})
	if err != nil {
		return nil, err
	}
	return append(lowers[:len(lowers):len(lowers)], dir), nil
}

// leaveMountPoints makes the directories in an upper that BuildKit's runtime leaves there
// when the files below, which are parent, have none of the name.
func leaveMountPoints(upper string, parent *tree.Node) error {
	for _, name := range []string{"dev", "proc", "sys"} {
		if tree.Lookup(parent, name) != nil {
			continue
		}
		dir := filepath.Join(upper, name)
		err := os.Mkdir(dir, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue // the step has made something of its own there
		}
		if err == nil {
			err = os.Chmod(dir, 0o755) // whatever the umask
		}
		if err != nil {
			return fmt.Errorf("leave the mount point /%s: %w", name, err)
		}
	}
	return nil
}

// mountPoints is the tree of the targets of mounts and of what a sandbox always has.
// Targets that contradict each other are left to the sandbox.
func mountPoints(mounts []sandbox.Mount) *tree.Node {
	e := tree.Edit(emptyRoot)
	dir, file := tree.Meta{Mode: 0o755}, tree.NewFile(tree.Meta{Mode: 0o644}, sha256.Sum256(nil), 0, 0)
	for _, m := range mounts {
		target := strings.Trim(path.Clean("/"+m.Target), "/")
		switch first, _, _ := strings.Cut(target, "/"); {
		case first == "" || first == "dev" || first == "proc" || first == "sys":
		case isDirectory(m):
			_ = e.MkdirAll(target, dir)
		default:
			parent, _ := path.Split(target)
			if e.MkdirAll(strings.TrimSuffix(parent, "/"), dir) == nil && e.Lookup(target) == nil {
				_ = e.Put(target, file)
			}
		}
	}
	for _, name := range []string{"dev", "proc", "sys"} {
		_ = e.MkdirAll(name, dir)
	}
	return e.Tree()
}

func isDirectory(m sandbox.Mount) bool {
	switch m.Type {
	case sandbox.MountTmpfs:
		return true
	case sandbox.MountBind:
		info, err := os.Stat(m.Source)
		return err == nil && info.IsDir()
	}
	return false
}
