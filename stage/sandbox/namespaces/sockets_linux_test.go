package namespaces

import (
	"io"
	"net"
	"path/filepath"
	"testing"
)

// TestSocketsHaveALimit: a step cannot take all descriptors of the builder.
func TestSocketsHaveALimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &sockets{open: map[net.Conn]bool{}, listeners: []net.Listener{l}}
	s.serving.Go(func() {
		s.accept(l, func(c net.Conn) { _, _ = io.Copy(c, c) })
	})
	defer s.close()
	echo := func(c net.Conn) error {
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	dial := func() net.Conn {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var all []net.Conn
	for i := range maxConnections {
		c := dial()
		defer c.Close()
		if err := echo(c); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		all = append(all, c)
	}
	more := dial()
	defer more.Close()
	if err := echo(more); err == nil {
		t.Error("one more connection is answered")
	}
	for i, c := range all {
		if err := echo(c); err != nil {
			t.Errorf("connection %d ended: %v", i, err)
		}
	}
}
