package remote_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/cache/cachetest"
	"github.com/stagewright/stagewright/cache/remote"
)

// distribution starts the registry that Docker made (Debian: docker-registry) and returns its host.
func distribution(t *testing.T, deleting bool) string {
	t.Helper()
	program, err := exec.LookPath("docker-registry")
	if err != nil {
		t.Skip("there is no docker-registry; apt-get install docker-registry")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yml")
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: %v}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), deleting, host)
	if err := os.WriteFile(path, []byte(config), 0o666); err != nil {
		t.Fatal(err)
	}
	var output strings.Builder
	cmd := exec.Command(program, "serve", path)
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Skipf("docker-registry does not start: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
			resp.Body.Close()
			return host
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("docker-registry: %v\n%s", err, &output)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("docker-registry does not answer:\n%s", &output)
		}
	}
}

// TestDistribution: the same with a registry that is not a fake, whether it deletes or not.
func TestDistribution(t *testing.T) {
	for _, deleting := range []bool{true, false} {
		t.Run(fmt.Sprintf("deleting %v", deleting), func(t *testing.T) {
			host := distribution(t, deleting)
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
	host := distribution(t, true)
	n := 0
	cachetest.Test(t, func(t *testing.T) cache.Store {
		n++
		ref := fmt.Sprintf("%s/cache:conformance%d", host, n)
		return sent(t, func(t *testing.T) *remote.Store { return opened(t)(remote.Registry(ref, options(t))) })
	})
}

// TestManyTags: lists of tags come in pages, by Distribution with Link, and by the registry in memory cut off without a word.
func TestManyTags(t *testing.T) {
	for name, host := range map[string]string{"distribution": distribution(t, false), "memory": serve(t).host} {
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
