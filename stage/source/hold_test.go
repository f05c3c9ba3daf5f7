package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"testing"
)

func readHeld(t *testing.T, d *Directory, path string) string {
	t.Helper()
	f, err := d.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A directory is open from the first Hold to the last release, once, and each Open in between goes through it.
func TestHold(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a one\nf b/c two\nl l a\nl up ..")
	d := mustDir(t, dir, DirOptions{})
	opened, open := 0, d.open
	d.open = func(p string) (beneath, error) {
		opened++
		return open(p)
	}
	var releases []func() error
	for range 2 {
		release, err := d.Hold()
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	for _, release := range releases {
		if got := readHeld(t, d, "a") + readHeld(t, d, "b/c"); got != "onetwo" {
			t.Errorf("read %q", got)
		}
		for path, want := range map[string]error{"l": ErrNotRegular, "b": ErrNotRegular, "up/x": ErrNotRegular, "none": fs.ErrNotExist, "../x": fs.ErrInvalid} {
			if f, err := d.Open(path); !errors.Is(err, want) || f != nil {
				t.Errorf("%s: %v, want %v", path, err, want)
			}
		}
		if err := release(); err != nil {
			t.Error(err)
		}
	}
	if opened != 1 || d.held != nil {
		t.Errorf("the directory was opened %d times", opened)
	}
	if got := readHeld(t, d, "a"); got != "one" || opened != 2 {
		t.Errorf("after the last release: %q, opened %d times", got, opened)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Hold(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is gone: %v", err)
	}
}

func TestHoldConcurrent(t *testing.T) {
	dir := t.TempDir()
	plant(t, dir, "f a one")
	d := mustDir(t, dir, DirOptions{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				release, err := d.Hold()
				if err != nil {
					t.Error(err)
					return
				}
				if f, err := d.Open("a"); err != nil {
					t.Error(err)
				} else {
					f.Close()
				}
				if err := release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if d.held != nil {
		t.Error("still held")
	}
}
