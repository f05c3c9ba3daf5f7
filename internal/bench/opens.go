package main

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// opens counts how often regular files below dir are opened while do runs, Dockerfiles left out, with inotify(7), which
// takes several of one file in a row for one.
func opens(dir string, do func() error) (n int, err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return 0, err
	}
	events := os.NewFile(uintptr(fd), "inotify")
	defer events.Close()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_, err = unix.InotifyAddWatch(fd, path, unix.IN_OPEN|unix.IN_ONLYDIR)
		}
		return err
	}); err != nil {
		return 0, err
	}
	var counter openCounter
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		counter.read(events.Read) // while there is more to come: the queue is bounded
	}()
	err = do()
	deadline := events.SetReadDeadline(time.Now())
	<-ended
	counter.read(func(b []byte) (int, error) { return unix.Read(fd, b) }) // what is left
	if counter.lost {
		err = errors.Join(err, errors.New("the kernel lost some events"))
	}
	return counter.n, errors.Join(err, deadline)
}

// openCounter counts events.
type openCounter struct {
	n    int
	lost bool
}

// read counts until there is an error, which ends every inotify descriptor that is not waited for.
func (c *openCounter) read(from func([]byte) (int, error)) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from(buf)
		if err != nil || n <= 0 {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			mask, size := binary.NativeEndian.Uint32(b[4:]), int(binary.NativeEndian.Uint32(b[12:]))
			name, _, _ := strings.Cut(string(b[unix.SizeofInotifyEvent:unix.SizeofInotifyEvent+size]), "\x00")
			b = b[unix.SizeofInotifyEvent+size:]
			c.lost = c.lost || mask&unix.IN_Q_OVERFLOW != 0
			if mask&unix.IN_ISDIR == 0 && name != "" && name != "Dockerfile" {
				c.n++
			}
		}
	}
}
