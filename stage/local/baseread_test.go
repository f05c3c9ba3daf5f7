package local_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	godigest "github.com/opencontainers/go-digest"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
	"github.com/stagewright/stagewright/stage/local"
)

// promisedBase is a base whose one layer promises something and sends something else.
type promisedBase struct {
	promised, plain []byte
	diffID          v1.Hash // zero for that of plain
	send            func(ctx context.Context) io.Reader
}

func (b *promisedBase) Image(context.Context, string, platform.Platform) (v1.Image, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(b.promised))
	if err != nil {
		return nil, err
	}
	diffID := b.diffID
	if diffID == (v1.Hash{}) {
		if diffID, _, err = v1.SHA256(bytes.NewReader(b.plain)); err != nil {
			return nil, err
		}
	}
	return mutate.AppendLayers(empty.Image, image.NewLayer(image.LayerInfo{
		Digest: digest, DiffID: diffID, Size: size, MediaType: types.OCILayer,
		OpenContext: func(ctx context.Context) (io.ReadCloser, error) {
			return image.Verify(io.NopCloser(b.send(ctx)), digest, size)
		},
	}))
}

func (b *promisedBase) Resolve(ctx context.Context, ref string, p platform.Platform) (stage.BaseImage, error) {
	img, err := b.Image(ctx, ref, p)
	if err != nil {
		return stage.BaseImage{}, err
	}
	d, err := img.Digest()
	return stage.BaseImage{Name: ref + "@" + d.String(), Digest: godigest.Digest(d.String())}, err
}

// waiting is a connection on which nothing comes any more.
type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, context.Cause(w.ctx)
}

// TestBaseBytes: what a base's layer sends is compared with what it promises before anything of it is believed,
// and what is wrong early is said early.
func TestBaseBytes(t *testing.T) {
	layer := func(name string) (compressed, plain []byte) {
		var p, c bytes.Buffer
		w := tar.NewWriter(&p)
		content := strings.Repeat(name, 200_000)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}), second(io.WriteString(w, content)), w.Close()); err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewWriterLevel(&c, gzip.NoCompression) // so that all have one length
		if err := errors.Join(err, second(z.Write(p.Bytes())), z.Close()); err != nil {
			t.Fatal(err)
		}
		return c.Bytes(), p.Bytes()
	}
	good, plain := layer("a")
	other, _ := layer("b")
	sends := func(parts ...[]byte) func(context.Context) io.Reader {
		return func(context.Context) io.Reader { return bytes.NewReader(bytes.Join(parts, nil)) }
	}
	damaged := bytes.Clone(good)
	damaged[len(damaged)/2] ^= 1
	wrong := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("1", 64)}
	tests := []struct {
		name    string
		diffID  v1.Hash
		send    func(context.Context) io.Reader
		content bool // it is an *image.ContentError
		says    string
	}{
		{name: "as promised", send: sends(good)},
		{name: "other files", send: sends(other), content: true, says: "the bytes have the digest"},
		{name: "damaged", send: sends(damaged)},
		{name: "cut", send: sends(good[:len(good)-1]), content: true, says: "ended after"},
		{name: "longer", send: sends(good, good), content: true, says: "more than"},
		{name: "another diff ID", diffID: wrong, send: sends(good), says: "diff ID"},
		{name: "no tar, and then nothing", send: func(ctx context.Context) io.Reader {
			return io.MultiReader(strings.NewReader(strings.Repeat("no tar\n", 100)), waiting{ctx})
		}, says: "tar"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			base := &promisedBase{promised: good, plain: plain, diffID: test.diffID, send: test.send}
			g := compileFor(t, stage.From("base:1").CopyFrom(stage.Dir(t.TempDir()), ".", "/x"), stage.Options{Resolver: base})
			e := executor(t, t.TempDir(), local.Options{Runner: &picky{}, Images: base})
			res, err := e.Execute(t.Context(), g, stage.Request{})
			if res != nil {
				defer res.Close()
			}
			if good := test.name == "as promised"; good != (err == nil) {
				t.Fatalf("got %v", err)
			}
			if _, ok := errors.AsType[*image.ContentError](err); test.content && !ok || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %T %v, want one that says %q", err, err, test.says)
			}
		})
	}
}

func second(_ int, err error) error { return err }
