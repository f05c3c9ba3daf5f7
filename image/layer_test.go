package image_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
)

func TestLayerUndoesEachCompression(t *testing.T) {
	tarball := imagetest.Tar(t, map[string]string{"f": strings.Repeat("text ", 50000)})
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, stored := range map[string][]byte{
		"plain": tarball, "gzip": imagetest.Gzip(t, tarball), "zstd": enc.EncodeAll(tarball, nil),
		"two gzip members": append(imagetest.Gzip(t, tarball[:1000]), imagetest.Gzip(t, tarball[1000:])...),
	} {
		opened, closed := 0, 0
		l := image.NewLayer(image.LayerInfo{
			Digest: imagetest.Digest(stored), DiffID: imagetest.Digest(tarball), Size: int64(len(stored)),
			Open: func() (io.ReadCloser, error) {
				opened++
				return closeFunc{bytes.NewReader(stored), func() { closed++ }}, nil
			},
		})
		if mt, _ := l.MediaType(); mt != types.OCILayer || opened != 0 {
			t.Errorf("%s: media type %s, opened %d times before use", name, mt, opened)
		}
		rc, err := l.Uncompressed()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(rc)
		if cerr := rc.Close(); err != nil || cerr != nil || !bytes.Equal(got, tarball) {
			t.Errorf("%s: %d bytes, want %d; %v, %v", name, len(got), len(tarball), err, cerr)
		}
		if opened != 1 || closed != 1 {
			t.Errorf("%s: opened %d times, closed %d times", name, opened, closed)
		}
	}
}

func TestLayerWithHugeWindowIsRefused(t *testing.T) {
	// A zstd frame whose header asks for a window of 2 GiB (RFC 8878, 3.1.1.1.2: exponent 21).
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00}
	l := image.NewLayer(image.LayerInfo{Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(frame)), nil }})
	rc, err := l.Uncompressed()
	if err == nil {
		_, err = io.ReadAll(rc)
		rc.Close()
	}
	if !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestLayerErrors(t *testing.T) {
	gone := errors.New("gone")
	digest := imagetest.Digest([]byte("x"))
	l := image.NewLayer(image.LayerInfo{Digest: digest, Open: func() (io.ReadCloser, error) { return nil, gone }})
	if _, err := l.Uncompressed(); !errors.Is(err, gone) || !strings.Contains(err.Error(), digest.String()) {
		t.Errorf("error %v", err)
	}
	if _, err := image.NewLayer(image.LayerInfo{Digest: digest}).Compressed(); err == nil || !strings.Contains(err.Error(), "not available") {
		t.Errorf("a layer without bytes: %v", err)
	}
	closed := 0
	l = image.NewLayer(image.LayerInfo{Open: func() (io.ReadCloser, error) {
		return closeFunc{strings.NewReader("\x1f\x8bno gzip"), func() { closed++ }}, nil
	}})
	if _, err := l.Uncompressed(); err == nil || closed != 1 {
		t.Errorf("broken gzip: %v, closed %d times", err, closed)
	}
}

func TestOpenLayerPassesTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := image.NewLayer(image.LayerInfo{OpenContext: func(ctx context.Context) (io.ReadCloser, error) { return nil, ctx.Err() }})
	if _, err := image.OpenLayer(ctx, l); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestVerifyFindsEveryDifference(t *testing.T) {
	const text = "some text"
	digest := imagetest.Digest([]byte(text))
	for name, c := range map[string]struct {
		in   string
		size int64
		want string
	}{
		"right":   {text, 9, ""},
		"changed": {"some tex!", 9, "the bytes have the digest sha256:"},
		"short":   {"some", 9, "ended after 4 of 9 bytes"},
		"long":    {text + "!", 9, "more than the 9 bytes"},
		"empty":   {"", 9, "ended after 0 of 9 bytes"},
	} {
		// One byte at a time, and the end together with the last byte: the two extremes of what io.Reader allows.
		for _, r := range []io.Reader{&oneByte{c.in}, strings.NewReader(c.in)} {
			vr, err := image.Verify(io.NopCloser(r), digest, c.size)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(vr)
			var ce *image.ContentError
			switch {
			case c.want == "" && (err != nil || string(got) != text):
				t.Errorf("%s: %q, %v", name, got, err)
			case c.want != "" && (!errors.As(err, &ce) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%s: error %v, want %q", name, err, c.want)
			case int64(len(got)) > c.size:
				t.Errorf("%s: gave %d bytes of %d", name, len(got), c.size)
			}
			if _, err2 := vr.Read(make([]byte, 1)); c.want != "" && !errors.As(err2, &ce) {
				t.Errorf("%s: reading on gives %v", name, err2)
			}
		}
	}
	if _, err := image.Verify(io.NopCloser(strings.NewReader("")), v1.Hash{Algorithm: "md5", Hex: "00"}, 0); err == nil {
		t.Error("md5 is taken for a digest")
	}
}

func TestReadVerifiedIsBounded(t *testing.T) {
	text := []byte("text")
	d := v1.Descriptor{Digest: imagetest.Digest(text), Size: 4}
	opened := 0
	open := func(context.Context) (io.ReadCloser, error) {
		opened++
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	if b, err := image.ReadVerified(t.Context(), d, 4, open); err != nil || !bytes.Equal(b, text) {
		t.Errorf("%q, %v", b, err)
	}
	for _, size := range []int64{5, -1, 1 << 62} {
		d.Size = size
		if _, err := image.ReadVerified(t.Context(), d, 4, open); err == nil {
			t.Errorf("a descriptor of %d bytes was read", size)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Size = 4
	if _, err := image.ReadVerified(ctx, d, 4, open); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
}

type closeFunc struct {
	io.Reader
	close func()
}

func (c closeFunc) Close() error { c.close(); return nil }

// oneByte gives a string byte by byte, the last together with io.EOF.
type oneByte struct{ s string }

func (o *oneByte) Read(p []byte) (int, error) {
	if o.s == "" || len(p) == 0 {
		return 0, io.EOF
	}
	p[0], o.s = o.s[0], o.s[1:]
	if o.s == "" {
		return 1, io.EOF
	}
	return 1, nil
}

// sure says of itself that it verifies one digest.
type sure struct {
	io.Reader
	digest v1.Hash
}

func (s sure) Verifies(h v1.Hash) bool { return h == s.digest }
func (sure) Close() error              { return nil }

// TestVerifyHashesOnce: what verifies itself is believed for its own digest, and the size is looked at all the same.
func TestVerifyHashesOnce(t *testing.T) {
	digest, other := imagetest.Digest([]byte("some text")), imagetest.Digest([]byte("other"))
	for name, c := range map[string]struct {
		in   string
		of   v1.Hash
		good bool
	}{
		"its own digest":       {"SOME TEXT", digest, true},
		"another digest":       {"SOME TEXT", other, false},
		"its own, and shorter": {"SOME", digest, false},
		"its own, and longer":  {"SOME TEXT!", digest, false},
	} {
		vr, err := image.Verify(sure{strings.NewReader(c.in), c.of}, digest, 9)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(vr); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
