package decompress_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ulikunitz/xz"

	"github.com/stagewright/stagewright/internal/decompress"
)

// xzOf writes a stream; the checksum is one of those of package xz.
func xzOf(t testing.TB, data []byte, c xz.WriterConfig) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := c.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unxz(data []byte) ([]byte, error) {
	r, _, err := decompress.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// mixed is data that has compressible and other chunks.
func mixed(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < n {
		for range 5000 {
			b.WriteByte(byte(random.Uint32()))
		}
		b.WriteString(strings.Repeat("the same again, ", 500))
	}
	return b.Bytes()[:n]
}

func TestXzStreams(t *testing.T) {
	data := mixed(300_001)
	var all, want []byte
	for _, c := range []xz.WriterConfig{
		{NoCheckSum: true}, {CheckSum: xz.CRC32}, {CheckSum: xz.CRC64}, {CheckSum: xz.SHA256}, {BlockSize: 50_000}, {DictCap: 4096},
	} {
		packed := xzOf(t, data, c)
		if got, err := unxz(packed); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%+v: %d bytes, %v", c, len(got), err)
		}
		all = append(append(all, packed...), 0, 0, 0, 0, 0, 0, 0, 0)
		want = append(want, data...)
	}
	if got, err := unxz(all); err != nil || !bytes.Equal(got, want) {
		t.Errorf("all streams with padding: %d bytes, %v", len(got), err)
	}
	if got, err := unxz(xzOf(t, nil, xz.WriterConfig{})); err != nil || len(got) != 0 {
		t.Errorf("an empty stream: %d bytes, %v", len(got), err)
	}
}

// TestXzDamage: no byte of a stream can be another one, and none can be missing.
func TestXzDamage(t *testing.T) {
	data := mixed(600)
	packed := xzOf(t, data, xz.WriterConfig{BlockSize: 300, DictCap: 4096})
	for i := range packed {
		other := bytes.Clone(packed)
		other[i] ^= 0x10
		if got, err := unxz(other); err == nil && decompress.Detect(other) == decompress.Xz {
			t.Errorf("byte %d is another one: %d bytes, no error", i, len(got))
		}
		if got, err := unxz(packed[:i]); err == nil && i >= decompress.DetectLen {
			t.Errorf("cut off at %d: %d bytes, no error", i, len(got))
		}
	}
}

// TestXzDictionary: what a block's header asks for is refused before it is reserved.
func TestXzDictionary(t *testing.T) {
	packed := xzOf(t, []byte("hello"), xz.WriterConfig{})
	const block = 12
	size := (int(packed[block]) + 1) * 4
	at := block + bytes.LastIndex(packed[block:block+size-4], []byte{0x21, 1}) + 2
	for code, ok := range map[byte]bool{0: true, 28: true, 29: false, 40: false, 41: false, 255: false} {
		packed[at] = code
		binary.LittleEndian.PutUint32(packed[block+size-4:], crc32.ChecksumIEEE(packed[block:block+size-4]))
		if got, err := unxz(packed); (err == nil) != ok || ok && string(got) != "hello" {
			t.Errorf("dictionary code %d: %q, %v", code, got, err)
		}
	}
}
