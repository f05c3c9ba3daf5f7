package local_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// Of several earlier steps the one with the fewest differing fields is the nearest.
func TestExplainNearest(t *testing.T) {
	e := memory(t, local.Options{})
	from := stage.Scratch(stage.As("app"))
	for _, s := range []stage.Stage{
		from.Mkdir("/d", stage.Mode(0o700), stage.Owner("1")), // two fields
		from.Mkdir("/d", stage.Mode(0o755), stage.Owner("2")), // one
		from.Mkdir("/d", stage.Mode(0o711), stage.Owner("3")), // two, and the last
	} {
		build(t, e, s, stage.Request{})
	}
	list := explain(t, e, compile(t, from.Mkdir("/d", stage.Mode(0o755), stage.Owner("1"))), stage.Request{})
	sameLines(t, "explained", explanations(list), "run changed: MKDIR /d: owner changed (2 -> 1)")
}

// What a record keeps of a recipe is bounded, and has no secret.
func TestRecipesAreBounded(t *testing.T) {
	base := shell(t)
	store := &measuring{Store: cache.NewMemory()}
	e, err := local.New(local.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := stage.From(base, stage.As("app"))
	for i := range 10_000 {
		s = s.Env(fmt.Sprintf("V%d", i), "x")
	}
	app := func(n, script, last string) stage.Stage {
		return s.Env("N", n).Env("LAST", last).Script("true\n#"+strings.Repeat(script, 1<<20)+"\n", stage.SecretEnv("token", "TOKEN")).
			File("/big", strings.Repeat(script, 1<<20))
	}
	request := stage.Request{Secrets: map[string]stage.Secret{"token": stage.SecretValue("hunter2")}}
	// The sandbox refuses so much; the recipe is told all the same.
	list := explain(t, e, compile(t, app("1", "a", "1")), request)
	if len(list) != 3 {
		t.Fatal(list)
	}
	small := stage.From(base, stage.As("app")).Script("test $TOKEN = hunter2\n#"+strings.Repeat("a", 100<<10)+"\n", stage.SecretEnv("token", "TOKEN")).
		File("/big", strings.Repeat("a", 1<<20))
	build(t, e, small, request)
	if store.most > 64<<10 {
		t.Errorf("a record has %d bytes", store.most)
	}
	if bytes.Contains(store.all, []byte("hunter2\"")) || bytes.Contains(store.all, []byte("TOKEN=hunter2")) {
		t.Error("a secret is in a record")
	}
	changed := stage.From(base, stage.As("app")).Script("test $TOKEN = hunter2\n#"+strings.Repeat("a", 100<<10)+"b\n", stage.SecretEnv("token", "TOKEN")).
		File("/big", strings.Repeat("a", 1<<20))
	list = explain(t, e, compile(t, changed), request)
	if text := list[1].String(); !strings.HasPrefix(text, "command changed (…") || len(text) > 400 {
		t.Errorf("%.1000q", text)
	}
}

// measuring keeps an eye on the records.
type measuring struct {
	cache.Store
	most int
	all  []byte
}

func (m *measuring) Put(ctx context.Context, key cache.Key, data []byte) error {
	m.most = max(m.most, len(data))
	m.all = append(m.all, data...)
	return m.Store.Put(ctx, key, data)
}
