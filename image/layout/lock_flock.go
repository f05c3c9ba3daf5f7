//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package layout

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// lock waits until no other writer has the layout. A file system that cannot lock is used without, and then alone is false.
func lock(ctx context.Context, dir string) (unlock func(), alone bool, err error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, false, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return func() { d.Close() }, err == nil, nil
		}
		select {
		case <-ctx.Done():
			d.Close()
			return nil, false, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
