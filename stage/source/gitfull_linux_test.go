package source

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// On a disk with room for so many pages git gives up in one place or another, in words of its own: the error says that the disk is full.
func TestGitFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	s := serveGit(t)
	s.repo("r", tools)
	failed := 0
	for pages := 1; pages < 60; pages++ {
		w := newWorld(t)
		if err := unix.Mount("tmpfs", w.dir, "tmpfs", 0, fmt.Sprintf("mode=700,size=%d", pages*os.Getpagesize())); err != nil {
			t.Skipf("no tmpfs can be mounted here: %v", err)
		}
		g := w.git(t, GitTree{Remote: s.url("r")})
		_, err := g.List(t.Context())
		if err != nil {
			failed++
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%d pages: the error does not say why: %v", pages, err)
			}
		}
		if err := errors.Join(g.Close(), unix.Unmount(w.dir, unix.MNT_DETACH)); err != nil {
			t.Fatal(err)
		}
	}
	if failed == 0 {
		t.Error("git needs less than a page")
	}
}
