package local_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// far is a store on another machine, which tells what it is asked.
type far struct {
	mu    sync.Mutex
	mem   *cache.Memory
	calls map[string]int          // by kind: "get", "open", "put", "create"
	read  map[cache.Digest]int64  // bytes of each blob
	keys  map[cache.Key]bool      // that were put
	blobs map[cache.Digest]bool   // that were committed
	fail  func(call string) error // instead of an answer
}

func newFar() *far {
	return &far{mem: cache.NewMemory(), calls: map[string]int{}, read: map[cache.Digest]int64{}, keys: map[cache.Key]bool{}, blobs: map[cache.Digest]bool{}}
}

func (f *far) String() string { return "cache far away" }

func (f *far) call(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[name]++
	if f.fail != nil {
		return f.fail(name)
	}
	return nil
}

// take returns what was asked since the last time.
func (f *far) take() (calls map[string]int, read map[cache.Digest]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls, read = maps.Clone(f.calls), maps.Clone(f.read)
	clear(f.calls)
	clear(f.read)
	return calls, read
}

func (f *far) Get(ctx context.Context, k cache.Key) ([]byte, error) {
	if err := f.call("get"); err != nil {
		return nil, err
	}
	return f.mem.Get(ctx, k)
}

func (f *far) Put(ctx context.Context, k cache.Key, data []byte) error {
	if err := f.call("put"); err != nil {
		return err
	}
	f.mu.Lock()
	f.keys[k] = true
	f.mu.Unlock()
	return f.mem.Put(ctx, k, data)
}

func (f *far) Open(ctx context.Context, d cache.Digest) (cache.Blob, error) {
	if err := f.call("open"); err != nil {
		return nil, err
	}
	b, err := f.mem.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	return &farBlob{b, f, d}, nil
}

func (f *far) Create(ctx context.Context) (cache.Writer, error) {
	if err := f.call("create"); err != nil {
		return nil, err
	}
	w, err := f.mem.Create(ctx)
	return &farWriter{w, f}, err
}

type farWriter struct {
	cache.Writer
	far *far
}

func (w *farWriter) Commit(ctx context.Context, want cache.Digest) (cache.Digest, error) {
	d, err := w.Writer.Commit(ctx, want)
	w.far.mu.Lock()
	defer w.far.mu.Unlock()
	if err == nil {
		w.far.blobs[d] = true
	}
	return d, err
}

type farBlob struct {
	cache.Blob
	far    *far
	digest cache.Digest
}

func (b *farBlob) ReadAt(p []byte, off int64) (int, error) {
	if err := b.far.call("read"); err != nil {
		return 0, err
	}
	n, err := b.Blob.ReadAt(p, off)
	b.far.mu.Lock()
	b.far.read[b.digest] += int64(n)
	b.far.mu.Unlock()
	return n, err
}

// export exports a result and checks what it says about that.
func export(tb testing.TB, res stage.Result, to cache.Store, o local.ExportOptions) image.Delivery {
	tb.Helper()
	d, err := local.ExportCache(tb.Context(), res, to, o)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// project is a build with a stage that only another one needs, and steps of each kind that has bytes of its own. Steps take their text from marks.
func project(tb testing.TB, mark string) (stage.Stage, stage.Request) {
	base := shell(tb)
	compiler := base.Run("mkdir /lib && head -c 300000 /dev/zero > /lib/big && echo tool > /lib/tool && chmod 755 /lib/tool && ln /lib/tool /lib/twin && ln -s tool /lib/link")
	builder := stage.From(compiler, stage.As("builder")).Copy("src", "/src/").Run("cat /lib/tool /src/* > /program", stage.Capture()).
		Func("write", "1", func(_ context.Context, _ fs.FS, out stage.Writer) error {
			return out.WriteFile("/generated", 0o644, strings.NewReader("generated\n"))
		})
	app := stage.From(base, stage.As("app")).Run("echo installed > /installed; rm /bin/true").
		Copy("config", "/config").CopyFrom(builder, "/program", "/program").CopyFrom(builder, "/generated", "/").File("/mark", mark)
	return app, stage.Request{Context: stage.FS(fstest.MapFS{
		"src/a": {Data: []byte("a\n")}, "src/b": {Data: []byte("b\n")}, "config": {Data: []byte("config\n")},
	})}
}

// TestExport: another machine, without anything but what was exported, has the same image, runs nothing and downloads no layer; the second time
// it asks for nothing.
func TestExport(t *testing.T) {
	remote := newFar()
	target, request := project(t, "one")
	here := executor(t, t.TempDir(), local.Options{})
	first := build(t, here, target, request)
	sent := export(t, first, remote, local.ExportOptions{Mode: local.CacheMax})
	if sent.Sink != "cache far away" || sent.Blobs < 8 || sent.Bytes == 0 {
		t.Errorf("sent %+v", sent)
	}
	remote.take()
	again := export(t, build(t, here, target, request), remote, local.ExportOptions{Mode: local.CacheMax})
	if calls, read := remote.take(); calls["put"]+calls["create"] > 0 || len(read) > 0 || again.How != "there already" || again.Blobs != 0 {
		t.Errorf("an export of what is there did %v and read %d blobs: %+v", calls, len(read), again)
	}

	dir := t.TempDir()
	there := executor(t, dir, local.Options{From: []cache.Store{remote}})
	second := build(t, there, target, request)
	if got, want := digest(t, second), digest(t, first); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if n := second.Report().Ran(); n != 0 {
		t.Errorf("%d steps ran: %+v", n, second.Report().Steps)
	}
	if _, read := remote.take(); len(read) > 0 {
		t.Errorf("%d blobs were downloaded", len(read))
	}
	third := build(t, there, target, request)
	if calls, _ := remote.take(); len(calls) > 0 || digest(t, third) != digest(t, first) {
		t.Errorf("a second build asked %v", calls)
	}
	if again := export(t, third, remote, local.ExportOptions{Mode: local.CacheMax}); again.How != "there already" {
		t.Errorf("an export of what was imported sent something: %+v", again)
	}
	if _, read := remote.take(); len(read) > 0 {
		t.Errorf("an export of what was imported read %d blobs", len(read))
	}
	for name, want := range map[string]string{"program": "tool\na\nb\n", "generated": "generated\n", "installed": "installed\n"} {
		if got := read(t, third, name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// TestExportChanged: of a build with a change, what is below the change is downloaded and nothing else; the result is as if
// nothing had come from elsewhere.
func TestExportChanged(t *testing.T) {
	remote := newFar()
	target, request := project(t, "one")
	export(t, build(t, executor(t, t.TempDir(), local.Options{}), target, request), remote, local.ExportOptions{Mode: local.CacheMax})
	other, _ := project(t, "two")
	for _, test := range []struct {
		name    string
		target  stage.Stage
		request stage.Request
		ran     string
		layers  int
	}{
		{"last step", other, request, "FILE", 0},
		{"source of an early stage", target, changedSource(), "COPY RUN FUNC COPY COPY FILE", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			want := build(t, executor(t, t.TempDir(), local.Options{}), test.target, test.request)
			remote.take()
			got := build(t, executor(t, t.TempDir(), local.Options{From: []cache.Store{remote}}), test.target, test.request)
			if digest(t, got) != digest(t, want) {
				t.Errorf("digest %s, want %s", digest(t, got), digest(t, want))
			}
			var ran []string
			for _, step := range got.Report().Steps {
				if step.Status == stage.Ran {
					ran = append(ran, strings.Fields(step.Text)[0])
				}
			}
			if got := strings.Join(ran, " "); got != test.ran {
				t.Errorf("ran %s, want %s", got, test.ran)
			}
			layers := 0
			_, downloaded := remote.take()
			for d := range downloaded {
				if remote.isLayer(t, d) {
					layers++
				}
			}
			if layers != test.layers {
				t.Errorf("%d layers were downloaded, want %d", layers, test.layers)
			}
			if got, want := read(t, got, "program"), read(t, want, "program"); got != want {
				t.Errorf("program: %q, want %q", got, want)
			}
		})
	}
}

func changedSource() stage.Request {
	return stage.Request{Context: stage.FS(fstest.MapFS{
		"src/a": {Data: []byte("a\n")}, "src/b": {Data: []byte("changed\n")}, "config": {Data: []byte("config\n")},
	})}
}

// isLayer tells layers from the lists of changes.
func (f *far) isLayer(t *testing.T, d cache.Digest) bool {
	data, err := cache.ReadBlob(t.Context(), f.mem, d, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return len(data) > 2 && data[0] == 0x1f && data[1] == 0x8b
}

// TestExportModes: the least is what the image's own stage has; and what is exported depends on the build alone.
func TestExportModes(t *testing.T) {
	target, request := project(t, "one")
	all := map[local.CacheMode][]string{}
	for range 2 {
		e := executor(t, t.TempDir(), local.Options{})
		res := build(t, e, target, request)
		for _, mode := range []local.CacheMode{local.CacheMin, local.CacheMax} {
			to := newFar()
			export(t, res, to, local.ExportOptions{Mode: mode})
			list := to.contents(t)
			if before := all[mode]; before != nil {
				if diff := cmp.Diff(before, list); diff != "" {
					t.Errorf("%s of two machines (-one +other):\n%s", mode, diff)
				}
			}
			all[mode] = list
		}
	}
	if few, many := len(all[local.CacheMin]), len(all[local.CacheMax]); few >= many {
		t.Errorf("min has %d records, max %d", few, many)
	}

	to := newFar()
	export(t, build(t, executor(t, t.TempDir(), local.Options{}), target, request), to, local.ExportOptions{})
	e := executor(t, t.TempDir(), local.Options{From: []cache.Store{to}})
	if n := build(t, e, target, request).Report().Ran(); n != 0 {
		t.Errorf("with the least of an export %d steps ran", n)
	}
	other, _ := project(t, "two")
	e = executor(t, t.TempDir(), local.Options{From: []cache.Store{to}})
	for _, step := range build(t, e, other, request).Report().Steps {
		if strings.Contains(step.Text, "installed") && step.Status != stage.Hit {
			t.Errorf("%s: %s", step.Text, step.Status)
		}
	}
	if _, err := local.ExportCache(t.Context(), nil, to, local.ExportOptions{}); !errors.Is(err, stage.ErrUnsupported) {
		t.Errorf("of no result: %v", err)
	}
	if err := (local.ExportOptions{Mode: "most"}).Validate(); err == nil || !strings.Contains(err.Error(), `"most"; want "min" or "max"`) {
		t.Errorf("a mode that there is not: %v", err)
	}
}

// contents lists the records, without the times at which steps ran.
func (f *far) contents(t *testing.T) (list []string) {
	for key := range f.keys {
		data, err := f.mem.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, key.Hex()+" "+ranAt.ReplaceAllString(string(data), ""))
	}
	slices.Sort(list)
	return list
}

var ranAt = regexp.MustCompile(`"ran":[0-9]+,`)

// TestExportGroup: what has no layer of its own in the image costs nothing in the least of an export.
func TestExportGroup(t *testing.T) {
	base := shell(t)
	target := base.Layer(func(s stage.Stage) stage.Stage { return s.Run("echo a > /a").Run("echo b > /b; rm /a") }).Run("echo c > /c")
	to := newFar()
	first := build(t, executor(t, t.TempDir(), local.Options{}), target, stage.Request{})
	sent := export(t, first, to, local.ExportOptions{})
	layers, err := first.Outputs()[0].Image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for d := range to.blobs {
		if to.isLayer(t, d) {
			n++
		}
	}
	if n != len(layers) {
		t.Errorf("%d layers were exported, the image has %d: %+v", n, len(layers), sent)
	}
	second := build(t, executor(t, t.TempDir(), local.Options{From: []cache.Store{to}}), target, stage.Request{})
	if digest(t, first) != digest(t, second) || second.Report().Ran() != 0 {
		t.Errorf("%s after %s, %d ran", digest(t, second), digest(t, first), second.Report().Ran())
	}
}
