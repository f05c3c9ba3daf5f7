package sshagent

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// The messages of draft-ietf-sshm-ssh-agent that a step may exchange with an agent.
const (
	messageFailure      = 5
	messageList         = 11
	messageListAnswer   = 12
	messageSign         = 13
	messageSignResponse = 14
)

// maxMessage is OpenSSH's own bound of a message.
const maxMessage = 256 << 10

// maxWaiting is how many requests may wait for their answers. Those who know the
// protocol wait for each answer.
const maxWaiting = 4

// serve answers the requests of one connection until it ends, and closes it. Of those
// that are neither for a list nor for a signature, answer does not hear. ended is called
// as soon as the connection ends, also while an answer is waited for, which it must end.
func serve(conn net.Conn, answer func(request []byte) ([]byte, error), ended func()) {
	requests := make(chan []byte, maxWaiting)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer conn.Close()
	reading.Go(func() {
		defer close(requests)
		defer ended()
		for {
			request, err := readMessage(conn)
			if err != nil {
				return
			}
			select {
			case requests <- request:
			default:
				return
			}
		}
	})
	for request := range requests {
		var err error
		reply := []byte{messageFailure}
		if request[0] == messageList || request[0] == messageSign {
			if reply, err = answer(request); err != nil {
				return
			}
		}
		if err := writeMessage(conn, reply); err != nil {
			return
		}
	}
}

// readMessage reads a message without its length. It has at least one byte.
func readMessage(r io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n == 0 || n > maxMessage {
		return nil, fmt.Errorf("ssh agent: a message of %d bytes", n)
	}
	m := make([]byte, n)
	_, err := io.ReadFull(r, m)
	return m, err
}

func writeMessage(w io.Writer, m []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(m))), m...))
	return err
}

// answer lists the keys of a keyring, or signs with one of them.
func answer(ring agent.ExtendedAgent, request []byte) []byte {
	if request[0] == messageList {
		keys, err := ring.List()
		if err != nil {
			return []byte{messageFailure}
		}
		reply := binary.BigEndian.AppendUint32([]byte{messageListAnswer}, uint32(len(keys)))
		for _, k := range keys {
			reply = append(reply, ssh.Marshal(struct {
				Blob    []byte
				Comment string
			}{k.Blob, k.Comment})...)
		}
		return reply
	}
	var sign struct {
		Blob  []byte `sshtype:"13"`
		Data  []byte
		Flags uint32
	}
	if err := ssh.Unmarshal(request, &sign); err != nil {
		return []byte{messageFailure}
	}
	key := &agent.Key{Blob: sign.Blob}
	if parsed, err := ssh.ParsePublicKey(sign.Blob); err == nil {
		key.Format = parsed.Type()
	}
	signature, err := ring.SignWithFlags(key, sign.Data, agent.SignatureFlags(sign.Flags))
	if err != nil {
		return []byte{messageFailure}
	}
	return append([]byte{messageSignResponse}, ssh.Marshal(struct{ Signature []byte }{ssh.Marshal(signature)})...)
}
