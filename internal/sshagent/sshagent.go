package sshagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// maxKey bounds the file of a private key, in bytes.
const maxKey = 1 << 20

// Open returns what answers connections with the agent that listens on the socket, or,
// with no socket, with an agent that holds the private keys in the given files. It fails
// when both or neither are given, when nothing listens on the socket, and when a file
// is no private key or has a passphrase.
func Open(ctx context.Context, socket string, keys []string) (func(net.Conn), error) {
	switch {
	case socket != "" && len(keys) > 0:
		return nil, errors.New("ssh agent: both a socket and key files; give one of them")
	case socket != "":
		return forward(ctx, socket)
	case len(keys) > 0:
		return hold(keys)
	}
	return nil, errors.New("ssh agent: neither a socket nor key files")
}

// forward makes a connection to the agent for each one of the step.
func forward(ctx context.Context, socket string) (func(net.Conn), error) {
	dial := func() (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	test, err := dial()
	if err != nil {
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	_ = test.Close() // nothing was said
	return func(conn net.Conn) {
		to, err := dial()
		if err != nil {
			_ = conn.Close() // the step sees a connection that ends
			return
		}
		defer to.Close()
		serve(conn, func(request []byte) ([]byte, error) {
			if err := writeMessage(to, request); err != nil {
				return nil, err
			}
			return readMessage(to)
		}, func() { _ = to.Close() })
	}, nil
}

// hold makes an agent of private keys.
func hold(keys []string) (func(net.Conn), error) {
	ring, ok := agent.NewKeyring().(agent.ExtendedAgent)
	if !ok {
		return nil, errors.New("ssh agent: this version of x/crypto signs without options")
	}
	for _, file := range keys {
		text, err := readKey(file)
		if err != nil {
			return nil, err
		}
		key, err := ssh.ParseRawPrivateKey(text)
		if _, ok := errors.AsType[*ssh.PassphraseMissingError](err); ok {
			return nil, fmt.Errorf("ssh agent: the key %s has a passphrase; add it to an agent (ssh-add) and give the agent's socket", file)
		}
		if err == nil {
			err = ring.Add(agent.AddedKey{PrivateKey: key, Comment: filepath.Base(file)})
		}
		if err != nil {
			return nil, fmt.Errorf("ssh agent: the key %s: %w", file, err)
		}
	}
	return func(conn net.Conn) {
		serve(conn, func(request []byte) ([]byte, error) { return answer(ring, request), nil }, func() {})
	}, nil
}

func readKey(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxKey+1))
	if err != nil {
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	if len(text) > maxKey {
		return nil, fmt.Errorf("ssh agent: the key %s is larger than %d bytes", file, maxKey)
	}
	return text, nil
}
