package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/filestat"
)

func openTest(t *testing.T, dir string) *Disk {
	t.Helper()
	d, err := OpenDisk(dir, DiskOptions{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func numbered(n int) Key { return NewKey("journal test", 1).Int("n", int64(n)).Sum() }

// everything is what a policy should remove: what a look at all files says.
func everything(t *testing.T, d *Disk, p Policy, start time.Time) (want []string) {
	t.Helper()
	var all []Entry
	var bytes int64
	for _, a := range d.ownAreas() {
		if !p.covers(a.kind) {
			continue
		}
		if err := a.Scan(t.Context(), func(e Entry) error {
			all = append(all, e)
			bytes += e.Bytes
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	slices.SortFunc(all, compareUse)
	for _, e := range all {
		if !p.All && !(p.MaxAge > 0 && start.Sub(e.Used) > p.MaxAge) && !(p.MaxBytes > 0 && bytes > p.MaxBytes) {
			break
		}
		bytes -= e.Bytes
		want = append(want, string(e.Kind)+e.ID)
	}
	return want
}

func removed(c *Collection) (got []string) {
	for _, r := range c.Removed {
		got = append(got, string(r.Kind)+r.ID)
	}
	return got
}

// What the journal says is removed is what a look at all files would remove, whatever was done before:
// new and replaced entries, used ones, some removed by hand, collections of every sort.
func TestJournalAgreesWithScan(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			d := openTest(t, dir)
			// Time goes fast, so that there are many hours.
			clock := time.Now().Add(time.Hour)
			d.clock = func() time.Time { return clock }
			for step := range 300 {
				clock = clock.Add(time.Duration(r.IntN(40)) * time.Minute)
				k := numbered(r.IntN(40))
				switch n := r.IntN(20); {
				case n < 8:
					if err := d.Put(t.Context(), k, make([]byte, r.IntN(20_000))); err != nil {
						t.Fatal(err)
					}
				case n < 11:
					if _, err := PutBlob(t.Context(), d, fmt.Append(nil, r.IntN(30), make([]byte, 3000))); err != nil {
						t.Fatal(err)
					}
				case n < 16:
					if err := d.Touch(t.Context(), []Key{k}, nil); err != nil {
						t.Fatal(err)
					}
				case n < 17:
					_ = os.Remove(d.recordPath(k))
				default:
					p := Policy{DryRun: n == 17}
					if r.IntN(2) == 0 {
						p.MaxAge = time.Duration(1+r.IntN(100)) * time.Hour
					}
					if r.IntN(4) == 0 {
						p.Kinds = []Kind{KindRecord}
					}
					switch r.IntN(8) {
					case 0:
						if _, err := d.Usage(t.Context()); err != nil {
							t.Fatal(err)
						}
					case 1:
						p.All = true
					}
					clock = clock.Add(time.Second)
					want := everything(t, d, p, clock)
					c, err := d.Collect(t.Context(), p)
					if err != nil {
						t.Fatal(err)
					}
					if got := removed(c); !slices.Equal(got, want) {
						t.Fatalf("step %d, %+v:\nremoved %v\nwant    %v", step, p, got, want)
					}
				}
			}
			// By bytes: what the books say is right after a recount.
			if _, err := d.Usage(t.Context()); err != nil {
				t.Fatal(err)
			}
			for max := int64(200_000); max > 0; max -= 30_000 {
				p := Policy{MaxBytes: max}
				clock = clock.Add(time.Second)
				want := everything(t, d, p, clock)
				c, err := d.Collect(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				if got := removed(c); !slices.Equal(got, want) || c.Kept > max || c.Short != 0 {
					t.Fatalf("at most %d:\nremoved %v\nwant    %v\n%+v", max, got, want, c)
				}
			}
		})
	}
}

// A collection looks at what it removes and at what was used since, and at nothing else: what the journal
// does not know is not found before a scan.
func TestCollectDoesNotScan(t *testing.T) {
	if !filelock.Advisory {
		t.Skip("no journal on this system")
	}
	dir := t.TempDir()
	d := openTest(t, dir)
	put := func(n int) {
		if err := d.Put(t.Context(), numbered(n), nil); err != nil {
			t.Fatal(err)
		}
	}
	put(1)
	collect := func(want int) {
		t.Helper()
		c, err := d.Collect(t.Context(), Policy{All: true})
		if err != nil || len(c.Removed) != want {
			t.Errorf("removed %v, %v; want %d", c.Removed, err, want)
		}
	}
	collect(1) // a scan: there is no state yet
	put(2)
	hidden := d.recordPath(numbered(3))
	if err := errors.Join(os.MkdirAll(filepath.Dir(hidden), 0o700), os.WriteFile(hidden, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	collect(1)
	if _, err := d.Usage(t.Context()); err != nil {
		t.Fatal(err)
	}
	collect(1)
	put(4)
	put(5)
	state := filepath.Join(dir, journalDir, journalState)
	if err := os.Remove(state); err != nil {
		t.Fatal(err)
	}
	collect(2)
}

// Whatever becomes of the files of the journal, a collection works, takes nothing that a lease covers,
// and after a recount everything is known again.
func TestDamagedJournal(t *testing.T) {
	if !filelock.Advisory {
		t.Skip("no journal on this system")
	}
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		dir := t.TempDir()
		d := openTest(t, dir)
		for i := range 40 {
			if err := d.Put(t.Context(), numbered(i), nil); err != nil {
				t.Fatal(err)
			}
			at := time.Now().Add(time.Duration(i-50) * 20 * time.Minute)
			if err := os.Chtimes(d.recordPath(numbered(i)), at, at); err != nil {
				t.Fatal(err)
			}
			if i == 20 || i == 30 {
				if _, err := d.Collect(t.Context(), Policy{MaxBytes: 1 << 40}); err != nil {
					t.Fatal(err)
				}
			}
		}
		other := openTest(t, dir)
		lease, err := other.Lease(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Get(t.Context(), numbered(7)); err != nil {
			t.Fatal(err)
		}
		damage(t, r, filepath.Join(dir, journalDir))
		for _, p := range []Policy{{MaxAge: 10 * time.Hour, DryRun: true}, {MaxAge: 10 * time.Hour}, {MaxBytes: 4096}, {All: true}} {
			if _, err := d.Collect(t.Context(), p); err != nil {
				t.Fatalf("seed %d, %+v: %v", seed, p, err)
			}
		}
		if _, err := other.Get(t.Context(), numbered(7)); err != nil {
			t.Errorf("seed %d: what the lease covers: %v", seed, err)
		}
		lease.Close()
		if _, err := d.Usage(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c, err := d.Collect(t.Context(), Policy{All: true}); err != nil || c.Kept != 0 {
			t.Errorf("seed %d: %+v, %v: want nothing kept", seed, c, err)
		}
		if left := everything(t, d, Policy{All: true}, time.Now()); len(left) != 0 {
			t.Errorf("seed %d: left %v", seed, left)
		}
	}
}

// A collector comes between the line in the log and the name: the entry is known all the same.
func TestCollectBeforeTheName(t *testing.T) {
	d := openTest(t, t.TempDir())
	m := &many{keeper: d, dir: filepath.Join(d.Dir(), "many")}
	for range 2 { // the first looks at everything
		d.Created(m.Kind(), "slow", 4096)
		for range 2 {
			if c, err := d.Collect(t.Context(), Policy{All: true}, m); err != nil || len(c.Removed) != 0 || c.Kept != 0 {
				t.Fatalf("%+v, %v; want nothing removed and nothing kept", c, err)
			}
		}
		if err := errors.Join(os.MkdirAll(m.dir, 0o700), os.WriteFile(filepath.Join(m.dir, "slow"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if c, err := d.Collect(t.Context(), Policy{All: true}, m); err != nil || len(c.Removed) != 1 {
			t.Fatalf("%+v, %v; want the entry removed", c, err)
		}
	}
}

// What is about to be replaced is used first, so that the place is not empty, and the entry forgotten, when
// the new file comes.
func TestReplacesUses(t *testing.T) {
	d := openTest(t, t.TempDir())
	if err := d.Put(t.Context(), numbered(1), nil); err != nil {
		t.Fatal(err)
	}
	name := d.recordPath(numbered(1))
	looked := time.Now().Add(-time.Hour)
	if err := os.Chtimes(name, looked, looked); err != nil {
		t.Fatal(err)
	}
	if !d.replaces(name) || d.replaces(name+"x") {
		t.Error("replaces: the record is there, the other is not")
	}
	if _, err := d.RemoveUnused(name, looked); !errors.Is(err, ErrInUse) {
		t.Errorf("a collector that looked before: %v, want ErrInUse", err)
	}
	if _, err := d.RemoveUnused(name, time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := d.RemoveUnused(name, time.Now()); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is not there: %v, want ErrNotFound", err)
	}
}

// damage does something to one of the files of a directory.
func damage(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() && e.Name() != journalLock {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("no files in %s: %v", dir, err)
	}
	name := files[r.IntN(len(files))]
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	switch r.IntN(5) {
	case 0:
		err = os.Remove(name)
	case 1:
		err = os.Truncate(name, int64(r.IntN(len(data)+1)))
	case 2:
		if len(data) > 0 {
			data[r.IntN(len(data))] ^= 1 << r.IntN(8)
		}
		err = os.WriteFile(name, data, 0o600)
	case 3:
		err = os.WriteFile(name, append(data, make([]byte, 100_000)...), 0o600)
	case 4:
		err = errors.Join(os.Remove(name), os.Mkdir(name, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// many is an area of another package, which the journal knows.
type many struct {
	keeper Keeper
	dir    string
	scans  int
}

func (m *many) Kind() Kind { return "many" }

func (m *many) Scan(_ context.Context, yield func(Entry) error) error {
	m.scans++
	return eachInfo(m.dir, func(info fs.FileInfo) error {
		return yield(m.entry(info))
	})
}

func (m *many) entry(info fs.FileInfo) Entry {
	return Entry{ID: info.Name(), Bytes: filestat.Allocated(info), Used: time.Unix(0, lastUse(info)), Detail: "one of many"}
}

func (m *many) Stat(_ context.Context, id string) (Entry, error) {
	info, err := os.Lstat(filepath.Join(m.dir, id))
	if err != nil {
		return Entry{}, ErrNotFound
	}
	return m.entry(info), nil
}

func (m *many) Remove(_ context.Context, id string, used time.Time) (int64, error) {
	return m.keeper.RemoveUnused(filepath.Join(m.dir, id), used)
}

func (m *many) make(t *testing.T, id string, age time.Duration) {
	t.Helper()
	m.keeper.Created(m.Kind(), id, 4096)
	name := filepath.Join(m.dir, id)
	at := time.Now().Add(-age)
	if err := errors.Join(os.MkdirAll(m.dir, 0o700), os.WriteFile(name, []byte(id), 0o600), os.Chtimes(name, at, at)); err != nil {
		t.Fatal(err)
	}
}

func TestCollectArea(t *testing.T) {
	d := openTest(t, t.TempDir())
	m := &many{keeper: d, dir: filepath.Join(d.Dir(), "many")}
	m.make(t, "first", 3*time.Hour)
	if err := d.Put(t.Context(), numbered(1), nil); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"first", "second"} {
		// A collection that does not ask for the area leaves it alone.
		if c, err := d.Collect(t.Context(), Policy{MaxAge: time.Hour}); err != nil || len(c.Removed) != 0 {
			t.Fatalf("without the area: %v, %v", c.Removed, err)
		}
		c, err := d.Collect(t.Context(), Policy{MaxAge: time.Hour}, m)
		if err != nil || len(c.Removed) != 1 || c.Removed[0].ID != want || c.Removed[0].Kind != "many" || c.Removed[0].Detail != "one of many" {
			t.Fatalf("collection %d: %v, %v; want %s", i, c.Removed, err, want)
		}
		if filelock.Advisory && m.scans != 1 {
			t.Errorf("%d scans, want 1", m.scans)
		}
		m.make(t, "second", 2*time.Hour)
		m.make(t, "third", 0)
	}
	if !d.Used(filepath.Join(m.dir, "third")) || d.Used(filepath.Join(m.dir, "fourth")) {
		t.Error("Used: the third is there, the fourth is not")
	}
	u, err := d.Usage(t.Context(), m)
	if err != nil || len(u.Kinds) != 3 || u.Kinds[2].Kind != "many" || u.Kinds[2].Entries != 2 {
		t.Errorf("usage %+v, %v", u, err)
	}
	if _, err := d.Collect(t.Context(), Policy{All: true}, m, m); err == nil {
		t.Error("two areas of a kind: no error")
	}
}
