package cache_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// childEnv turns this test binary into a process that uses the store in the
// directory named by it.
const (
	childEnv = "CACHE_TEST_CHILD"
	childDir = "CACHE_TEST_DIR"
)

func TestMain(m *testing.M) {
	switch role := os.Getenv(childEnv); role {
	case "":
		os.Exit(m.Run())
	case "write":
		childWrite(os.Getenv(childDir))
	case "lease":
		childLease(os.Getenv(childDir))
	case "locks":
		childLocks(os.Getenv(childDir))
	case "collect":
		childCollect(os.Getenv(childDir))
	case "hold lock":
		childHoldsLock(os.Getenv(childDir))
	}
}

// background is the context of a child, which has no test.
var background = context.Background()

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return v
}

// crashBlob is what blob i of the writing child contains.
func crashBlob(i int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "blob %d\n", i), 1+i%3*20_000)
}

// childWrite stores blobs and records that name them until it is killed, and
// says after each record that it is there.
func childWrite(dir string) {
	ctx := background
	s := must(cache.OpenDisk(dir, cache.DiskOptions{}))
	var wg sync.WaitGroup
	var out sync.Mutex
	for w := range 2 {
		wg.Go(func() {
			for i := w; ; i += 2 {
				w := must(s.Create(ctx))
				for chunk := range slices.Chunk(crashBlob(i), 4096) {
					must(w.Write(chunk))
				}
				d := must(w.Commit(ctx, cache.Digest{}))
				must(0, s.Put(ctx, testKey(i), d[:]))
				out.Lock()
				must(fmt.Println(i))
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

func childLease(dir string) {
	s := must(cache.OpenDisk(dir, cache.DiskOptions{}))
	must(s.Lease(background))
	must(s.Create(background))
	holdUntilKilled()
}

// holdUntilKilled says that what is to be held is held.
func holdUntilKilled() {
	fmt.Println("held")
	io.Copy(io.Discard, os.Stdin)
}

func child(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+role, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// A process is killed in the middle of writing, many times over: everything
// that it said was there is there, everything that is there is whole, and what
// it left behind goes with the next writer.
func TestKilledWriter(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	dir := filepath.Join(t.TempDir(), "cache")
	last := -1
	for range rounds {
		for _, i := range writeAndKill(t, dir) {
			last = max(last, i)
			checkCrashRecord(t, openDisk(t, dir), i, true)
		}
	}
	s := openDisk(t, dir)
	for i := range last + 100 {
		checkCrashRecord(t, s, i, false)
	}
	checkAllBlobs(t, dir)

	if err := s.Put(t.Context(), testKey(0), nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	wantEmpty(t, filepath.Join(dir, "tmp"))
}

// writeAndKill returns the records that the child had announced.
func writeAndKill(t *testing.T, dir string) (announced []int) {
	t.Helper()
	cmd := child(t, "write", dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// Somewhere after a record, not always at once: how far the child gets
	// meanwhile is chance, which is what is wanted here.
	stop := rand.IntN(20)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		i, err := strconv.Atoi(lines.Text())
		if err != nil {
			break // cut off by the kill
		}
		announced = append(announced, i)
		if len(announced) == stop+1 {
			for range rand.IntN(20_000) {
				rand.Int()
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := cmd.Wait(); err == nil || len(announced) <= stop {
		t.Fatalf("the child ended by itself after %d records: %v", len(announced), err)
	}
	return announced
}

func checkCrashRecord(t *testing.T, s cache.Store, i int, promised bool) {
	t.Helper()
	record, err := s.Get(t.Context(), testKey(i))
	if isError(err, cache.ErrNotFound) && !promised {
		return
	}
	if err != nil {
		t.Fatalf("record %d: %v", i, err)
	}
	if len(record) != len(cache.Digest{}) {
		t.Fatalf("record %d has %d bytes", i, len(record))
	}
	data, err := cache.ReadBlob(t.Context(), s, cache.Digest(record), 1<<20)
	if err != nil || !bytes.Equal(data, crashBlob(i)) {
		t.Fatalf("blob of record %d: %d bytes, %v", i, len(data), err)
	}
}

// checkAllBlobs reads every file below blobs by its name.
func checkAllBlobs(t *testing.T, dir string) {
	t.Helper()
	s := openDisk(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*", "*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no blobs: %v", err)
	}
	for _, f := range files {
		d, err := cache.ParseDigest("sha256:" + filepath.Base(f))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cache.ReadBlob(t.Context(), s, d, 1<<20); err != nil {
			t.Error(err)
		}
	}
}

// Several processes write the same records and blobs at the same time.
func TestManyProcesses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]bool{}
	for range 3 {
		wg.Go(func() {
			for _, i := range writeAndKill(t, dir) {
				mu.Lock()
				seen[i] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i := range seen {
		checkCrashRecord(t, openDisk(t, dir), i, true)
	}
	checkAllBlobs(t, dir)
}

// Leases and temporary files of a living process stay; those of a dead one go.
func TestLeaseEndsWithProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	openDisk(t, dir)
	cmd := child(t, "lease", dir)
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	count := func(sub string) int {
		// Each writer sweeps before its first file.
		s := openDisk(t, dir)
		if err := s.Put(t.Context(), testKey(1), nil); err != nil {
			t.Fatal(err)
		}
		s.Close()
		entries, err := os.ReadDir(filepath.Join(dir, sub))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if l, n := count("leases"), count("tmp"); l != 1 || n != 1 {
		t.Errorf("while the process lives: %d leases and %d sessions, want 1 and 1", l, n)
	}
	cmd.Process.Kill()
	cmd.Wait()
	if l, n := count("leases"), count("tmp"); l != 0 || n != 0 {
		t.Errorf("after its death: %d leases and %d sessions, want none", l, n)
	}
}
