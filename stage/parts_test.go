package stage_test

import (
	"slices"
	"testing"

	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// TestPartsOfGroups says how many operations each group has, and that forks share them.
func TestPartsOfGroups(t *testing.T) {
	base := stage.Scratch().Env("A", "1").
		Layer(func(s stage.Stage) stage.Stage { return s.Mkdir("/a").Mkdir("/b") })
	ops := base.Mkdir("/c").Squash().Parts().Ops
	groups := make([]int, len(ops))
	for i, op := range ops {
		groups[i] = op.Group
	}
	if want := []int{0, 0, 0, 2, 0, 5}; !slices.Equal(groups, want) {
		t.Errorf("groups %v, want %v", groups, want)
	}
	other := base.Mkdir("/d").Parts().Ops
	for i := range base.Parts().Ops {
		if ops[i].Op != other[i].Op {
			t.Errorf("operation %d is another one in a fork", i)
		}
	}
	if ops[4].Op == other[4].Op {
		t.Error("two operations are the same")
	}
}

func TestChosen(t *testing.T) {
	here, there := stage.Scratch(stage.As("here")), stage.Scratch(stage.As("there"))
	s := stage.ForPlatform(func(p platform.Platform) stage.Stage {
		if p == arm64 {
			return there
		}
		return here
	})
	g := compileWith(t, stage.Options{Platforms: platform.Set{amd64, arm64}}, s.Mkdir("/x"))
	for p, want := range map[platform.Platform]stage.Stage{amd64: here, arm64: there} {
		if got, ok := g.Chosen(s, p); !ok || got != want {
			t.Errorf("%s: %v, %v", p, got, ok)
		}
	}
	for _, s := range []stage.Stage{{}, here} {
		if got, ok := g.Chosen(s, amd64); ok {
			t.Errorf("%v chose %v", s, got)
		}
	}
	if _, ok := g.Chosen(s, armv7); ok {
		t.Error("a choice for a platform that was not asked for")
	}
}

func TestTriggered(t *testing.T) {
	base := stage.Scratch(stage.As("base")).OnBuild("ENV A=1")
	child := stage.From(base, stage.As("child")).Mkdir("/x")
	g := compileWith(t, stage.Options{OnBuild: func(triggers []string, s stage.Stage) (stage.Stage, error) {
		return s.Env("A", "1").Label("b", "2"), nil
	}}, child)
	if got := g.Triggered(child); len(got) != 2 || got[1].Op.(*stage.ConfigOp).Instruction != "LABEL" {
		t.Errorf("%v", got)
	}
	if got := len(g.Triggered(base)) + len(g.Triggered(stage.Stage{})); got != 0 {
		t.Errorf("%d triggers of stages without any", got)
	}
}
