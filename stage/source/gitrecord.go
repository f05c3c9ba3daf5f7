package source

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
)

// gitCommit is one commit of one remote, and the ref of the remote that led to it, if
// one did.
type gitCommit struct {
	Remote string `json:"remote"`
	Commit string `json:"commit"`
	Ref    string `json:"ref,omitempty"`
}

// gitRecord is what the store knows of a tree: its files, and the commits, submodules
// included, that they come from.
type gitRecord struct {
	Files   cache.Digest `json:"files"` // the changes of tree.Marshal against nothing
	Mirrors []gitCommit  `json:"mirrors"`
}

// maxGitListing bounds the listing of one tree in the store, in bytes.
const maxGitListing = 1 << 30

func (g *GitFiles) key(top gitCommit) cache.Key {
	b := cache.NewKey("git tree", 1).String("remote", top.Remote).String("commit", top.Commit).
		String("subdir", g.want.Subdir).Bool("submodules", g.want.Submodules).Bool("keep", g.want.KeepGit)
	if g.want.KeepGit {
		b.String("ref", top.Ref)
	}
	return b.Sum()
}

// remembered is the tree of a commit as the store has it, nil when it does not.
func (g *GitFiles) remembered(ctx context.Context, top gitCommit) (*tree.Node, error) {
	data, err := g.o.Store.Get(ctx, g.key(top))
	if errors.Is(err, cache.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r gitRecord
	if json.Unmarshal(data, &r) != nil || len(r.Mirrors) == 0 {
		return nil, nil
	}
	listing, err := cache.ReadBlob(ctx, g.o.Store, r.Files, maxGitListing)
	var corrupt *cache.CorruptError
	if errors.Is(err, cache.ErrNotFound) || errors.Is(err, cache.ErrTooLarge) || errors.As(err, &corrupt) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	changes, err := tree.Unmarshal(listing)
	if err != nil {
		return nil, nil // made by another version, or damaged: it is made again
	}
	root, err := tree.Apply(nil, changes)
	if err != nil {
		return nil, nil
	}
	g.tree = &r
	return root, nil
}

// remember keeps the tree of a commit. The listing of a kept .git is not kept: another
// checkout may have other bytes.
func (g *GitFiles) remember(ctx context.Context, top gitCommit, root *tree.Node) error {
	if g.want.KeepGit {
		return nil
	}
	var err error
	if g.tree.Files, err = cache.PutBlob(ctx, g.o.Store, tree.Marshal(tree.Diff(nil, root))); err != nil {
		return err
	}
	data, err := json.Marshal(g.tree)
	if err != nil {
		return err
	}
	return g.o.Store.Put(ctx, g.key(top), data)
}
