package source

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rewriting is a directory whose files have one size and one time of modification, whatever is done to them: only what no program can
// set tells their states apart.
type rewriting struct {
	*testing.T
	rand  *rand.Rand
	dir   string
	names []string
	stamp time.Time
	count int
}

const rewriteSize = 5000 // more than a page

// fresh is content that no file had.
func (w *rewriting) fresh() []byte {
	w.count++
	return bytes.Repeat(fmt.Appendf(nil, "%9d\n", w.count), rewriteSize/10)
}

func (w *rewriting) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *rewriting) restore(p string) { w.must(os.Chtimes(p, w.stamp, w.stamp)) }

func (w *rewriting) create(p string) {
	w.must(os.WriteFile(p, w.fresh(), 0o644))
	w.restore(p)
}

// open calls do with a file open for reading and writing, and restores its time.
func (w *rewriting) open(p string, do func(fd int)) {
	f, err := os.OpenFile(p, os.O_RDWR, 0)
	w.must(err)
	do(int(f.Fd()))
	w.must(f.Close())
	w.restore(p)
}

// rewrites are the ways to change what is in p, or in p and q, that leave names, sizes and times of modification as they are.
var rewrites = map[string]func(w *rewriting, p, q string){
	"written over": func(w *rewriting, p, _ string) {
		w.open(p, func(fd int) { _, err := unix.Pwrite(fd, w.fresh()[:3], 100); w.must(err) })
	},
	"cut and written": func(w *rewriting, p, _ string) { w.create(p) },
	"written and nothing restored": func(w *rewriting, p, _ string) {
		w.must(os.WriteFile(p, w.fresh(), 0o644))
	},
	"removed and made": func(w *rewriting, p, _ string) { // often with the inode that is free now
		w.must(os.Remove(p))
		w.create(p)
	},
	"replaced by a rename": func(w *rewriting, p, _ string) {
		next := filepath.Join(w.dir, ".next")
		w.create(next)
		w.must(os.Rename(next, p))
	},
	"exchanged": func(w *rewriting, p, q string) {
		w.must(unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE))
	},
	"exchanged and written": func(w *rewriting, p, q string) {
		w.must(unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE))
		w.create(p)
	},
	"linked in the place of another": func(w *rewriting, p, q string) {
		w.must(os.Remove(p))
		w.must(os.Link(q, p))
	},
	"written through another link": func(w *rewriting, p, _ string) {
		other := filepath.Join(w.beside(), "other")
		w.must(os.Link(p, other))
		w.open(other, func(fd int) { _, err := unix.Pwrite(fd, w.fresh(), 0); w.must(err) })
		w.must(os.Remove(other))
	},
	"written through a map": func(w *rewriting, p, _ string) {
		w.open(p, func(fd int) {
			m, err := unix.Mmap(fd, 0, rewriteSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			w.must(err)
			copy(m, w.fresh())
			w.must(errors.Join(unix.Msync(m, unix.MS_SYNC), unix.Munmap(m)))
		})
	},
	"given a hole": func(w *rewriting, p, _ string) {
		w.open(p, func(fd int) {
			if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(w.rand.IntN(4000)), 500); !errors.Is(err, unix.EOPNOTSUPP) {
				w.must(err)
			}
		})
	},
	"copied from another": func(w *rewriting, p, q string) {
		w.open(p, func(fd int) {
			from, err := os.Open(q)
			w.must(err)
			defer from.Close()
			if _, err = unix.CopyFileRange(int(from.Fd()), nil, fd, nil, rewriteSize, 0); !errors.Is(err, unix.EINVAL) { // one file under two names
				w.must(err)
			}
		})
	},
	"with an older time": func(w *rewriting, p, _ string) {
		w.create(p)
		old := w.stamp.Add(-time.Duration(w.rand.IntN(3)) * time.Hour)
		w.must(os.Chtimes(p, old, old))
	},
	"directories exchanged": func(w *rewriting, p, q string) {
		p, q = filepath.Dir(p), filepath.Dir(q)
		if p != q && p != w.dir && q != w.dir {
			w.must(unix.Renameat2(unix.AT_FDCWD, p, unix.AT_FDCWD, q, unix.RENAME_EXCHANGE))
		}
	},
	"only touched": func(w *rewriting, p, _ string) { w.must(os.Chmod(p, 0o600)) },
}

// beside is a directory beside the one that is hashed, on its file system.
func (w *rewriting) beside() string { return filepath.Dir(w.dir) }

// TestMemoRewrites changes files at random in every way that keeps size and time of modification, several at once and within the tick of the clock in
// which they were last hashed, and hashes them each time as another process would: no digest is that of other content.
func TestMemoRewrites(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for _, place := range []string{"", "/dev/shm"} {
		t.Run(strings.Trim(place, "/")+"-files", func(t *testing.T) {
			top, err := os.MkdirTemp(place, "memo-")
			if err != nil {
				t.Skip("no files here:", err)
			}
			t.Cleanup(func() { os.RemoveAll(top) })
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			w := &rewriting{T: t, rand: rand.New(rand.NewPCG(seed, 0)), dir: filepath.Join(top, "dir"), stamp: time.Now().Add(-time.Hour).Truncate(time.Second)}
			for _, d := range []string{"", "one", "two"} {
				w.must(os.Mkdir(filepath.Join(w.dir, d), 0o755))
				for i := range 3 {
					p := filepath.Join(w.dir, d, fmt.Sprint(i))
					w.names = append(w.names, p)
					w.create(p)
				}
			}
			w.rounds(rounds, filepath.Join(top, "memo"))
		})
	}
}

func (w *rewriting) rounds(n int, folder string) {
	kinds := slices.Sorted(maps.Keys(rewrites))
	for i := range n {
		var did []string
		for range w.rand.IntN(4) {
			kind := kinds[(i+w.rand.IntN(3))%len(kinds)]
			p, q := w.rand.IntN(len(w.names)), w.rand.IntN(len(w.names)-1)
			if q >= p {
				q++
			}
			rewrites[kind](w, w.names[p], w.names[q])
			did = append(did, kind)
		}
		if w.rand.IntN(3) == 0 { // so that digests are remembered that the next round must not believe
			time.Sleep(time.Duration(w.rand.IntN(30)) * time.Millisecond)
		}
		if rehash(w.T, w.dir, folder); w.Failed() {
			w.Fatalf("round %d, after %q", i, did)
		}
	}
}
