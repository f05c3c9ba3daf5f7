package local

import (
	"fmt"
	"path"
	"slices"
	"strconv"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
)

// Versions of the recipes below. A change of what a step does with the same
// fields needs a new number.
const (
	recipeVersion  = 2
	contentVersion = 1
)

// recipeKeys computes the recipe key of every step: what was asked, on top of
// the keys of what it stands on. A step that only changes the
// configuration has the key of its parent: what it changes is in the fields of
// the later steps that can see it. Steps stand on the second key of each step, which is
// its recipe except for a copy that is independent of the files below it: there it is the
// recipe on top of the parent's.
//
//	base     digest of the manifest
//	copy     parent unless it is independent, destination, owner, modes and all else that is asked,
//	         then for each source path: of a step its key and the path, of a local source the
//	         name and key digest of each file that it selects
//	run      parent, argv, script, its place, compatible, env, dir, user, network, names of further hosts, input,
//	         allowed exit codes, whether its output is kept, each mount without its contents if a cache,
//	         a secret or an agent, epoch
//	merge    parent, then the key of each stage; apply likewise
//	others   parent and the operation's fields
//
// and of any the text of its CacheKey.
//
// Absolute paths of this machine, modification times, ids of local files, secrets, proxies,
// addresses of hosts, limits, timeouts, retries, the limit of a result's age and the contents of cache mounts are in none.
func (s *session) recipeKeys() (recipes, keys []cache.Key, err error) {
	recipes, keys = make([]cache.Key, len(s.steps)), make([]cache.Key, len(s.steps))
	for i, step := range s.steps {
		if !s.needed[i] {
			continue
		}
		if !changesFiles(step.Op) {
			recipes[i], keys[i] = recipes[step.Parent], keys[step.Parent]
			continue
		}
		b, err := s.recipe(step, keys, cache.NewKey)
		if err != nil {
			return nil, nil, err
		}
		recipes[i] = b.Sum()
		keys[i] = recipes[i]
		if independent(step.Op) {
			keys[i] = cache.NewKey("laid over", 1).Key("parent", keys[step.Parent]).Key("copy", recipes[i]).Sum()
		}
	}
	return recipes, keys, nil
}

// recipe adds the fields of a step's recipe key to a new builder. keys has those of the steps
// below.
func (s *session) recipe(step *stage.Step, keys []cache.Key, newKey func(kind string, version int) *cache.KeyBuilder) (*cache.KeyBuilder, error) {
	b := newKey("recipe "+step.Kind(), recipeVersion)
	if step.Parent >= 0 && !independent(step.Op) {
		b.Key("parent", keys[step.Parent])
	}
	b.Int("epoch", s.opts.Epoch.Unix())
	input := 0
	err := s.addFields(b, step, func(at slot, patterns []string) error {
		if l := s.sources.of(at); l != nil {
			return addLocal(b, l, s.pickerAt(at), patterns)
		}
		id := step.Inputs[input]
		input++
		if patterns == nil { // the files are not part of what was asked
			return nil
		}
		b.Key("source", keys[id]).Strings("paths", patterns)
		return nil
	})
	return b, err
}

// addFields adds what was asked of a step. addSource adds the files that the step
// reads.
func (s *session) addFields(b *cache.KeyBuilder, step *stage.Step, addSource func(slot, []string) error) error {
	switch op := step.Op.(type) {
	case *stage.BaseOp:
		b.String("digest", op.Digest.String())
	case *stage.CopyOp:
		addCopy(b, op)
		if len(op.Paths) == 0 {
			return nil
		}
		return addSource(slot{step: step.ID, mount: -1}, op.Paths)
	case *stage.FileOp:
		b.String("path", op.Path).Bytes("content", op.Content).Int("mode", int64(op.Mode)).String("owner", op.Owner)
	case *stage.MkdirOp:
		b.String("path", op.Path).Int("mode", int64(op.Mode)).String("owner", op.Owner)
	case *stage.SymlinkOp:
		b.String("target", op.Target).String("path", op.Path)
	case *stage.RemoveOp:
		b.String("path", op.Path).Bool("optional", op.Optional)
	case *stage.WorkdirOp:
		b.String("path", op.Path).String("user", op.User).Bool("compatible", op.Compatible)
	case *stage.RunOp:
		return s.addRun(b, step, op, addSource)
	case *stage.FuncOp:
		b.String("name", op.Name).String("version", op.Version)
		addCacheKey(b, op.Cache)
	case *stage.MergeOp, *stage.ApplyOp:
		for range step.Inputs {
			if err := addSource(slot{step: -1}, []string{}); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("local: no key for operation %T", op)
	}
	return nil
}

// addCopy adds what a copy does with what it selects. Where the paths say where the
// files go, all of a path counts, else only its last element.
func addCopy(b *cache.KeyBuilder, op *stage.CopyOp) {
	b.String("dest", op.Dest).String("chown", op.Chown).String("chmod", op.Chmod).String("chmod dirs", op.ChmodDirs)
	b.Bool("optional", op.Optional).Bool("link", op.Link).String("unpack", string(op.Unpack)).Bool("compatible", op.Compatible)
	b.Bool("parents", op.Parents).Strings("exclude", op.Exclude)
	if op.Parents {
		b.Strings("parents of", op.Paths)
	}
	if op.Links != stage.LinksFollowed {
		b.String("links", string(op.Links))
	}
	if _, ok := op.From.(stage.GitSource); ok {
		b.Bool("whole", true)
	}
	for _, file := range op.Inline {
		b.String("inline", file.Name).Bytes("content", file.Content)
	}
	addCacheKey(b, op.Cache)
}

// addCacheKey adds the text of stage.CacheKey. The rest of the rule says which records
// count, not which step it is.
func addCacheKey(b *cache.KeyBuilder, r stage.CacheRule) {
	if r.Key != "" {
		b.String("cache key", r.Key)
	}
}

// addRun says what a process is asked to do. What runs programs of another platform is not in it: the
// platform is, and whichever machine or emulator runs its programs, they do the same.
func (s *session) addRun(b *cache.KeyBuilder, step *stage.Step, op *stage.RunOp, addSource func(slot, []string) error) error {
	b.Strings("argv", op.Argv).Bool("script", op.Script).Bool("compatible", op.Compatible)
	if op.Script {
		b.String("text", op.Command)
	}
	b.Strings("env", op.Env).String("dir", op.Dir).String("user", op.User)
	b.String("network", string(op.Network)).String("platform", step.Platform.String())
	addRunOptions(b, op)
	for i, m := range op.Mounts {
		b.String("mount", string(m.Type)).String("target", m.Target).Bool("writable", m.Writable)
		switch m.Type {
		case stage.MountCache:
			b.String("id", m.ID).Int("mode", int64(m.Mode)).String("owner", m.Owner).Bool("read-only", m.ReadOnly)
			if hasSource(&m) {
				if err := addSource(slot{step: step.ID, mount: i}, nil); err != nil {
					return err
				}
			}
		case stage.MountTmpfs:
			b.Int("size", m.Size).Int("mode", int64(m.Mode))
		case stage.MountSecret, stage.MountSSH:
			b.String("id", m.ID).String("variable", m.Env).Int("mode", int64(m.Mode)).String("owner", m.Owner)
		case stage.MountBind:
			if err := addSource(slot{step: step.ID, mount: i}, []string{m.Path}); err != nil {
				return err
			}
		}
	}
	return nil
}

// pickerAt is how a use of a source selects.
func (s *session) pickerAt(at slot) picker {
	if op, ok := s.steps[at.step].Op.(*stage.CopyOp); ok {
		return pickerOf(op)
	}
	return literalPath()
}

// addRunOptions adds what few steps have: nothing for the others.
func addRunOptions(b *cache.KeyBuilder, op *stage.RunOp) {
	if op.Compatible {
		b.Bool("compatible", true)
	}
	if op.ScriptName != "" {
		b.String("script name", op.ScriptName)
	}
	if op.Stdin != nil {
		b.Bytes("input", op.Stdin)
	}
	if op.Capture {
		b.Bool("capture", true)
	}
	for _, code := range unique(slices.Sorted(slices.Values(op.Allow))) {
		b.Int("allowed", int64(code))
	}
	for _, h := range op.Hosts {
		b.String("host", h.Name)
	}
	addCacheKey(b, op.Cache)
}

// addLocal adds the files of a local source that a step selects: the last element of
// each path, which names the copy, and the digest of what is there; of a copy that keeps
// directories also those, which are not in what is there. Hard links can
// lead from one selected path to another, so several are also taken together.
func addLocal(b *cache.KeyBuilder, l *localSource, pick picker, patterns []string) error {
	var all []*tree.Node
	for _, p := range patterns {
		list, _, err := l.pick(pick, p)
		if err != nil {
			return err
		}
		b.Int("matches", int64(len(list)))
		for _, f := range list {
			if len(f.above) > 0 {
				b.String("below", path.Dir(f.name))
			}
			for _, dir := range f.above {
				b.Digest("directory", cache.Digest(tree.NewDir(dir.Meta()).Key()))
			}
			b.String("name", f.base()).Digest("file", cache.Digest(f.node.Key()))
			all = append(all, f.node)
		}
	}
	if len(all) < 2 {
		return nil
	}
	together := tree.Edit(nil)
	graft := together.Graft()
	for i, n := range all {
		if err := graft.Put(strconv.Itoa(i), n); err != nil {
			return err
		}
	}
	b.Digest("together", cache.Digest(together.Tree().Key()))
	return nil
}

// contentKey is the key of a Run step by what it sees: the files of its parent
// and of its bind mounts, whatever steps made them.
func (s *session) contentKey(step *stage.Step, parent *tree.Node, inputs []*tree.Node) (cache.Key, error) {
	b := cache.NewKey("content "+step.Kind(), contentVersion)
	b.Digest("parent", cache.Digest(parent.Key()))
	b.Int("epoch", s.opts.Epoch.Unix())
	input := 0
	err := s.addFields(b, step, func(at slot, patterns []string) error {
		if l := s.sources.of(at); l != nil {
			return addLocal(b, l, s.pickerAt(at), patterns)
		}
		root := inputs[input]
		input++
		if patterns == nil {
			return nil
		}
		f, err := follow(root, patterns[0])
		if err == nil && f.node != nil {
			b.Digest("source", cache.Digest(f.node.Key()))
		}
		return err
	})
	return b.Sum(), err
}
