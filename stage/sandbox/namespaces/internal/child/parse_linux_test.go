package child

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestMountsBelow(t *testing.T) {
	const info = `22 27 0:21 / /proc rw,relatime - proc proc rw
23 27 0:22 / /a/b rw - ext4 x rw
24 27 0:22 / /a/b\040c rw - ext4 x rw
25 27 0:22 / /a/b/d\134e rw - ext4 x rw
26 27 0:22 / /a/b/x/y rw - ext4 x rw
short line
`
	want := []string{`/a/b/d\e`, "/a/b/x/y"}
	if got := mountsBelow(info, "/a/b"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMessages(t *testing.T) {
	var b bytes.Buffer
	in := Config{Args: []string{"a"}, Env: []string{"K=\xff"}, Mounts: []Mount{{Data: []byte{0, 255}}}}
	if err := Send(&b, &in); err != nil {
		t.Fatal(err)
	}
	var out Config
	if err := Receive(&b, &out); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Mounts[0].Data, in.Mounts[0].Data) {
		t.Errorf("the data came back as %q", out.Mounts[0].Data)
	}
	if out.Env[0] != in.Env[0] {
		t.Errorf("the environment came back as %q, want %q: not every string is UTF-8", out.Env[0], in.Env[0])
	}
	if err := Receive(&b, &out); err != io.EOF {
		t.Errorf("after the last message: %v", err)
	}
	for _, bad := range []string{"x", "sbx\x02\x00\x00\x00\x00", magic + "\xff\xff\xff\xff", magic + "\x02\x00\x00\x00{}"} {
		if err := Receive(strings.NewReader(bad), &out); err == nil || err == io.EOF {
			t.Errorf("%q was taken: %v", bad, err)
		}
	}
}

// FuzzReceive: whatever the bytes, no panic and no memory beyond them.
func FuzzReceive(f *testing.F) {
	var b bytes.Buffer
	if err := Send(&b, &Config{Args: []string{"a", ""}, Mounts: []Mount{{Kind: Bind}}, Groups: []uint32{1}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	b.Reset()
	if err := Send(&b, &Report{Created: []Created{{Path: "x"}}, Failure: &Failure{Tried: []string{"y"}}}); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, msg []byte) {
		var r Report
		if Receive(bytes.NewReader(msg), &r) == nil {
			var again bytes.Buffer
			if err := Send(&again, &r); err != nil {
				t.Error(err)
			}
		}
		_ = Receive(bytes.NewReader(msg), new(Config))
	})
}

// FuzzInterpreter: the first bytes of a command are the image's.
func FuzzInterpreter(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Add([]byte("#!"))
	elf := make([]byte, 200)
	copy(elf, "\x7fELF\x02\x01\x01")
	elf[32], elf[54], elf[56] = 64, 56, 255
	elf[64] = 3
	f.Add(elf)
	f.Fuzz(func(t *testing.T, head []byte) {
		if s := interpreter(head); len(s) > len(head) {
			t.Errorf("%d bytes of %d", len(s), len(head))
		}
		_ = machine(head)
	})
}
