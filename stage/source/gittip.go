package source

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/gitref"
)

// gitTip is what a ref was when the remote was last asked.
type gitTip struct {
	Commit gitCommit `json:"commit"`
	Tip    string    `json:"tip"` // the commit, or the annotated tag that names it
}

func (g *GitFiles) tipKey() cache.Key {
	return cache.NewKey("git tip", 1).String("remote", g.want.Remote).String("ref", g.want.Ref).Sum()
}

// lastTip is the commit that the wanted ref had when the remote was last asked.
func (g *GitFiles) lastTip(ctx context.Context) (gitCommit, error) {
	data, err := g.o.Store.Get(ctx, g.tipKey())
	if errors.Is(err, cache.ErrNotFound) {
		return gitCommit{}, offlineError(g)
	}
	if err != nil {
		return gitCommit{}, err
	}
	var t gitTip
	if json.Unmarshal(data, &t) != nil || !gitref.IsCommit(t.Commit.Commit) || t.Commit.Remote != g.want.Remote {
		return gitCommit{}, offlineError(g)
	}
	return t.Commit, g.checksum(t.Commit.Commit, t.Tip)
}

// keepTip remembers what the wanted ref is. A store that has it already is not written to.
func (g *GitFiles) keepTip(ctx context.Context, c gitCommit, tip string) error {
	data, err := json.Marshal(gitTip{c, tip})
	if err != nil {
		return err
	}
	if had, err := g.o.Store.Get(ctx, g.tipKey()); err == nil && string(had) == string(data) {
		return nil
	}
	return g.o.Store.Put(ctx, g.tipKey(), data)
}
