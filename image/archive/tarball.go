package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/stagewright/stagewright/image"
	"github.com/stagewright/stagewright/image/internal/atomicfile"
	"github.com/stagewright/stagewright/image/internal/content"
)

// tarball is a tar file as a list of what it is made of: bytes that are known, and blobs that are known by digest. So its size is known
// before a blob is opened, and a file on disk can be compared with it without opening one.
type tarball struct {
	parts []part
	size  int64
	err   error // the first
	names []string
	tell  func(image.Transfer) // nil for nobody
}

// part is either bytes or a blob.
type part struct {
	bytes []byte
	blob  *content.Blob
}

func (t *tarball) add(b []byte) {
	t.parts = append(t.parts, part{bytes: b})
	t.size += int64(len(b))
}

func (t *tarball) file(name string, b []byte) {
	t.header(name, int64(len(b)))
	t.add(b)
	t.pad(int64(len(b)))
}

func (t *tarball) blob(name string, b content.Blob) {
	t.header(name, b.Size)
	t.parts = append(t.parts, part{blob: &b})
	t.size += b.Size
	t.pad(b.Size)
}

// dir adds a directory.
func (t *tarball) dir(name string) {
	t.entry(&tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755})
}

// header adds the header of a file.
func (t *tarball) header(name string, size int64) {
	t.entry(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644})
}

// entry adds a header, in which everything is fixed but type, name, mode and size.
func (t *tarball) entry(h *tar.Header) {
	var buf bytes.Buffer
	h.ModTime = time.Unix(0, 0)
	if err := tar.NewWriter(&buf).WriteHeader(h); err != nil && t.err == nil {
		t.err = fmt.Errorf("tar entry %s: %w", h.Name, err)
	}
	t.add(buf.Bytes())
}

const blockSize = 512

func (t *tarball) pad(size int64) {
	if n := size % blockSize; n != 0 {
		t.add(make([]byte, blockSize-n))
	}
}

// end is what every tar file ends with.
func end() []byte { return make([]byte, 2*blockSize) }

// create writes the file, in a directory that is made when it is missing, and gives it its name at the end.
func (t *tarball) create(ctx context.Context, path string) (err error) {
	undo, err := atomicfile.MakeParents(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			undo()
		}
	}()
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	if err := t.writeTo(ctx, f); err != nil {
		f.Discard()
		return err
	}
	return f.Commit()
}

func (t *tarball) writeTo(ctx context.Context, w io.Writer) error {
	for _, p := range t.parts {
		var err error
		if p.blob != nil {
			if err = p.blob.Send(ctx, w, t.tell); err != nil {
				err = fmt.Errorf("writing blob %s: %w", p.blob.Digest, err)
			}
		} else if err = context.Cause(ctx); err == nil {
			_, err = w.Write(p.bytes)
		}
		if err != nil {
			return err
		}
	}
	_, err := w.Write(end())
	return err
}

// equal reports whether the file at path, of the given size, has the bytes of the tarball.
func (t *tarball) equal(ctx context.Context, path string, size int64) bool {
	if size != t.size+2*blockSize {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 256<<10)
	for _, p := range append(t.parts[:len(t.parts):len(t.parts)], part{bytes: end()}) {
		if p.blob != nil {
			b := *p.blob
			b.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(io.LimitReader(r, b.Size)), nil }
			if b.Copy(ctx, io.Discard) != nil {
				return false
			}
			continue
		}
		got := make([]byte, len(p.bytes))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, p.bytes) {
			return false
		}
	}
	return true
}
