package stagetest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/stagewright/stagewright"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/registry"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/stagetest"
)

// send sends a request without a body and reads the answer. A request that ends early is an error of the returned reader.
func send(t testing.TB, method, url string, header ...string) (*http.Response, []byte, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp, body, err
}

// layerOf is the digest of an image's topmost layer.
func layerOf(t testing.TB, b *stagetest.Built) string {
	t.Helper()
	img, err := b.Image()
	if err != nil {
		t.Fatalf("%v", err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatalf("%v", err)
	}
	d, err := layers[len(layers)-1].Digest()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return d.String()
}

func motd(text string) stage.Stage { return stage.Scratch().File("/motd", text) }

// anonymous reads no credentials of this machine.
func anonymous() registry.Options {
	return registry.Options{Keychain: authn.NewMultiKeychain(), Backoff: time.Millisecond}
}

// What is pushed over the network is there, and what was put in can be pulled over the network.
func TestRegistryBothWays(t *testing.T) {
	reg := stagetest.Registry(t)
	want := reg.Push("base:1", motd("hello\n"))
	if n := len(reg.Requests()); n != 0 {
		t.Errorf("the test's own push is in the log: %v", reg.Requests())
	}
	got, err := registry.NewClient(anonymous()).Resolve(t.Context(), reg.Ref("base:1"), platform.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	stagetest.Check(t, got.Image).WantSame(want.Checks)

	if n := reg.Count("", ""); n == 0 {
		t.Error("a pull over the network is not in the log")
	}
	reg.Forget()
	app := stage.From(reg.Ref("base:1")).File("/app", "x").Cmd("/app")
	stagetest.ImageWith(t, app, stagewright.Options{Sinks: []image.Sink{registry.PushWith(reg.Ref("app:2"), anonymous())}})
	pulled := reg.Pull("app:2").WantCmd("/app").WantLayers(2)
	pulled.File("/motd").WantContent("hello\n")
	if reg.Count("PUT", "/v2/app/manifests/2") != 1 {
		t.Errorf("the log has not the push: %v", reg.Requests())
	}
}

func TestRegistryIndex(t *testing.T) {
	reg := stagetest.Registry(t)
	reg.PushWith("app", stage.ForPlatform(func(p platform.Platform) stage.Stage { return motd(p.Architecture) }),
		stagewright.Options{Platforms: platform.MustParseSet("linux/amd64,linux/arm64")})
	reg.PullFor("app", "linux/arm64").File("/motd").WantContent("arm64")
	reg.PullFor("app", "linux/amd64").File("/motd").WantContent("amd64")
}

// Blobs belong to repositories: one that another repository has is mounted, and when the registry mounts nothing, sent.
func TestRegistryMounts(t *testing.T) {
	for _, test := range []struct {
		name   string
		quirks []stagetest.Quirk
		sent   int
	}{
		{"mounted", nil, 2}, // the config and the new layer
		{"rejected", []stagetest.Quirk{stagetest.RejectMounts()}, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			reg := stagetest.Registry(t)
			base := reg.Push("base:1", motd("hello\n"))
			if resp, _, _ := send(t, "HEAD", "http://"+reg.Host()+"/v2/app/blobs/"+layerOf(t, base)); resp.StatusCode != http.StatusNotFound {
				t.Errorf("a blob of base is in app: %s", resp.Status)
			}
			reg.Set(test.quirks...)
			reg.Forget()
			stagetest.ImageWith(t, stage.From(reg.Ref("base:1")).File("/app", "x"),
				stagewright.Options{Sinks: []image.Sink{registry.PushWith(reg.Ref("app:1"), anonymous())}})
			if sent := reg.Count("PUT", "/blobs/uploads/"); sent != test.sent {
				t.Errorf("%d blobs were sent, want %d: %v", sent, test.sent, reg.Requests())
			}
			reg.Pull("app:1").File("/motd").WantContent("hello\n")
		})
	}
}

func TestRegistryRanges(t *testing.T) {
	reg := stagetest.Registry(t)
	url := "http://" + reg.Host() + "/v2/a/blobs/" + layerOf(t, reg.Push("a", motd(strings.Repeat("hello\n", 100))))
	_, whole, err := send(t, "GET", url)
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string][]byte{"bytes=10-": whole[10:], "bytes=0-9": whole[:10], "bytes=-5": whole[len(whole)-5:]} {
		resp, got, err := send(t, "GET", url, "Range", value)
		if err != nil || resp.StatusCode != http.StatusPartialContent || string(got) != string(want) {
			t.Errorf("%s: %s, %d bytes, %v; want %d", value, resp.Status, len(got), err, len(want))
		}
	}
}

// A truncated answer announces all and ends half-way.
func TestTruncate(t *testing.T) {
	reg := stagetest.Registry(t)
	url := "http://" + reg.Host() + "/v2/a/blobs/" + layerOf(t, reg.Push("a", motd(strings.Repeat("hello\n", 100))))
	reg.Set(stagetest.TruncateEvery(2))
	_, whole, err := send(t, "GET", url)
	if err != nil {
		t.Fatal(err)
	}
	resp, half, err := send(t, "GET", url)
	if !errors.Is(err, io.ErrUnexpectedEOF) || resp.ContentLength != int64(len(whole)) || len(half) != len(whole)/2 {
		t.Errorf("of %d bytes %d were announced and %d came, with %v", len(whole), resp.ContentLength, len(half), err)
	}
	if r := reg.Requests()[1]; r.Sent != int64(len(whole)/2) || r.Quirk != "TruncateEvery" {
		t.Errorf("the log says %v, %d bytes", r, r.Sent)
	}
}

func TestRateLimit(t *testing.T) {
	reg := stagetest.Registry(t, stagetest.RateLimit(2, time.Hour))
	var status []int
	var after string
	for range 3 {
		resp, body, err := send(t, "GET", "http://"+reg.Host()+"/v2/")
		if err != nil {
			t.Fatal(err)
		}
		status = append(status, resp.StatusCode)
		after = resp.Header.Get("Retry-After")
		var e struct{ Errors []struct{ Code string } }
		if resp.StatusCode == 429 && (json.Unmarshal(body, &e) != nil || len(e.Errors) != 1 || e.Errors[0].Code != "TOOMANYREQUESTS") {
			t.Errorf("the answer is %s", body)
		}
	}
	if !slices.Equal(status, []int{200, 200, 429}) || after != "3600" {
		t.Errorf("answers %v, Retry-After %q", status, after)
	}
	reg.Set()
	if resp, _, _ := send(t, "GET", "http://"+reg.Host()+"/v2/"); resp.StatusCode != 200 {
		t.Errorf("after Set: %s", resp.Status)
	}
}

func TestLogin(t *testing.T) {
	reg := stagetest.Registry(t, stagetest.Login("me", "secret"))
	url := "http://" + reg.Host() + "/v2/"
	for want, auth := range map[int]string{401: "Basic bWU6d3Jvbmc=", 200: "Basic bWU6c2VjcmV0"} {
		resp, _, _ := send(t, "GET", url, "Authorization", auth)
		if resp.StatusCode != want {
			t.Errorf("%s: %s", auth, resp.Status)
		}
	}
	reg.Push("a", motd("x")) // the test itself needs none
	reg.Pull("a")
}

// Who waits for a slow registry does not wait for the end of the test, nor the test for it.
func TestSlowEndsWithTheTest(t *testing.T) {
	var wg sync.WaitGroup
	try(func(t testing.TB) {
		reg := stagetest.Registry(t, stagetest.Slow(time.Hour))
		wg.Go(func() {
			resp, err := http.Get("http://" + reg.Host() + "/v2/")
			if err == nil {
				resp.Body.Close()
			}
		})
		for len(reg.Requests()) == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	wg.Wait()
}

// Referrers are found, and whoever pushes one is told so; a registry of before has neither.
func TestReferrers(t *testing.T) {
	reg := stagetest.Registry(t)
	subject := reg.Push("app:1", motd("x"))
	digest, err := subject.Digest()
	if err != nil {
		t.Fatal(err)
	}
	put := func() *http.Response {
		manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/spdx+json",
			"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},
			"layers":[],"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}}`, digest)
		req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+reg.Host()+"/v2/app/manifests/sbom", strings.NewReader(manifest))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	if resp := put(); resp.StatusCode != 201 || resp.Header.Get("OCI-Subject") != digest {
		t.Errorf("pushed: %s, OCI-Subject %q", resp.Status, resp.Header.Get("OCI-Subject"))
	}
	_, body, _ := send(t, "GET", "http://"+reg.Host()+"/v2/app/referrers/"+digest)
	index, err := v1.ParseIndexManifest(strings.NewReader(string(body)))
	if err != nil || len(index.Manifests) != 1 || index.Manifests[0].ArtifactType != "application/spdx+json" {
		t.Errorf("the referrers are %s, %v", body, err)
	}
	reg.Set(stagetest.NoReferrers())
	if resp := put(); resp.StatusCode != 201 || resp.Header.Get("OCI-Subject") != "" {
		t.Errorf("pushed to an old registry: %s, OCI-Subject %q", resp.Status, resp.Header.Get("OCI-Subject"))
	}
}

func TestPullFails(t *testing.T) {
	told := try(func(t testing.TB) { stagetest.Registry(t).Pull("app:1") }).String()
	if !strings.Contains(told, "HOST/app:1") || !strings.Contains(told, "no such image") {
		t.Errorf("the test is told\n%s", told)
	}
}

// Tests in parallel use one registry, each for its own.
func TestRegistryInParallel(t *testing.T) {
	reg := stagetest.Registry(t)
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("app%d:1", i)
			reg.In(t).Push(name, motd(name))
			got, err := registry.NewClient(anonymous()).Resolve(t.Context(), reg.Ref(name), platform.Platform{})
			if err != nil {
				t.Fatal(err)
			}
			stagetest.Check(t, got.Image).File("/motd").WantContent(name)
		})
	}
}

// skopeo pulls, pushes and lists.
func TestSkopeo(t *testing.T) {
	skopeo, err := exec.LookPath("skopeo")
	if err != nil {
		t.Skip("skopeo is not installed (Debian: apt-get install skopeo)")
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), skopeo, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("skopeo %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	reg := stagetest.Registry(t)
	built := reg.Push("app:1", motd("hello\n"))
	dir := filepath.Join(t.TempDir(), "oci")
	run("copy", "--src-tls-verify=false", "docker://"+reg.Ref("app:1"), "oci:"+dir+":app")
	run("copy", "--dest-tls-verify=false", "oci:"+dir+":app", "docker://"+reg.Ref("other/app:2"))
	reg.Pull("other/app:2").WantSame(built.Checks)
	if tags := run("list-tags", "--tls-verify=false", "docker://"+reg.Ref("other/app")); !strings.Contains(tags, `"2"`) {
		t.Errorf("the tags are %s", tags)
	}
}

// Our own client gets through a registry that fails now and then: what it does about it is counted.
func TestFailEvery(t *testing.T) {
	reg := stagetest.Registry(t)
	reg.Push("app:1", motd("hello\n"))
	reg.Set(stagetest.FailEvery(2))
	o := anonymous()
	if _, err := registry.NewClient(o).Resolve(t.Context(), reg.Ref("app:1"), platform.Platform{}); err != nil {
		t.Errorf("%v: %v", err, reg.Requests())
	}
	failed := slices.ContainsFunc(reg.Requests(), func(r stagetest.Request) bool { return r.Status == 503 && r.Quirk == "FailEvery" })
	if !failed {
		t.Errorf("nothing failed: %v", reg.Requests())
	}
}
