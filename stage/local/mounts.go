package local

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// scriptPath is where a script that names its own interpreter is shown.
const scriptPath = "/dev/pipes/script"

// mountSet is what a step sees beside its root.
type mountSet struct {
	list     []sandbox.Mount
	env      []string
	releases []func()
}

func (m *mountSet) release() {
	for _, f := range slices.Backward(m.releases) {
		f()
	}
}

// mounts prepares the mounts of a Run step. After an error everything that was taken
// is released.
func (s *session) mounts(ctx context.Context, d *demand, step *stage.Step, op *stage.RunOp, inputs []*tree.Node) (set *mountSet, err error) {
	set = &mountSet{list: nameFiles(op.Network)}
	defer func() {
		if err != nil {
			set.release()
		}
	}()
	caches, err := s.cacheDirs(ctx, set, op)
	if err != nil {
		return set, err
	}
	input := 0
	for i, m := range op.Mounts {
		switch m.Type {
		case stage.MountTmpfs:
			set.list = append(set.list, sandbox.Mount{Type: sandbox.MountTmpfs, Target: m.Target, Size: m.Size, Mode: m.Mode})
		case stage.MountSecret:
			err = s.mountSecret(ctx, set, m)
		case stage.MountCache:
			set.list = append(set.list, sandbox.Mount{Type: sandbox.MountBind, Source: caches[i], Target: m.Target})
		case stage.MountBind:
			from := bindSource{local: s.sources.uses[slot{step: step.ID, mount: i}]}
			if from.local == nil {
				from.root, from.step = inputs[input], step.Inputs[input]
				input++
			} else {
				from.root = from.local.root
			}
			err = s.mountBind(ctx, d, set, m, from)
		default:
			err = fmt.Errorf("%w: mount of type %q", stage.ErrUnsupported, m.Type)
		}
		if err != nil {
			return set, fmt.Errorf("%s mount %s: %w", m.Type, m.Target, err)
		}
	}
	if len(op.Argv) == 0 {
		set.list = append(set.list, sandbox.Mount{Type: sandbox.MountFile, Target: scriptPath, Data: []byte(op.Command), Mode: 0o755, ReadOnly: true})
	}
	return set, nil
}

// nameFiles are the files by which a process finds other machines. They leave no
// trace in the layer.
func nameFiles(n stage.Network) []sandbox.Mount {
	hosts := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
	list := []sandbox.Mount{{Type: sandbox.MountFile, Target: "/etc/hosts", Data: []byte(hosts)}}
	if n == stage.NetworkNone {
		return list
	}
	if resolv, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		list = append(list, sandbox.Mount{Type: sandbox.MountFile, Target: "/etc/resolv.conf", Data: resolv})
	}
	return list
}

func (s *session) mountSecret(ctx context.Context, set *mountSet, m stage.Mount) error {
	secret := s.request.Secrets[m.ID]
	if secret == nil {
		return nil // required ones were checked before anything ran
	}
	value, err := secret(ctx)
	if err != nil {
		return err
	}
	if m.Env != "" {
		if strings.ContainsRune(string(value), 0) {
			return fmt.Errorf("the secret %q has a NUL byte, which no environment variable can hold", m.ID)
		}
		set.env = append(set.env, m.Env+"="+string(value))
	}
	if m.Target != "" {
		uid, gid := ids(m.Owner)
		mode := m.Mode
		if mode == 0 {
			mode = 0o400
		}
		set.list = append(set.list, sandbox.Mount{Type: sandbox.MountFile, Target: m.Target, Data: value, Mode: mode, UID: uid, GID: gid})
	}
	return nil
}

// ids reads what stage.MountOwner wrote.
func ids(owner string) (uid, gid uint32) {
	u, g, _ := strings.Cut(owner, ":")
	uid, _ = parseID(u)
	gid, _ = parseID(g)
	return uid, gid
}

// bindSource is where the files of a bind mount come from.
type bindSource struct {
	local *localSource // nil for a step
	step  int
	root  *tree.Node
}

// mountBind shows files of a source, as a directory of their own, so that the
// step sees the tree's modes and owners and can touch no original.
func (s *session) mountBind(ctx context.Context, d *demand, set *mountSet, m stage.Mount, from bindSource) error {
	f, err := follow(from.root, m.Path)
	if m.Path == "." {
		f, err = found{node: from.root}, nil
	}
	if err != nil {
		return err
	}
	if f.node == nil {
		return missingInTree(from.root, m.Path, m.From.String())
	}
	root := f.node
	if !root.IsDir() {
		e := tree.Edit(emptyRoot)
		if err := e.Put("file", root); err != nil {
			return err
		}
		root = e.Tree()
	}
	changes := tree.Diff(emptyRoot, root)
	var open tree.Opener
	if from.local != nil {
		open = func(digest tree.Digest) (io.ReadCloser, error) {
			return openVerified(from.local.files, from.local.paths[digest], digest)
		}
	} else if open, err = s.opener(ctx, d, from.step, changes); err != nil {
		return err
	}
	_, snapshots, err := s.dirs()
	if err != nil {
		return err
	}
	if m.Writable {
		// A directory of its own, which goes with the step.
		if snapshots, err = s.scratchStore(set); err != nil {
			return err
		}
	}
	id := cache.NewKey("bind", 1).Digest("tree", cache.Digest(root.Identity())).Sum()
	dir, err := snapshots.Merged(ctx, tree.Digest(id), root, open)
	if err != nil {
		return err
	}
	if !f.node.IsDir() {
		dir = filepath.Join(dir, "file")
	}
	set.list = append(set.list, sandbox.Mount{Type: sandbox.MountBind, Source: dir, Target: m.Target, ReadOnly: !m.Writable})
	return nil
}

// scratchStore opens a store of directories that goes with the step.
func (s *session) scratchStore(set *mountSet) (*snapshot.Store, error) {
	temp, err := s.tempDir()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(temp, "bind-*")
	if err != nil {
		return nil, err
	}
	set.releases = append(set.releases, func() { _ = removeAll(dir) })
	store, err := snapshot.Open(dir, snapshot.Options{Parallel: s.opts.Parallel})
	if err != nil {
		return nil, err
	}
	set.releases = append(set.releases, func() { _ = store.Close() })
	return store, nil
}
