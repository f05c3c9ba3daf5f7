package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/imagetest"
)

// A layer is read while it is written.
func ExampleNewGrowing() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file, err := os.Create(filepath.Join(dir, "layer"))
	if err != nil {
		log.Fatal(err)
	}
	g := image.NewGrowing(file, false)
	defer g.Close()
	go func() {
		text := []byte("some bytes")
		n, _ := file.Write(text)
		g.Grow(int64(n))
		g.Finish(imagetest.Digest(text))
	}()
	read, err := io.ReadAll(g.Reader(context.Background()))
	digest, size, whole := g.Digest()
	fmt.Printf("%s %v %.13s %d %v\n", read, err, digest, size, whole)
	// Output: some bytes <nil> sha256:0d22cd 10 true
}

type growingSource struct{ *bytes.Reader }

func (growingSource) Close() error { return nil }

// Each reader gets all bytes, at whatever pace they come.
func TestGrowing(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	data := make([]byte, 300_000)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	g := image.NewGrowing(growingSource{bytes.NewReader(data)}, true)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if got, err := io.ReadAll(g.Reader(t.Context())); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, error %v", len(got), err)
			}
		})
	}
	for left := len(data); left > 0; {
		n := min(left, random.IntN(30_000))
		g.Grow(int64(n))
		left -= n
	}
	if _, _, whole := g.Digest(); whole {
		t.Error("it is whole before it is finished")
	}
	g.Finish(imagetest.Digest(data))
	all.Wait()
	g.Fail(errors.New("too late"))
	g.Grow(1)
	digest, size, whole := g.Digest()
	if digest != imagetest.Digest(data) || size != int64(len(data)) || !whole || !g.Edited() {
		t.Error(digest, size, whole)
	}
}

// A reader ends with what ended the bytes, or itself.
func TestGrowingEnds(t *testing.T) {
	failed, stopped := errors.New("failed"), errors.New("stopped")
	for _, test := range []struct {
		name string
		end  func(g *image.Growing, stop context.CancelCauseFunc)
		want error
	}{
		{"failed", func(g *image.Growing, _ context.CancelCauseFunc) { g.Fail(failed) }, failed},
		{"the context", func(_ *image.Growing, stop context.CancelCauseFunc) { stop(stopped) }, stopped},
		{"less than was said", func(g *image.Growing, _ context.CancelCauseFunc) { g.Grow(100) }, io.ErrUnexpectedEOF},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			g := image.NewGrowing(growingSource{bytes.NewReader([]byte("some"))}, false)
			g.Grow(4)
			r := g.Reader(ctx)
			if got, err := io.ReadAll(io.LimitReader(r, 4)); string(got) != "some" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			go test.end(g, stop)
			if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, test.want) {
				t.Errorf("%d, %v; want %v", n, err, test.want)
			}
		})
	}
	g := image.NewGrowing(growingSource{bytes.NewReader(nil)}, false)
	g.Fail(nil)
	if _, err := io.ReadAll(g.Reader(t.Context())); err == nil || !strings.HasPrefix(err.Error(), "image: ") {
		t.Error(err)
	}
}
