package local

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// otherHostname is the host name of steps that are done again.
const otherHostname = "verify-elsewhere"

// elsewhere runs processes as on another machine: under another host name, and with otherIDs
// unless sameIDs.
type elsewhere struct {
	sandbox.Runner
	sameIDs bool
}

func (e *elsewhere) Run(ctx context.Context, spec *sandbox.Spec) (sandbox.Status, error) {
	other := *spec
	other.Hostname = otherHostname
	other.Mounts = slices.Clone(spec.Mounts)
	for i, m := range other.Mounts {
		if m.Type == sandbox.MountFile && m.Target == "/etc/hosts" {
			other.Mounts[i].Data = bytes.Replace(m.Data, []byte(sandbox.DefaultHostname), []byte(otherHostname), 1)
		}
	}
	if !e.sameIDs {
		other.Root.IDs, other.Root.Idmapped = otherIDs, true
	}
	return e.Runner.Run(ctx, &other)
}

// reordered adds to the lowers of a root a directory below all of them, which shows nothing and
// lists the names of each directory in another order: overlayfs lists those that the lowest
// has first, in the order in which it has them. What is down there has half of the names of
// each directory, as empty files, and the directories.
func (a *apart) reordered(ctx context.Context, lowers []string, root *tree.Node) ([]string, error) {
	if len(lowers) == 0 || len(lowers) >= sandbox.MaxLowers {
		return lowers, nil
	}
	name := tree.Digest(cache.NewKey("another order", 1).Digest("tree", cache.Digest(root.Identity())).Strings("lowers", lowers).Sum())
	dir, ok := a.orders[name]
	if !ok {
		var open []*os.Root
		defer func() {
			for _, r := range open {
				r.Close()
			}
		}()
		for _, lower := range lowers {
			r, err := os.OpenRoot(lower)
			if err != nil {
				return nil, err
			}
			open = append(open, r)
		}
		bottom := tree.Edit(emptyRoot)
		if err := reorder(bottom, "", root, open); err != nil {
			return nil, err
		}
		var err error
		dir, err = a.snapshots.Merged(ctx, name, bottom.Tree(), func(tree.Digest) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("")), nil
		})
		if err != nil {
			return nil, err
		}
		a.orders[name] = dir
	}
	return append(lowers[:len(lowers):len(lowers)], dir), nil
}

// reorder adds what is at the bottom of one directory and of those in it. lowers are those that
// may have the directory.
func reorder(bottom *tree.Editor, at string, n *tree.Node, lowers []*os.Root) error {
	lists, have := listed(at, n, lowers)
	names := inOrder(lists, nil)
	low := chosen(n, lists, names)
	for _, name := range names {
		c, here := n.Child(name), path.Join(at, name)
		if !low[name] {
			continue
		}
		if !c.IsDir() {
			if err := bottom.Put(here, tree.NewFile(tree.Meta{Mode: 0o644}, emptyContent, 0, 0)); err != nil {
				return err
			}
			continue
		}
		if err := bottom.Put(here, tree.NewDir(tree.Meta{Mode: 0o755})); err != nil {
			return err
		}
		if err := reorder(bottom, here, c, have); err != nil {
			return err
		}
	}
	return nil
}

// chosen are the names of a directory that are at the bottom: every other name and all
// directories, since there is more below them, but for one where that would change nothing.
func chosen(n *tree.Node, lists [][]string, names []string) map[string]bool {
	low := map[string]bool{}
	for i, name := range names {
		if i%2 == 1 || n.Child(name).IsDir() {
			low[name] = true
		}
	}
	changes := func() bool { return !slices.Equal(inOrder(lists, low), names) }
	if len(names) < 2 || changes() {
		return low
	}
	least := slices.SortedFunc(maps.Keys(low), func(a, b string) int {
		return cmp.Or(n.Child(a).Len()-n.Child(b).Len(), strings.Compare(a, b))
	})
	for _, name := range least {
		if delete(low, name); changes() {
			return low
		}
		low[name] = true
	}
	return low
}

// listed are the names of a directory as the kernel lists them in each of the lowers that have
// it, and these lowers.
func listed(at string, n *tree.Node, lowers []*os.Root) (lists [][]string, have []*os.Root) {
	for _, r := range lowers {
		f, err := r.Open(path.Join(".", at))
		if err != nil {
			continue
		}
		list, err := f.Readdirnames(-1)
		f.Close()
		if err != nil {
			continue // it is a file there, which an upper one hides
		}
		list = slices.DeleteFunc(list, func(name string) bool { return n.Child(name) == nil })
		lists, have = append(lists, list), append(have, r)
	}
	return lists, have
}

// inOrder are the names of a directory in the order in which overlayfs lists them: those of the
// lowest, then those of the others from the uppermost down. low are the names at the bottom,
// which are taken to be in the order in which they would be without; nil when nothing is there.
func inOrder(lists [][]string, low map[string]bool) []string {
	if len(lists) == 0 {
		return nil
	}
	last := len(lists) - 1
	if len(low) > 0 {
		first := slices.DeleteFunc(inOrder(lists, nil), func(name string) bool { return !low[name] })
		lists = append(slices.Clone(lists), first)
		last++
	}
	var names []string
	seen := map[string]bool{}
	for _, list := range append([][]string{lists[last]}, lists[:last]...) {
		for _, name := range list {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}
