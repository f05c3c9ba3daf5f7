package source

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
)

// haunted shows a name that is gone when it is looked at, for some readings.
type haunted struct {
	beneath
	readings *int
}

func (h haunted) openDir(p string) (dirHandle, error) {
	d, err := h.beneath.openDir(p)
	return hauntedDir{d, h.readings}, err
}

type hauntedDir struct {
	dirHandle
	readings *int
}

func (d hauntedDir) names() ([]string, error) {
	names, err := d.dirHandle.names()
	if *d.readings > 0 {
		*d.readings--
		names = append(names, "ghost")
	}
	return names, err
}

func TestListVanishing(t *testing.T) {
	for _, c := range []struct {
		readings int
		gone     bool
	}{{1, false}, {2, false}, {3, true}} {
		dir := t.TempDir()
		plant(t, dir, "f a x\nf z y")
		d := mustDir(t, dir, DirOptions{})
		left := c.readings
		d.open = func(p string) (beneath, error) {
			r, err := openBeneath(p)
			return haunted{r, &left}, err
		}
		entries, err := d.List(t.Context())
		var changed *ChangedError
		if c.gone {
			if !errors.As(err, &changed) || changed.Path != "ghost" || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("error %v, want a ChangedError that names the file", err)
			}
		} else if err != nil || paths(entries) != "a z" {
			t.Errorf("%d readings: %s, %v", c.readings, paths(entries), err)
		}
	}
}

// refusing fails to open directories below the root.
type refusing struct{ beneath }

func (r refusing) openDir(p string) (dirHandle, error) {
	if p != "" {
		return nil, syscall.EIO
	}
	return r.beneath.openDir(p)
}

func TestListStopsAtTheFirstError(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a/x 1\nf b/x 1\nf c/x 1")
	d := mustDir(t, dir, DirOptions{Parallel: 4})
	d.open = func(p string) (beneath, error) {
		r, err := openBeneath(p)
		return refusing{r}, err
	}
	entries, err := d.List(t.Context())
	if entries != nil || !errors.Is(err, syscall.EIO) {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestComparePaths(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"a", "a/b", -1}, {"a/b", "a.b", -1}, {"a.b", "a/b", 1}, {"a", "a", 0}, {"a\xff", "a/", 1}, {"b", "a/x", 1}, {"", "a", -1}} {
		if got := comparePaths(c.a, []byte(c.b)); (got < 0) != (c.want < 0) || (got > 0) != (c.want > 0) {
			t.Errorf("comparePaths(%q, %q) = %d", c.a, c.b, got)
		}
	}
}
