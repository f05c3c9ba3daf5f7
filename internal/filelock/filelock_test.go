package filelock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stagewright/stagewright/internal/filelock"
)

func open(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestTry(t *testing.T) {
	const e, s = filelock.Exclusive, filelock.Shared
	for _, c := range []struct {
		first, second filelock.Mode
		want          bool
	}{{e, e, false}, {e, s, false}, {s, e, false}, {s, s, true}} {
		name := filepath.Join(t.TempDir(), "lock")
		a, b := open(t, name), open(t, name)
		if err := filelock.Wait(a, c.first); err != nil {
			t.Fatal(err)
		}
		if ok, err := filelock.Try(b, c.second); err != nil || ok != c.want {
			t.Errorf("%d then %d: %t, %v", c.first, c.second, ok, err)
		}
		a.Close()
		if ok, err := filelock.Try(b, c.second); err != nil || !ok {
			t.Errorf("%d after the file with %d was closed: %t, %v", c.second, c.first, ok, err)
		}
	}
}

func TestLockWaits(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	unlock, err := filelock.Path(t.Context(), name, filelock.Exclusive)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		again, err := filelock.Path(t.Context(), name, filelock.Shared)
		if err == nil {
			again()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Errorf("a lock that somebody has: %v", err)
	case <-time.After(5 * time.Millisecond):
		unlock()
		if err := <-got; err != nil {
			t.Error(err)
		}
	}
}

func TestLockEndsWithItsContext(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	if err := filelock.Wait(open(t, name), filelock.Shared); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := filelock.Path(ctx, name, filelock.Exclusive); !errors.Is(err, cause) {
		t.Errorf("%v; want %v", err, cause)
	}
}

func TestPathCannotBeMade(t *testing.T) {
	if _, err := filelock.Path(t.Context(), filepath.Join(t.TempDir(), "missing", "lock"), filelock.Exclusive); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}
