package remote_test

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/cachetest"
	"github.com/stagewright/stagewright/cache/remote"
	"github.com/stagewright/stagewright/internal/registrytest"
)

// TestDistribution: the same with a registry that is not a fake, whether it deletes or not.
func TestDistribution(t *testing.T) {
	for _, deleting := range []bool{true, false} {
		t.Run(fmt.Sprintf("deleting %v", deleting), func(t *testing.T) {
			host := registrytest.Start(t, registrytest.Options{Delete: deleting})
			at := func(name string) func(t *testing.T) *remote.Store {
				return func(t *testing.T) *remote.Store {
					return opened(t)(remote.Registry(host+"/team/cache:"+name, options(t)))
				}
			}
			t.Run("together", func(t *testing.T) { together(t, at("together")) })
			open := at("main")
			texts, digests := fill(t, open, 0, 5)
			c, err := open(t).Compact(t.Context(), remote.CompactOptions{})
			if want := map[bool]remote.Compaction{true: {Merged: 5, Deleted: 5}, false: {Merged: 5, Left: 5}}[deleting]; err != nil || c != want {
				t.Errorf("%+v, %v", c, err)
			}
			reader := open(t)
			want(t, reader, 0, texts...)
			for n, d := range digests {
				wantBlob(t, reader, d, texts[n])
			}
			if st := reader.Stats(); st.Manifests != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// TestDistributionConformance: what others see after a Flush to it, with a compaction now and then.
func TestDistributionConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("hundreds of flushes")
	}
	host := registrytest.Start(t, registrytest.Options{Delete: true})
	n := 0
	cachetest.Test(t, func(t *testing.T) cache.Store {
		n++
		ref := fmt.Sprintf("%s/cache:conformance%d", host, n)
		return sent(t, func(t *testing.T) *remote.Store { return opened(t)(remote.Registry(ref, options(t))) })
	})
}

// TestManyTags: lists of tags come in pages, by Distribution with Link, and by the registry in memory cut off without a word.
func TestManyTags(t *testing.T) {
	for name, host := range map[string]string{"distribution": registrytest.Start(t, registrytest.Options{}), "memory": serve(t).host} {
		t.Run(name, func(t *testing.T) {
			one := opened(t)(remote.Registry(host+"/cache:main", options(t)))
			put(t, one, 0, "text")
			flush(t, one)
			r, err := client().Repository(host + "/cache")
			if err != nil {
				t.Fatal(err)
			}
			all := func(string) bool { return true }
			tags, err := r.Tags(t.Context(), all)
			if err != nil || len(tags) != 1 {
				t.Fatalf("%q, %v", tags, err)
			}
			raw, d, err := r.Manifest(t.Context(), tags[0])
			if err != nil {
				t.Fatal(err)
			}
			const many = 1050
			var g errgroup.Group
			g.SetLimit(16)
			for n := range many {
				g.Go(func() error { return r.Put(t.Context(), fmt.Sprintf("other-%d", n), d, raw) })
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			tags, err = r.Tags(t.Context(), all)
			if err != nil || len(tags) != many+1 {
				t.Errorf("%d tags, %v", len(tags), err)
			}
			want(t, opened(t)(remote.Registry(host+"/cache:main", options(t))), 0, "text")
		})
	}
}
