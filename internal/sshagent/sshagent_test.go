package sshagent_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/stagewright/stagewright/internal/sshagent"
)

// keyFile writes a private key as ssh-keygen does.
func keyFile(t *testing.T, name string, key any, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(key, name)
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, name, []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func keys(t *testing.T) (ed, rs string) {
	t.Helper()
	_, e, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return keyFile(t, "id_ed25519", e, ""), keyFile(t, "id_rsa", r, "")
}

// client connects to what Open returned.
func client(t *testing.T, serve func(net.Conn)) agent.ExtendedAgent {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		serve(theirs)
		close(done)
	}()
	t.Cleanup(func() {
		ours.Close()
		<-done // serve ends with its connection
	})
	return agent.NewClient(ours)
}

// check uses an agent as ssh does, and as ssh-add would like to.
func check(t *testing.T, a agent.ExtendedAgent) {
	t.Helper()
	list, err := a.List()
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	data := []byte("challenge")
	for _, k := range list {
		for _, flags := range []agent.SignatureFlags{0, agent.SignatureFlagRsaSha512} {
			if flags != 0 && k.Format != ssh.KeyAlgoRSA {
				continue
			}
			sig, err := a.SignWithFlags(k, data, flags)
			if err != nil {
				t.Fatal(err)
			}
			if err := k.Verify(data, sig); err != nil {
				t.Error(err)
			}
			if flags != 0 && sig.Format != ssh.KeyAlgoRSASHA512 {
				t.Errorf("the signature is %s", sig.Format)
			}
		}
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Add":       a.Add(agent.AddedKey{PrivateKey: other}),
		"Remove":    a.Remove(list[0]),
		"RemoveAll": a.RemoveAll(),
		"Lock":      a.Lock([]byte("x")),
		"Unlock":    a.Unlock([]byte("x")),
	} {
		if err == nil {
			t.Errorf("%s is allowed", name)
		}
	}
	if _, err := a.Extension("session-bind@openssh.com", []byte("x")); err == nil {
		t.Error("an extension is allowed")
	}
	public, err := ssh.NewPublicKey(other.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Sign(public, data); err == nil {
		t.Error("a key that the agent does not have has signed")
	}
	if after, err := a.List(); err != nil || len(after) != 2 {
		t.Errorf("the agent has %d keys afterwards, %v", len(after), err)
	}
}

func TestKeys(t *testing.T) {
	ed, rs := keys(t)
	serve, err := sshagent.Open(t.Context(), "", []string{ed, rs})
	if err != nil {
		t.Fatal(err)
	}
	check(t, client(t, serve))
	check(t, client(t, serve)) // what one connection tried did nothing
}

func TestSocket(t *testing.T) {
	ed, rs := keys(t)
	ring := agent.NewKeyring()
	for _, file := range []string{ed, rs} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParseRawPrivateKey(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
	}
	// t.TempDir has the name of the test in it, and a socket's path has 108 bytes.
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn) }()
		}
	}()
	serve, err := sshagent.Open(t.Context(), socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	check(t, client(t, serve))
}

func TestMistakes(t *testing.T) {
	_, secret, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked := keyFile(t, "locked", secret, "hunter2")
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte{'x'}, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		socket string
		keys   []string
		want   string
	}{
		{"", nil, "neither a socket nor key files"},
		{"/s", []string{text}, "give one of them"},
		{"/no/such/socket", nil, "/no/such/socket"},
		{"", []string{"/no/such/key"}, "/no/such/key"},
		{"", []string{text}, text},
		{"", []string{big}, "larger than"},
		{"", []string{locked}, "ssh-add"},
	} {
		if _, err := sshagent.Open(t.Context(), c.socket, c.keys); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("socket %q, keys %q: %v, want %q in it", c.socket, c.keys, err, c.want)
		}
	}
}

// FuzzServe: whatever a step sends, the agent ends with the connection and has the keys
// that it had.
func FuzzServe(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 11})
	f.Add([]byte{0, 0, 0, 1, 13})
	f.Add([]byte{0, 0, 0, 13, 13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1})
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		f.Fatal(err)
	}
	serve, err := sshagent.Open(f.Context(), "", []string{path})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = ours.Write(in)
			ours.Close()
		}()
		go func() { _, _ = new(bytes.Buffer).ReadFrom(ours) }()
		serve(theirs)
		if list, err := client(t, serve).List(); err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
	})
}

// TestAgentThatIsSilent: what waits for an agent ends with the connection that asked.
func TestAgentThatIsSilent(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	asked := make(chan struct{})
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if n, _ := conn.Read(make([]byte, 5)); n > 0 {
				close(asked)
			}
		}
	}()
	serve, err := sshagent.Open(t.Context(), socket, nil)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		serve(theirs)
		close(done)
	}()
	list := []byte{0, 0, 0, 1, 11}
	if _, err := ours.Write(list); err != nil {
		t.Fatal(err)
	}
	<-asked
	if _, err := ours.Write(list); err != nil { // another one waits
		t.Fatal(err)
	}
	theirs.Close() // as the sandbox does
	<-done
}
