package local

import (
	"context"
	"fmt"
	"math"
	"path"
	"slices"

	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// The first id on the host that a step done again has, and how many follow: as many as there
// are, or as a process can be started with.
const (
	firstOtherID = 1 << 30
	otherIDCount = min(math.MaxUint32-firstOtherID, math.MaxInt)
)

// otherIDs are the ids on the host of steps that are done again.
var otherIDs = sandbox.IDs{
	UIDs: []sandbox.IDRange{{Outside: firstOtherID, Size: otherIDCount}},
	GIDs: []sandbox.IDRange{{Outside: firstOtherID, Size: otherIDCount}},
}

// begin says whether a Run step, which sees these trees, is to be done with other ids.
func (a *apart) begin(ctx context.Context, step *stage.Step, trees []*tree.Node) error {
	a.elsewhere.sameIDs = false
	a.vary(stage.ConditionHostname, stage.ConditionOrder, stage.ConditionCacheMounts)
	if !a.asked {
		a.noIDs = sandbox.CheckIdmapped(ctx, a.elsewhere.Runner, otherIDs)
		a.asked = ctx.Err() == nil
	}
	err := a.noIDs
	for i := 0; err == nil && i < len(trees); i++ {
		err = mapped(trees[i], "/")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.keepIDs(step, err)
	}
	return nil
}

// end notes what the step was done with.
func (a *apart) end() {
	if !a.elsewhere.sameIDs {
		a.vary(stage.ConditionHostIDs)
	}
}

func (a *apart) vary(list ...stage.Condition) {
	for _, c := range list {
		if v := a.verification; !slices.Contains(v.Varied, c) {
			v.Varied = append(v.Varied, c)
		}
	}
}

// keepIDs reports whether a step was to have other ids, with which it cannot be done. From
// then on it has the same.
func (a *apart) keepIDs(step *stage.Step, err error) bool {
	if a == nil || a.elsewhere.sameIDs {
		return false
	}
	a.elsewhere.sameIDs = true
	a.verification.Kept = append(a.verification.Kept, stage.Kept{Step: step, Condition: stage.ConditionHostIDs, Err: err})
	return true
}

// mapped says which file of a tree belongs to somebody who is nobody with other ids.
func mapped(n *tree.Node, at string) error {
	if m := n.Meta(); m.UID >= otherIDCount || m.GID >= otherIDCount {
		return fmt.Errorf("%s belongs to %d:%d, and a user namespace with other ids has those below %d", at, m.UID, m.GID, uint32(otherIDCount))
	}
	if n.IsDir() {
		for name, c := range n.All() {
			if err := mapped(c, path.Join(at, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
