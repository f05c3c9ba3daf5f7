package local_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// manySteps is a graph of many small steps: stages of ten, gathered by one, of which the first reads a file of dir.
func manySteps(dir string, stages int) stage.Stage {
	all := stage.Scratch()
	for i := range stages {
		s := stage.Scratch().Mkdir("/out").Workdir("/out/dir").Symlink("f0", "/out/link")
		for j := range 5 {
			s = s.File(fmt.Sprintf("/out/f%d", j), fmt.Sprintf("stage %d, file %d\n", i, j))
		}
		if i == 0 {
			s = s.CopyFrom(stage.Dir(dir), "file", "/out/")
		}
		all = all.CopyFrom(s.Remove("/out/f4"), "/out", fmt.Sprintf("/all/%d/", i))
	}
	return all.Squash()
}

func countStatus(r stage.Result) map[stage.Status]int {
	count := map[stage.Status]int{}
	for _, step := range r.Report().Steps {
		count[step.Status]++
	}
	return count
}

func filesBelow(t *testing.T, dir string) (names int, distinct int) {
	t.Helper()
	var infos []fs.FileInfo
	err := filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		names++
		for _, other := range infos {
			if os.SameFile(other, info) {
				return nil
			}
		}
		infos = append(infos, info)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, len(infos)
}

// Many small steps cost few files and no blob but the layer, and an edit does again what stands on it.
func TestManySmallSteps(t *testing.T) {
	const stages = 20
	dir, store := t.TempDir(), t.TempDir()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	e := executor(t, store, local.Options{})
	steps := stages*10 + 1
	first := build(t, e, manySteps(dir, stages), stage.Request{})
	alike := 3 * (stages - 1) // each stage begins with the same steps
	if got := countStatus(first); got[stage.Ran] != steps-alike || got[stage.Hit] != alike {
		t.Errorf("cold: %v, want %d done and %d found in this build", got, steps-alike, alike)
	}
	if _, blobs := filesBelow(t, filepath.Join(store, "blobs")); blobs != 1 {
		t.Errorf("%d blobs, want the layer alone", blobs)
	}
	if names, files := filesBelow(t, filepath.Join(store, "records")); names < steps-alike || files > 20+stages {
		t.Errorf("%d records in %d files", names, files)
	}
	if got := countStatus(build(t, executor(t, store, local.Options{}), manySteps(dir, stages), stage.Request{})); got[stage.Hit] != steps || len(got) != 1 {
		t.Errorf("unchanged: %v, want %d hits", got, steps)
	}
	write("second")
	edited := build(t, executor(t, store, local.Options{}), manySteps(dir, stages), stage.Request{})
	if got := countStatus(edited); got[stage.Ran] != 2+stages || got[stage.Hit] != steps-2-stages {
		t.Errorf("edit: %v, want the copy, what is above it in its stage, and %d copies", got, stages)
	}
	alone := build(t, executor(t, t.TempDir(), local.Options{}), manySteps(dir, stages), stage.Request{})
	got, err := edited.Outputs()[0].Image.Digest()
	want, wantErr := alone.Outputs()[0].Image.Digest()
	if got != want || err != nil || wantErr != nil {
		t.Errorf("after an edit %v, %v; in an empty cache %v, %v", got, err, want, wantErr)
	}
	files, err := edited.Files(edited.Outputs()[0].Target.Step)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"all/0/file": "second", "all/7/f3": "stage 7, file 3\n"} {
		if data, err := fs.ReadFile(files, name); string(data) != text {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// gets counts the records that are looked for.
type gets struct {
	*cache.Disk
	n atomic.Int64
}

func (g *gets) Get(ctx context.Context, key cache.Key) ([]byte, error) {
	g.n.Add(1)
	return g.Disk.Get(ctx, key)
}

// After an edit the cache is asked for the steps that the edit can have changed and for the last step of each other stage, however long
// that is, and a record that is lost below one that is there is no step that was not done. A plan says the same.
func TestManySmallStepsAreLookedForFromAbove(t *testing.T) {
	const stages, length = 30, 20
	dir := t.TempDir()
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all := stage.Scratch()
	for i := range stages {
		s := stage.Scratch()
		if i == 0 {
			s = s.CopyFrom(stage.Dir(dir), "file", "/")
		}
		for j := range length {
			s = s.File(fmt.Sprintf("/f%d", j), fmt.Sprint(i, j))
		}
		all = all.CopyFrom(s, "/", fmt.Sprintf("/%d/", i))
	}
	disk, err := cache.OpenDisk(t.TempDir(), cache.DiskOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	store := &gets{Disk: disk}
	e, err := local.New(local.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	run := func() (status map[stage.Status]int, asked int64) {
		t.Helper()
		before := store.n.Load()
		res := build(t, e, all, stage.Request{})
		defer res.Close()
		return countStatus(res), store.n.Load() - before
	}
	write("first")
	run()
	write("second")
	const edited = 1 + length + stages
	plan, err := e.Plan(t.Context(), compile(t, all), stage.Request{})
	if err != nil {
		t.Fatal(err)
	}
	planned := map[stage.Status]int{}
	for _, p := range plan {
		if reported := p.Step.Parent >= 0; reported {
			planned[p.Status]++
		}
	}
	status, asked := run()
	if status[stage.Ran] != edited || planned[stage.Ran] != edited {
		t.Errorf("%v, planned %v, want %d done", status, planned, edited)
	}
	if most := int64(edited + stages + 40); asked > most {
		t.Errorf("%d records were asked for, want at most %d", asked, most)
	}
}

// What the cache has of small steps is what doing each by itself gives, and is explained as a build does it.
func TestManySmallStepsVerifiedAndExplained(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	e := executor(t, t.TempDir(), local.Options{})
	target := manySteps(dir, 3)
	build(t, e, target, stage.Request{})
	v, err := e.Verify(t.Context(), compile(t, target), stage.Request{})
	if err != nil || v.Steps != 31 || len(v.Mismatches) != 0 || len(v.Missing) != 0 {
		t.Errorf("%+v, %v; want 31 steps alike", v, err)
	}
	target = target.File("/more", "x")
	list, err := e.Explain(t.Context(), compile(t, target), stage.Request{})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if again := strings.Contains(x.Step.Text, "/more"); (x.Status == stage.Hit) == again {
			t.Errorf("%s: %v (%v)", x.Step.Text, x.Status, x.Cause)
		}
	}
}

// A build that fails keeps what it did, and tells of the step that failed.
func TestManySmallStepsKeptByAFailure(t *testing.T) {
	e := executor(t, t.TempDir(), local.Options{})
	good := stage.Scratch().File("/a", "1").File("/b", "2")
	bad := good.Remove("/nowhere")
	_, err := e.Execute(t.Context(), compile(t, bad), stage.Request{})
	if failed, ok := errors.AsType[*stage.Error](err); !ok || !strings.Contains(failed.Error(), "nowhere") {
		t.Fatalf("%v, want the failure of the removal", err)
	}
	if got := countStatus(build(t, e, good, stage.Request{})); got[stage.Hit] != 2 || len(got) != 1 {
		t.Errorf("%v, want two hits", got)
	}
}

// roomStore takes no more records after some.
type roomStore struct {
	cache.Store
	mu   sync.Mutex
	left int
}

var errNoRoom = errors.New("no space left")

func (s *roomStore) Put(ctx context.Context, key cache.Key, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left--; s.left < 0 {
		return errNoRoom
	}
	return s.Store.Put(ctx, key, data)
}

// A cache that takes no records fails the build, whenever it finds out, and no build waits for ever.
func TestManySmallStepsInAFullCache(t *testing.T) {
	for _, left := range []int{0, 100, 900, 1030} {
		e, err := local.New(local.Options{Store: &roomStore{Store: cache.NewMemory(), left: left}})
		if err != nil {
			t.Fatal(err)
		}
		s := stage.Scratch()
		for i := range 1031 {
			s = s.File(fmt.Sprint("/", i), "")
		}
		if _, err := e.Execute(t.Context(), compile(t, s), stage.Request{}); !errors.Is(err, errNoRoom) {
			t.Errorf("room for %d: %v, want %v", left, err, errNoRoom)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A panic of Request.Progress comes out of Execute, whichever goroutine does the step that it is about.
func TestManySmallStepsAndAPanic(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const stages = 80
	for _, at := range []string{"stage 3,", fmt.Sprintf("stage %d,", stages-3)} {
		t.Run(at, func(t *testing.T) {
			e := executor(t, t.TempDir(), local.Options{})
			defer func() {
				if v := recover(); !strings.Contains(fmt.Sprint(v), "enough") {
					t.Errorf("%v came out of Execute", v)
				}
			}()
			g := compile(t, manySteps(dir, stages))
			_, err := e.Execute(t.Context(), g, stage.Request{Progress: func(ev stage.Event) {
				started, ok := ev.(stage.StepStarted)
				if !ok {
					return
				}
				if file, ok := started.Step.Op.(*stage.FileOp); ok && strings.HasPrefix(string(file.Content), at) {
					panic("enough")
				}
			}})
			t.Errorf("it ended with %v", err)
		})
	}
}

// heldStore does not put records before it may, and counts those that are under way.
type heldStore struct {
	cache.Store
	held chan struct{}
	puts atomic.Int64
}

func (s *heldStore) Put(ctx context.Context, key cache.Key, data []byte) error {
	s.puts.Add(1)
	defer s.puts.Add(-1)
	<-s.held
	for range 1000 {
		runtime.Gosched()
	}
	return s.Store.Put(ctx, key, data)
}

// Nothing is written to the cache any more when a panic comes out of Execute: who recovers may close it, or remove it.
func TestNoRecordAfterAPanic(t *testing.T) {
	store := &heldStore{Store: cache.NewMemory(), held: make(chan struct{})}
	e, err := local.New(local.Options{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s := stage.Scratch()
	for i := range 100 {
		s = s.File(fmt.Sprint("/", i), "")
	}
	defer func() {
		if v := recover(); !strings.Contains(fmt.Sprint(v), "enough") || store.puts.Load() != 0 {
			t.Errorf("%v came out of Execute, while %d records were being put", v, store.puts.Load())
		}
	}()
	started := 0
	_, err = e.Execute(t.Context(), compile(t, s), stage.Request{Progress: func(ev stage.Event) {
		if _, ok := ev.(stage.StepStarted); !ok {
			return
		}
		if started++; started == 90 { // 64 are written together
			close(store.held)
			panic("enough")
		}
	}})
	t.Errorf("it ended with %v", err)
}

// Builds side by side that share steps agree, and each reports each step once.
func TestManySmallStepsSideBySide(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	e := executor(t, t.TempDir(), local.Options{})
	g, err := stage.Compile(t.Context(), []stage.Stage{manySteps(dir, 60), manySteps(dir, 61)}, stage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	digests := make([]string, 6)
	var wg sync.WaitGroup
	for i := range digests {
		wg.Go(func() {
			res, err := e.Execute(t.Context(), g, stage.Request{})
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Close()
			for _, out := range res.Outputs() {
				digest, err := out.Image.Digest()
				if err != nil {
					t.Error(err)
				}
				digests[i] += digest.String()
			}
		})
	}
	wg.Wait()
	for _, d := range digests[1:] {
		if d != digests[0] {
			t.Errorf("digests %v", digests)
		}
	}
}
