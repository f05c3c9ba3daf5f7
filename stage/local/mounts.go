package local

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/keep"
	"github.com/stagewright/stagewright/internal/snapshot"
	"github.com/stagewright/stagewright/internal/sshagent"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// scriptPath is where a script that names its own interpreter is shown.
const scriptPath = "/dev/pipes/script"

// scriptTarget is where a step's script is shown.
func scriptTarget(op *stage.RunOp) string { return cmp.Or(op.ScriptName, scriptPath) }

// mountSet is what a step sees beside its root.
type mountSet struct {
	list     []sandbox.Mount
	env      []string
	agent    string // where the first SSH agent is
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
	set = &mountSet{list: nameFiles(op.Network, op.Hosts)}
	defer func() {
		if err != nil {
			set.release()
		}
	}()
	from := s.mountSources(step, op, inputs)
	caches, err := s.cacheDirs(ctx, d, set, op, from)
	if err != nil {
		return set, err
	}
	first := len(set.list)
	for i, m := range op.Mounts {
		switch m.Type {
		case stage.MountTmpfs:
			set.list = append(set.list, sandbox.Mount{Type: sandbox.MountTmpfs, Target: m.Target, Size: m.Size, Mode: m.Mode})
		case stage.MountSecret:
			err = s.mountSecret(ctx, set, op, m)
		case stage.MountSSH:
			err = s.mountAgent(ctx, set, op, m)
		case stage.MountCache:
			set.list = append(set.list, sandbox.Mount{Type: sandbox.MountBind, Source: caches[i], Target: m.Target, ReadOnly: m.ReadOnly})
		case stage.MountBind:
			err = s.mountBind(ctx, d, set, m, from[i])
		default:
			err = fmt.Errorf("%w: mount of type %q", stage.ErrUnsupported, m.Type)
		}
		if err != nil {
			return set, fmt.Errorf("%s mount %s: %w", m.Type, m.Target, err)
		}
	}
	if len(op.Argv) == 0 || op.Script && op.ScriptName != "" {
		set.list = append(set.list, sandbox.Mount{Type: sandbox.MountFile, Target: scriptTarget(op), Data: []byte(op.Command), Mode: 0o755, ReadOnly: true})
	}
	// One inside of another comes after it, in whatever order they were written.
	slices.SortStableFunc(set.list[first:], func(a, b sandbox.Mount) int { return cmp.Compare(a.Target, b.Target) })
	return set, nil
}

// mountSources finds where the files of bind mounts, and of new cache mounts, come from,
// by the index of the mount.
func (s *session) mountSources(step *stage.Step, op *stage.RunOp, inputs []*tree.Node) map[int]bindSource {
	var list map[int]bindSource
	input := 0
	for i := range op.Mounts {
		if !hasSource(&op.Mounts[i]) {
			continue
		}
		from := bindSource{local: s.sources.of(slot{step.ID, i})}
		if from.local == nil {
			from.root, from.step = inputs[input], step.Inputs[input]
			input++
		} else {
			from.root = from.local.root
		}
		if list == nil {
			list = map[int]bindSource{}
		}
		list[i] = from
	}
	return list
}

// hasSource reports whether a mount shows, or begins with, files of a source.
func hasSource(m *stage.Mount) bool {
	return m.From != nil && (m.Type == stage.MountBind || m.Type == stage.MountCache)
}

// nameFiles are the files by which a process finds other machines. They leave no
// trace in the layer.
func nameFiles(n stage.Network, extra []stage.Host) []sandbox.Mount {
	hosts := []byte("127.0.0.1\tlocalhost " + sandbox.DefaultHostname + "\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	for _, h := range extra {
		hosts = fmt.Appendf(hosts, "%s\t%s\n", h.IP, h.Name)
	}
	list := []sandbox.Mount{{Type: sandbox.MountFile, Target: "/etc/hosts", Data: hosts}}
	if n == stage.NetworkNone {
		return list
	}
	if resolv, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		list = append(list, sandbox.Mount{Type: sandbox.MountFile, Target: "/etc/resolv.conf", Data: resolv})
	}
	return list
}

// mountSecret shows a secret. Where the build has none, the variable is set all the same
// in compatible mode, to nothing, as BuildKit does.
func (s *session) mountSecret(ctx context.Context, set *mountSet, op *stage.RunOp, m stage.Mount) error {
	secret := s.request.Secrets[m.ID]
	if secret == nil { // required ones were checked before anything ran
		if op.Compatible && m.Env != "" {
			set.env = append(set.env, m.Env+"=")
		}
		return nil
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
		set.list = append(set.list, sandbox.Mount{Type: sandbox.MountFile, Target: m.Target, Data: value, Mode: cmp.Or(m.Mode, 0o400), UID: uid, GID: gid})
	}
	return nil
}

// mountAgent shows an SSH agent. Where the build has none the variable that
// names it is set all the same in compatible mode, as BuildKit does.
func (s *session) mountAgent(ctx context.Context, set *mountSet, op *stage.RunOp, m stage.Mount) error {
	agent, ok := s.request.SSH[m.ID]
	if set.agent == "" && (ok || op.Compatible) {
		set.agent = m.Target
	}
	if !ok {
		return nil // required ones were checked before anything ran
	}
	serve, err := sshagent.Open(ctx, agent.Socket, agent.Keys)
	if err != nil {
		return err
	}
	uid, gid := ids(m.Owner)
	set.list = append(set.list, sandbox.Mount{Type: sandbox.MountSocket, Target: m.Target, Serve: serve, Mode: m.Mode, UID: uid, GID: gid})
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
	f, err := findBound(from, m)
	if err != nil {
		return err
	}
	root := f.node
	if !root.IsDir() {
		e := tree.Edit(emptyRoot)
		if err := e.Put("file", root); err != nil {
			return err
		}
		root = e.Tree()
	}
	open, err := s.bindOpener(ctx, d, from, root)
	if err != nil {
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

// findBound finds the path of a mount in its source.
func findBound(from bindSource, m stage.Mount) (found, error) {
	if m.Path == "." {
		return found{node: from.root}, nil
	}
	f, err := follow(from.root, m.Path)
	if err == nil && f.node == nil {
		err = missingInTree(from.root, m.Path, m.From.String())
	}
	return f, err
}

// bindOpener opens the files of a part of a source.
func (s *session) bindOpener(ctx context.Context, d *demand, from bindSource, root *tree.Node) (tree.Opener, error) {
	if from.local == nil {
		return s.opener(ctx, d, from.step, tree.Diff(emptyRoot, root))
	}
	return func(digest tree.Digest) (io.ReadCloser, error) {
		return openVerified(from.local.files, from.local.paths()[digest], digest)
	}, nil
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
	set.releases = append(set.releases, func() { _ = keep.RemoveAll(dir) })
	store, err := snapshot.Open(dir, snapshot.Options{Parallel: s.opts.Parallel})
	if err != nil {
		return nil, err
	}
	set.releases = append(set.releases, func() { _ = store.Close() })
	return store, nil
}
