package layertar

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/tree"
)

// randomChanges are changes of every kind and length of name, some at the limits of headers.
func randomChanges(r *rand.Rand, c contents, n int) []tree.Change {
	pick := func(values ...int64) int64 { return values[r.IntN(len(values))] }
	name := func() string {
		return strings.Repeat("n", int(pick(0, 1, 5, 80, 85, 86, 87, 90, 94, 95, 96, 97, 98, 99, 100, 101, 150, 240))) + []string{"", "é", "/x", "/y"}[r.IntN(4)] + string(rune('a'+r.IntN(26)))
	}
	byPath := map[string]tree.Change{}
	for range n {
		m := tree.Meta{
			Mode: uint32(r.IntN(0o10000)), UID: uint32(pick(0, 1000, 1<<21-1, 1<<21)), GID: uint32(pick(0, 1<<21-1, 1<<21)),
			Mtime: pick(0, 0, 1e9, 1e9+1, -1, (1<<33-1)*1e9),
		}
		if r.IntN(8) == 0 {
			m.Xattrs = []tree.Xattr{{Name: "user.a", Value: []byte(name())}}
		}
		change := tree.Change{Path: strings.TrimPrefix(name(), "/")}
		switch r.IntN(8) {
		case 0:
			// a removal
		case 1:
			change.Node, change.Opaque = tree.NewDir(m), r.IntN(2) == 0
		case 2:
			change.Node = tree.NewSymlink(m, name())
		case 3:
			change.Node = tree.NewDevice([]tree.Kind{tree.CharDevice, tree.BlockDevice}[r.IntN(2)], m, uint32(pick(1, 1<<21-1)), 1)
		default:
			size := int(pick(0, 1, 511, 512, 513, 3000))
			if r.IntN(2) == 0 {
				m = tree.Meta{Mode: 0o644} // so that some are links
			}
			change.Node = c.file(m, strings.Repeat("x", size), uint64(r.IntN(4)))
		}
		byPath[change.Path] = change
	}
	var out []tree.Change
	for _, change := range byPath {
		out = append(out, change)
	}
	slices.SortFunc(out, func(a, b tree.Change) int { return tree.ComparePaths(a.Path, b.Path) })
	return out
}

// TestLayoutIsWhatIsWritten: the size is right, and each range alone is that part of the whole.
func TestLayoutIsWhatIsWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		c := contents{}
		changes := randomChanges(r, c, r.IntN(40))
		if round == 0 {
			changes = everything(c)
		}
		whole := write(t, changes, c)
		l, err := NewLayout(changes)
		if err != nil {
			t.Fatal(err)
		}
		if l.Size() != int64(len(whole)) {
			t.Fatalf("round %d: %d bytes were written, not %d", round, len(whole), l.Size())
		}
		for range 10 {
			from := r.Int64N(l.Size() + 1)
			to := from + r.Int64N(l.Size()+1-from)
			var b bytes.Buffer
			if err := l.WriteRange(&b, c.open, from, to); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), whole[from:to]) {
				t.Fatalf("round %d: the bytes from %d to %d of %d differ", round, from, to, len(whole))
			}
		}
	}
}

// TestFingerprintsTellBytes edits changes at random. Blocks of one fingerprint must be the same bytes; after a small edit most are.
func TestFingerprintsTellBytes(t *testing.T) {
	const size = 1000 // so that blocks begin amid headers
	r := rand.New(rand.NewPCG(3, 4))
	c := contents{}
	seen := map[tree.Digest]string{}
	same, all := 0, 0
	for range 20 {
		changes := randomChanges(r, c, 60)
		for edit := range 8 {
			if edit > 0 {
				i := r.IntN(len(changes))
				changes = slices.Clone(changes)
				changes[i].Node = c.file(tree.Meta{Mode: uint32(edit)}, strings.Repeat("e", r.IntN(2000)), 0)
			}
			l, err := NewLayout(changes)
			if err != nil {
				t.Fatal(err)
			}
			whole := string(write(t, changes, c))
			prints := l.Fingerprints(size)
			if want := (len(whole) + size - 1) / size; len(prints) != want {
				t.Fatalf("%d fingerprints of %d blocks", len(prints), want)
			}
			for i, p := range prints {
				block := whole[i*size : min((i+1)*size, len(whole))]
				old, ok := seen[p]
				if ok && old != block {
					t.Fatalf("one fingerprint, other bytes")
				}
				if seen[p] = block; edit > 0 {
					all++
					if ok {
						same++
					}
				}
			}
		}
	}
	if same*4 < all {
		t.Errorf("%d of %d blocks are known after an edit", same, all)
	}
}

func TestWithinNamesWhatIsRead(t *testing.T) {
	c := contents{}
	var changes []tree.Change
	for _, name := range []string{"a", "b", "c", "d"} {
		changes = append(changes, tree.Change{Path: name, Node: c.file(tree.Meta{}, strings.Repeat(name, 1000), 0)})
	}
	l, err := NewLayout(changes)
	if err != nil {
		t.Fatal(err)
	}
	const each = 512 + 1024
	for name, want := range map[string]struct {
		from, to int64
		paths    string
	}{
		"nothing":         {0, 0, ""},
		"the first byte":  {0, 1, "a"},
		"one":             {each, 2 * each, "b"},
		"into its middle": {each - 1, each + 1, "a b"},
		"the end":         {4 * each, 4*each + tarEnd, ""},
		"everything":      {0, l.Size(), "a b c d"},
	} {
		var paths, opened []string
		for _, change := range l.Within(want.from, want.to) {
			paths = append(paths, change.Path)
		}
		if got := strings.Join(paths, " "); got != want.paths {
			t.Errorf("%s: %q", name, got)
		}
		err := l.WriteRange(io.Discard, func(d tree.Digest) (io.ReadCloser, error) {
			opened = append(opened, c[d][:1])
			return c.open(d)
		}, want.from, want.to)
		if got := strings.Join(opened, " "); err != nil || got != want.paths {
			t.Errorf("%s: opened %q, %v", name, got, err)
		}
	}
	for _, bad := range [][2]int64{{-1, 1}, {2, 1}, {0, l.Size() + 1}} {
		if err := l.WriteRange(io.Discard, c.open, bad[0], bad[1]); err == nil || errors.Is(err, errLayout) {
			t.Errorf("range %v: %v", bad, err)
		}
	}
}
