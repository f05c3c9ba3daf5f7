package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// socketCases are about MountSocket.
var socketCases = []suiteCase{
	{"Socket", false, testSocket},
	{"SocketOwner", false, testSocketOwner},
	{"SocketEnds", false, testSocketEnds},
}

// shout answers with what it reads, in upper case.
func shout(c net.Conn) {
	b, err := io.ReadAll(c)
	if err == nil {
		_, _ = c.Write(bytes.ToUpper(b)) // the process notices
	}
	_ = c.Close()
}

func testSocket(f *fixture) {
	s := f.spec("dial", "/run/buildkit/agent.0", "one ", "two ", "three")
	s.Mounts = []sandbox.Mount{
		{Type: sandbox.MountSocket, Target: "/run/buildkit/other", Serve: func(c net.Conn) { f.Error("the wrong socket was connected to"); _ = c.Close() }},
		{Type: sandbox.MountSocket, Target: "/run/buildkit/agent.0", Serve: shout},
	}
	equal(f, "answers", f.run(s), "ONE TWO THREE")
	f.noTrace(s.Root)
	s.Args = []string{Prober, "stat", "/run/buildkit/agent.0"}
	s.Root = f.root()
	if got := f.run(s); !strings.HasPrefix(got, "140600 0 0:0 ") {
		f.Errorf("the socket is %q, want mode 0600 and owner 0:0", got)
	}
	s.Network, s.Args, s.Root = sandbox.NetworkNone, []string{Prober, "dial", "/run/buildkit/agent.0", "x"}, f.root()
	equal(f, "answer without a network", f.run(s), "X")
}

func testSocketOwner(f *fixture) {
	u := f.otherUser()
	s := f.spec("dial", "/agent", "x")
	s.User = u
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountSocket, Target: "/agent", Mode: 0o620, UID: u.UID, GID: 7, Serve: shout}}
	equal(f, "answer", f.run(s), "X")
	s.Args, s.Root = []string{Prober, "stat", "/agent"}, f.root()
	if got := f.run(s); !strings.HasPrefix(got, "140620 0 1234:7 ") {
		f.Errorf("the socket is %q, want mode 0620 and owner 1234:7", got)
	}
	s.Mounts[0].UID = 0
	s.Args, s.Root = []string{Prober, "dial", "/agent", "x"}, f.root()
	if st, err := f.runner.Run(f.Context(), s); err != nil || st.Code != 1 {
		f.Errorf("another user's socket: %+v, %v, want a refusal", st, err)
	}
}

// testSocketEnds: connections end with the process, and Run waits for who serves them.
func testSocketEnds(f *fixture) {
	ctx, cancel := context.WithCancel(f.Context())
	defer cancel()
	var ended atomic.Bool
	s := f.spec("dial", "/agent", "x")
	s.Mounts = []sandbox.Mount{{Type: sandbox.MountSocket, Target: "/agent", Serve: func(c net.Conn) {
		cancel()
		for err := error(nil); err == nil; { // until the process is dead or the Runner closes it
			_, err = c.Write([]byte("more"))
		}
		ended.Store(true)
	}}}
	if _, err := f.runner.Run(ctx, s); !errors.Is(err, context.Canceled) {
		f.Errorf("got %v, want context.Canceled", err)
	}
	if !ended.Load() {
		f.Error("Run returned while a connection was served")
	}
	f.noTrace(s.Root)
}
