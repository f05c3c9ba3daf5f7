package cache_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/cache"
)

// du is what the program du says of a directory, in bytes.
func du(t *testing.T, dir string) int64 {
	t.Helper()
	out, err := exec.Command("du", "-s", "-B512", dir).Output()
	if err != nil {
		t.Skipf("du: %v", err)
	}
	n, err := strconv.ParseInt(strings.Fields(string(out))[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n * 512
}

func TestUsageIsWhatTheDiskSays(t *testing.T) {
	dir := t.TempDir()
	s := openDisk(t, dir)
	for i := range 300 {
		if err := s.Put(t.Context(), testKey(i), make([]byte, i*100)); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{0, 1, 4096, 4097, 1 << 20, 3<<20 + 5} {
		if _, err := cache.PutBlob(t.Context(), s, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	// What others keep there: names of one file, a file with a hole, directories.
	private, _ := cache.Dir(s)
	deep := filepath.Join(private, "area", "deep")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name string, size int) {
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		write(filepath.Join(deep, fmt.Sprint(i)), 100_000)
		if err := os.Link(filepath.Join(deep, fmt.Sprint(i)), filepath.Join(deep, fmt.Sprint(i, "again"))); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(deep, "hole"), 0)
	if err := os.Truncate(filepath.Join(deep, "hole"), 1<<30); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(dir, "records", "stranger"), 50_000)
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256", "ab", "stranger"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(dir, "blobs", "sha256", "ab", "stranger", "file"), 50_000)

	u, err := s.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := du(t, dir)
	if d := u.Total - want; d > want/100 || -d > want/100 {
		t.Errorf("total %d, du says %d", u.Total, want)
	}
	sum := u.Other
	for _, k := range u.Kinds {
		sum += k.Bytes
	}
	if sum != u.Total {
		t.Errorf("the parts make %d, the total is %d", sum, u.Total)
	}
	if r := u.Kinds[0]; r.Kind != cache.KindRecord || r.Entries != 300 {
		t.Errorf("records: %+v, want 300", r)
	}
	if b := u.Kinds[1]; b.Kind != cache.KindBlob || b.Entries != 6 {
		t.Errorf("blobs: %+v, want 6", b)
	}
	// What the journal says is the same.
	c, err := s.Collect(t.Context(), cache.Policy{MaxBytes: 1 << 60})
	if err != nil || c.Kept != u.Kinds[0].Bytes+u.Kinds[1].Bytes {
		t.Errorf("kept %d, %v; want %d", c.Kept, err, u.Kinds[0].Bytes+u.Kinds[1].Bytes)
	}
}
