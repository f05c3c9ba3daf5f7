package tree

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// model is the naive filesystem that trees are checked against: every path with
// a node that has no children.
type model map[string]*Node

func (m model) put(path string, n *Node) {
	m.remove(path)
	m[path] = n
}

func (m model) remove(path string) {
	for p := range m {
		if p == path || strings.HasPrefix(p, path+"/") {
			delete(m, p)
		}
	}
}

func (m model) parentIsDir(path string) bool {
	dir, _ := splitLast(path)
	return dir == "" || m[dir] != nil && m[dir].kind == Dir
}

// build makes a tree of the model with Puts in random order, parents first.
func (m model) build(t *testing.T, r *rand.Rand) *Node {
	t.Helper()
	paths := slices.Collect(maps.Keys(m))
	slices.Sort(paths)
	r.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	slices.SortStableFunc(paths, func(a, b string) int { return strings.Count(a, "/") - strings.Count(b, "/") })
	e := Edit(nil)
	// Other numbers for the same hard links: they must not matter.
	shift := r.Uint64N(1000)
	for _, p := range paths {
		n := m[p]
		if n.group != 0 {
			n = n.WithGroup(n.group + shift)
		}
		if err := e.Put(p, n); err != nil {
			t.Fatal(err)
		}
	}
	return e.Tree()
}

// describe lists a tree with hard links by the first name of each set.
func describe(root *Node) []string {
	first := map[string]string{}
	for _, s := range linkSets(root, true) {
		for _, p := range s {
			first[p] = s[0]
		}
	}
	var out []string
	for p, n := range Walk(root) {
		out = append(out, fmt.Sprintf("%s %v %+v %d %v %q %d:%d link=%s", p, n.kind, n.meta, n.size, n.content, n.target, n.major, n.minor, first[p]))
	}
	return out
}

func randomNode(r *rand.Rand) *Node {
	m := Meta{Mode: 0o755, Mtime: int64(r.IntN(2)) - 1}
	if r.IntN(4) == 0 {
		m.UID = uint32(r.IntN(3))
		m.Xattrs = []Xattr{{"user.b", []byte{byte(r.IntN(2))}}, {"user.a", nil}}
	}
	switch r.IntN(12) {
	case 0, 1, 2, 3:
		return NewDir(m)
	case 4:
		return NewSymlink(m, "../"+randomName(r))
	case 5:
		return NewDevice(BlockDevice-Kind(r.IntN(2)), m, uint32(r.IntN(2)), 1)
	case 6:
		return NewFifo(m)
	case 7, 8, 9:
		g := uint64(r.IntN(3)) + 1 // links: same content in a group, mostly
		return NewFile(Meta{Mode: 0o600, Mtime: int64(r.IntN(8) / 7)}, Digest{byte(g)}, 1, g)
	}
	return NewFile(m, Digest{1, byte(r.IntN(3))}, int64(r.IntN(3)), 0)
}

func randomName(r *rand.Rand) string { return []string{"a", "b", "c", "a.", "a-b", "é"}[r.IntN(6)] }

func randomPath(r *rand.Rand) string {
	p := randomName(r)
	for r.IntN(3) > 0 && len(p) < 12 {
		p += "/" + randomName(r)
	}
	return p
}

// mutate makes random edits to the model and to the editor, which must agree on what is possible.
func mutate(t *testing.T, r *rand.Rand, m model, e *Editor, edits int) {
	t.Helper()
	for range edits {
		p := randomPath(r)
		switch r.IntN(6) {
		case 0:
			m.remove(p)
			if err := e.Remove(p); err != nil {
				t.Fatal(err)
			}
		case 1:
			if n := e.Lookup(p); n != nil {
				meta := n.Meta()
				meta.GID = uint32(r.IntN(3))
				if err := e.SetMeta(p, meta); err != nil {
					t.Fatal(err)
				}
				m[p] = m[p].WithMeta(meta)
			}
		default:
			n := randomNode(r)
			err := e.Put(p, n)
			if ok := m.parentIsDir(p); ok != (err == nil) {
				t.Fatalf("put %s: %v, possible: %v", p, err, ok)
			}
			if err == nil {
				m.put(p, n)
			}
		}
	}
}

func TestAgainstModel(t *testing.T) {
	rounds := 3000
	if testing.Short() {
		rounds = 300
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(1, uint64(seed)))
		m, e := model{}, Edit(nil)
		mutate(t, r, m, e, 30)
		old, oldModel := e.Tree(), maps.Clone(m)
		before := describe(old)
		if seed%2 == 0 {
			old.Identity() // with and without digests to skip by
		}
		mutate(t, r, m, e, r.IntN(20))
		now := e.Tree()

		same := m.build(t, r)
		if got, want := describe(now), describe(same); !slices.Equal(got, want) {
			t.Fatalf("seed %d: tree\n%s\nwant\n%s", seed, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if now.Identity() != same.Identity() || now.Key() != same.Key() {
			t.Fatalf("seed %d: equal trees with different digests", seed)
		}
		if !slices.Equal(before, describe(old)) {
			t.Fatalf("seed %d: an edit changed an older tree", seed)
		}
		if (old.Identity() == now.Identity()) != slices.Equal(before, describe(now)) {
			t.Fatalf("seed %d: digests and trees disagree on equality", seed)
		}
		checkDiff(t, seed, old, now)
		checkDiff(t, seed, oldModel.build(t, r), now)
		checkDiff(t, seed, nil, now)
		if extra := Diff(same, now); len(extra) > 0 {
			t.Fatalf("seed %d: diff of equal trees: %v", seed, extra)
		}
	}
}

func checkDiff(t *testing.T, seed int, old, now *Node) {
	t.Helper()
	changes := Diff(old, now)
	if !slices.IsSortedFunc(changes, func(a, b Change) int { return ComparePaths(a.Path, b.Path) }) {
		t.Fatalf("seed %d: changes are not in order", seed)
	}
	for _, c := range changes {
		if was := Lookup(Edit(old).Tree(), c.Path); c.Node == nil && was == nil {
			t.Fatalf("seed %d: removes %s, which was not there", seed, c.Path)
		}
	}
	b := Marshal(changes)
	decoded, err := Unmarshal(b)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	if again := Marshal(decoded); string(again) != string(b) {
		t.Fatalf("seed %d: encoding is not stable", seed)
	}
	for _, list := range [][]Change{changes, decoded} {
		got, err := Apply(old, list)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got.Identity() != now.Identity() {
			t.Fatalf("seed %d: applied\n%s\nwant\n%s\nchanges %v", seed,
				strings.Join(describe(got), "\n"), strings.Join(describe(now), "\n"), changes)
		}
	}
	if len(changes) == 0 {
		return
	}
	// Minimal: no change can be left out, but links go together.
	for i := range changes {
		if n := changes[i].Node; n != nil && (n.group != 0 || n.kind == Dir && n.meta.Equal(Meta{Mode: 0o755})) {
			continue // Apply makes a missing parent just like that
		}
		got, err := Apply(old, slices.Delete(slices.Clone(changes), i, i+1))
		if err == nil && got.Identity() == now.Identity() {
			t.Fatalf("seed %d: change of %s is not needed: %v", seed, changes[i].Path, changes)
		}
	}
}
