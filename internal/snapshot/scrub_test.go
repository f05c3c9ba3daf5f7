//go:build linux

package snapshot

import (
	"errors"
	"os"
	"testing"

	"github.com/stagewright/stagewright/internal/tree"
)

// Damage that leaves the signature of a directory as it is goes unseen in use: it is what Scrub is for.
func TestScrubFindsWhatTheSealDoesNotShow(t *testing.T) {
	var c contents
	full := c.parse(t, smallTree)
	changes := tree.Diff(nil, full)
	store := tempDir(t)
	dir := mustLayer(t, openStore(t, store), &c, nil, full)
	s := openStore(t, store)
	if size, err := s.Scrub(t.Context(), full.Identity(), changes); err != nil || size == 0 {
		t.Fatalf("an undamaged layer: %d bytes, %v", size, err)
	}
	if err := first(os.WriteFile(dir+"/z", []byte("zzzy"), 0o644), reseal(t, dir, bootID())); err != nil {
		t.Fatal(err)
	}
	c.opens = 0
	mustLayer(t, openStore(t, store), &c, nil, full)
	if b, err := os.ReadFile(dir + "/z"); c.opens != 0 || string(b) != "zzzy" {
		t.Fatalf("the damage shows: %d contents opened, z is %q, %v", c.opens, b, err)
	}
	if _, err := s.Scrub(t.Context(), full.Identity(), changes); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged layer: %v", err)
	}
	mustLayer(t, openStore(t, store), &c, nil, full)
	if b, err := os.ReadFile(dir + "/z"); c.opens == 0 || string(b) != "zzzz" {
		t.Errorf("made again with %d contents opened: z is %q, %v", c.opens, b, err)
	}
}
