package source

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// memoised makes a directory with a memo and hashes it once.
func memoised(t *testing.T, lines string) (dir, folder string) {
	t.Helper()
	dir, folder = t.TempDir(), t.TempDir()
	plant(t, dir, lines)
	d := mustDir(t, dir, DirOptions{Memo: OpenMemo(folder)})
	age(t, d)
	mustHash(t, d)
	if again := rehash(t, dir, folder); again.Opened != 0 || again.Hashed != 0 || again.Known == 0 {
		t.Fatalf("an unchanged directory was read: %+v", again)
	}
	return dir, folder
}

// rehash hashes dir as another process would, compares with the content on disk
// and returns what it cost.
func rehash(t *testing.T, dir, folder string) Stats {
	t.Helper()
	d := mustDir(t, dir, DirOptions{Memo: OpenMemo(folder)})
	for p, got := range mustHash(t, d) {
		content, err := os.ReadFile(filepath.Join(dir, p))
		if err != nil {
			t.Fatal(err)
		}
		if got != digestOf(string(content)) {
			t.Errorf("%s has the digest of other content", p)
		}
	}
	return d.Stats()
}

func TestMemoReadsOnlyWhatChanged(t *testing.T) {
	dir, folder := memoised(t, "f a one\nf b/c two\nf b/d three\nl l a")
	plant(t, dir, "f b/c TWO")
	if s := rehash(t, dir, folder); s.Opened != 1 || s.Hashed != 1 || s.Known != 2 {
		t.Errorf("%+v", s)
	}
}

func TestMemoSeesHiddenRewrites(t *testing.T) {
	restore := func(t *testing.T, p string, fi os.FileInfo) {
		t.Helper()
		if err := os.Chtimes(p, fi.ModTime(), fi.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	for name, rewrite := range map[string]func(t *testing.T, dir, p string, fi os.FileInfo){
		"mtime restored": func(t *testing.T, dir, p string, fi os.FileInfo) {
			plant(t, dir, "f a TWO")
			restore(t, p, fi)
		},
		"replaced by rename": func(t *testing.T, dir, p string, fi os.FileInfo) {
			plant(t, dir, "f new TWO")
			restore(t, filepath.Join(dir, "new"), fi)
			if err := os.Rename(filepath.Join(dir, "new"), p); err != nil {
				t.Fatal(err)
			}
		},
		"through a hard link": func(t *testing.T, dir, p string, fi os.FileInfo) {
			other := filepath.Join(t.TempDir(), "other")
			if err := os.Link(p, other); err != nil {
				t.Skip("no hard links here:", err)
			}
			if err := os.WriteFile(other, []byte("TWO"), 0o644); err != nil {
				t.Fatal(err)
			}
			restore(t, p, fi)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, folder := memoised(t, "f a one\nf b two")
			p := filepath.Join(dir, "a")
			fi, err := os.Lstat(p)
			if err != nil {
				t.Fatal(err)
			}
			rewrite(t, dir, p, fi)
			if now, err := os.Lstat(p); err != nil || now.Size() != fi.Size() || !now.ModTime().Equal(fi.ModTime()) {
				t.Fatal("the control: size and mtime should look unchanged", err)
			}
			if s := rehash(t, dir, folder); s.Hashed != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestMemoRacyWindow rewrites a file right after each Hash, often within one
// tick of the kernel's clock, at equal size and with the first mtime.
func TestMemoRacyWindow(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	p := filepath.Join(dir, "a")
	stamp := time.Now().Add(-time.Hour)
	for n := range 40 {
		content := []byte{byte('a' + n%26), byte('a' + n/26)}
		if err := errors.Join(os.WriteFile(p, content, 0o644), os.Chtimes(p, stamp, stamp)); err != nil {
			t.Fatal(err)
		}
		rehash(t, dir, folder)
	}
}

// frozen is a clock that stands still, so that the window never passes.
type frozen struct {
	beneath
	now int64
}

func (f frozen) clock() int64 { return f.now }

func TestMemoDistrustsFreshTimes(t *testing.T) {
	for name, c := range map[string]struct {
		ahead time.Duration // of the clock before the file's newest time
		saved bool
	}{
		"older than the margin": {fineMargin, true},
		"in the future":         {-time.Hour, false},
		"far behind":            {-2 * fineMargin, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, folder := t.TempDir(), t.TempDir()
			plant(t, dir, "f a one")
			d := mustDir(t, dir, DirOptions{Memo: OpenMemo(folder)})
			age(t, d)
			e := mustList(t, d)[0]
			d.open = func(p string) (beneath, error) {
				r, err := openBeneath(p)
				return frozen{r, max(e.Mtime, e.id.ctime) + int64(c.ahead)}, err
			}
			mustHash(t, d)
			if s := rehash(t, dir, folder); (s.Opened == 0) != c.saved {
				t.Errorf("%+v, want remembered %t", s, c.saved)
			}
		})
	}
}

func TestSettleMargins(t *testing.T) {
	const now = int64(1_000_000_000_000_000_123)
	for name, c := range map[string]struct {
		age   time.Duration
		whole bool // whole seconds
		want  bool
	}{
		"fine":         {fineMargin, false, true},
		"coarse young": {time.Second, true, false},
		"coarse old":   {coarseMargin + time.Second, true, true},
	} {
		at := now - int64(c.age)
		if c.whole {
			at -= at % int64(time.Second)
		}
		e := Entry{Mtime: at, id: identity{known: true, ctime: at}}
		got, err := settle(t.Context(), frozen{local{}, now}, &e)
		if err != nil || got != c.want {
			t.Errorf("%s: %t, %v", name, got, err)
		}
	}
}

type local struct{ beneath }

func (local) remote() bool { return false }

func TestMemoDamaged(t *testing.T) {
	dir, folder := memoised(t, "f a one\nf b/c two\nf b/d three")
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(files) != 1 || !strings.HasSuffix(files[0], ".memo") {
		t.Fatalf("memo folder holds %v, %v", files, err)
	}
	good, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for n := range good {
		for name, bad := range map[string][]byte{"cut": good[:n], "flipped": append(append(append([]byte{}, good[:n]...), good[n]^0x10), good[n+1:]...)} {
			if groupsOf(bad, dir) != nil {
				t.Fatalf("%s at byte %d is believed", name, n)
			}
		}
	}
	if err := os.WriteFile(files[0], good[:len(good)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if s := rehash(t, dir, folder); s.Hashed != 3 {
		t.Errorf("damaged: %+v", s)
	}
	if s := rehash(t, dir, folder); s.Hashed != 0 {
		t.Errorf("not mended: %+v", s)
	}
	if groupsOf(good, dir+"x") != nil {
		t.Error("the memo of one directory is believed for another")
	}
}

func TestMemoOfOthersIsNotBelieved(t *testing.T) {
	dir, folder := memoised(t, "f a one")
	files, _ := filepath.Glob(filepath.Join(folder, "*.memo"))
	if len(files) != 1 {
		t.Fatal(files)
	}
	if err := os.Chmod(files[0], 0o666); err != nil {
		t.Fatal(err)
	}
	if s := rehash(t, dir, folder); s.Hashed != 1 {
		t.Errorf("a memo that anybody can write was believed: %+v", s)
	}
}

func TestMemoThatCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a one\nf notdir x")
	d := mustDir(t, dir, DirOptions{Memo: OpenMemo(filepath.Join(dir, "notdir", "memo"))})
	mustHash(t, d)
	if s := d.Stats(); s.Hashed != 2 {
		t.Errorf("%+v", s)
	}
}

// TestMemoKeepsWhatWasNotAsked hashes two halves in turn and together.
func TestMemoKeepsWhatWasNotAsked(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	plant(t, dir, "f a 1\nf b/x 2\nf b.c 3\nf c 4\nf d/e/f 5\nf d.g 6")
	age(t, mustDir(t, dir, DirOptions{}))
	memo := OpenMemo(folder)
	for _, rules := range [][]string{{"b*", "d.g"}, {"a", "c", "d"}} {
		mustHash(t, mustDir(t, dir, DirOptions{Memo: memo, Ignore: rules}))
	}
	if s := rehash(t, dir, folder); s.Opened != 0 || s.Known != 6 {
		t.Errorf("%+v", s)
	}
	before, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	fi, _ := before[0].Info()
	rehash(t, dir, folder)
	after, _ := os.ReadDir(folder)
	if now, _ := after[0].Info(); !os.SameFile(fi, now) || len(after) != 1 {
		t.Error("the memo was written though nothing changed")
	}
}

func TestMemoForgetsWhatIsGone(t *testing.T) {
	r := &memoRoot{root: "/r", file: filepath.Join(t.TempDir(), "m")}
	entry := func(p string) *Entry { return &Entry{Path: p, id: identity{known: true, ctime: 1}} }
	var many []*Entry
	for n := range 11_000 {
		many = append(many, entry("d"+string(rune('a'+n%26))+strings.Repeat("x", n/26)))
	}
	slices.SortFunc(many, func(a, b *Entry) int { return comparePaths(a.Path, b.Path) })
	r.remember(many, 11_000)
	if n := count(r.known()); n != 11_000 {
		t.Fatal(n)
	}
	r.remember([]*Entry{entry("z")}, 1)
	if n := count(r.known()); n != 1 {
		t.Errorf("%d records kept for a directory of one file", n)
	}
}

func TestMemoConcurrent(t *testing.T) {
	dir, folder := t.TempDir(), t.TempDir()
	plant(t, dir, "f a 1\nf b/x 2\nf c 3\nf d/e/f 4")
	shared := OpenMemo(folder)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			memo := shared
			if n%2 == 0 {
				memo = OpenMemo(folder)
			}
			d, err := Dir(dir, DirOptions{Memo: memo})
			if err != nil {
				t.Error(err)
				return
			}
			entries, err := d.List(t.Context())
			if err == nil {
				err = d.Hash(t.Context(), pointers(entries))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	rehash(t, dir, folder)
}

func TestHashWithoutListing(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a hello")
	e := Entry{Path: "a"}
	d := mustDir(t, dir, DirOptions{Memo: OpenMemo(t.TempDir())})
	if err := d.Hash(t.Context(), []*Entry{&e}); err != nil || e.Digest != digestOf("hello") || e.Size != 5 {
		t.Errorf("%+v, %v", e, err)
	}
	for _, p := range []string{"../a", "/a", ""} {
		if err := d.Hash(t.Context(), []*Entry{{Path: p}}); err == nil {
			t.Errorf("Hash of %q works", p)
		}
	}
}

func FuzzMemoRecords(f *testing.F) {
	var w groupWriter
	x, y := digestOf("x"), digestOf("y")
	w.add([]byte("ab"), 0, signature{1, 2, 3, 4}, &x)
	w.add([]byte("ac"), flagBare, signature{5, 6, 7, 8}, &y)
	f.Add(memoFile("/r", map[string]memoGroup{"a": w.memoGroup}))
	f.Add(w.records)
	f.Add([]byte{})
	f.Add([]byte{0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		groups := groupsOf(b, "/r")
		if groups == nil {
			groups = map[string]memoGroup{}
		}
		groups["whole"] = memoGroup{records: b}
		for _, g := range groups {
			for r := (memoReader{rest: g.records}); r.next(); {
				if len(r.name) > maxPath {
					t.Fatal("name beyond the limit")
				}
			}
		}
	})
}

// TestMemoFileRoundTrip checks that names which share beginnings, and several directories, come back as they were written.
func TestMemoFileRoundTrip(t *testing.T) {
	r := &memoRoot{root: "/r", file: filepath.Join(t.TempDir(), "m")}
	var entries []*Entry
	for n, p := range []string{"a", "ab", "abc", "b", "b/a", "b/ab", "b/c/x", "b.d", "z"} {
		entries = append(entries, &Entry{Path: p, Size: int64(n), Mtime: -1, Digest: digestOf(p), id: identity{known: true, ctime: 7, inode: 1 << 63, bare: n%2 == 0}})
	}
	slices.SortFunc(entries, func(a, b *Entry) int { return comparePaths(a.Path, b.Path) })
	r.remember(entries, 1)
	groups := loadMemo(r.file, "/r")
	if n := count(groups); n != int64(len(entries)) {
		t.Fatal(n)
	}
	for _, e := range entries {
		dir, name := splitPath(e.Path)
		reader := memoReader{rest: groups[dir].records}
		for _, other := range []string{"", "0"} {
			if reader.find(other) {
				t.Errorf("%q was found in %q", other, dir)
			}
		}
		if !reader.find(name) || reader.sign != signatureOf(e) || *reader.digest != e.Digest || (reader.flags == flagBare) != e.id.bare {
			t.Errorf("%s: %+v", e.Path, reader)
		}
		if reader.find(name + "0") {
			t.Errorf("%s0 was found", e.Path)
		}
	}
}
