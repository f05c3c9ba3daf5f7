package namespaces

import (
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
	"github.com/stagewright/stagewright/stage/sandbox/namespaces/internal/child"
)

// sockets are those of the Spec's mounts. Each is made here, without a name, and shared with
// the child, which names it inside the root: nothing of it is anywhere else.
type sockets struct {
	files []*os.File
	serve []func(net.Conn)

	listeners []net.Listener
	serving   sync.WaitGroup
	mu        sync.Mutex
	open      map[net.Conn]bool // nil when no more are taken
}

// openSockets makes the sockets of the mounts and tells config their descriptors in the
// child. It returns nil when there are none.
func openSockets(mounts []sandbox.Mount, config *child.Config) (*sockets, error) {
	var s *sockets
	for i := range mounts {
		if mounts[i].Type != sandbox.MountSocket {
			continue
		}
		if s == nil {
			s = &sockets{open: map[net.Conn]bool{}}
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("sandbox: make the socket for %s: %w", mounts[i].Target, err)
		}
		config.Mounts[i].FD = child.FirstSocketFD + len(s.files)
		s.files = append(s.files, os.NewFile(uintptr(fd), "socket"))
		s.serve = append(s.serve, mounts[i].Serve)
	}
	if s != nil {
		config.Inherited = len(s.files)
	}
	return s, nil
}

// descriptors are what the child inherits.
func (s *sockets) descriptors() []*os.File {
	if s == nil {
		return nil
	}
	return s.files
}

// start begins to answer. The child listens on all of them.
func (s *sockets) start() error {
	if s == nil {
		return nil
	}
	for i, f := range s.files {
		l, err := net.FileListener(f)
		if err != nil {
			return fmt.Errorf("sandbox: listen on a socket of the step: %w", err)
		}
		s.listeners = append(s.listeners, l)
		s.serving.Go(func() { s.accept(l, s.serve[i]) })
	}
	return nil
}

// maxConnections is how many connections of a step are answered at once, all its sockets
// together: each takes descriptors of this process.
const maxConnections = 64

func (s *sockets) accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return // close has closed it; there is nobody to hear of anything else
		}
		s.mu.Lock()
		taken := s.open != nil && len(s.open) < maxConnections
		ended := s.open == nil
		if taken {
			s.open[conn] = true
		}
		s.mu.Unlock()
		if !taken {
			_ = conn.Close()
			if ended {
				return
			}
			continue
		}
		s.serving.Go(func() {
			serve(conn)
			_ = conn.Close() // a second time, if serve has
			s.mu.Lock()
			delete(s.open, conn)
			s.mu.Unlock()
		})
	}
}

// close ends all connections and waits for those who answered them.
func (s *sockets) close() {
	if s == nil {
		return
	}
	for _, l := range s.listeners {
		_ = l.Close()
	}
	for _, f := range s.files {
		_ = f.Close()
	}
	s.mu.Lock()
	for conn := range s.open {
		_ = conn.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.serving.Wait()
}
