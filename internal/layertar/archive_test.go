package layertar

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/tree"
)

// archive makes a tar of entries: "f name content", "d name", "l name target", "h name target".
func archive(t testing.TB, lines string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		f = append(f, "")
		h := &tar.Header{Name: f[1], Mode: 0o644, Uid: 7, Gid: 8}
		switch f[0] {
		case "f":
			h.Typeflag, h.Size = tar.TypeReg, int64(len(f[2]))
		case "d":
			h.Typeflag, h.Mode = tar.TypeDir, 0o755
		case "l":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f[2]
		case "h":
			h.Typeflag, h.Linkname = tar.TypeLink, f[2]
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f[2])[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestReadArchive(t *testing.T) {
	for _, c := range []struct{ name, entries, want string }{
		{"whiteouts are names", "f .wh.a x\nf d/.wh..wh..opq y", ".wh.a d d/.wh..wh..opq"},
		{"absolute names are relative to the archive", "f /etc/x 1\nf //b 2", "b etc etc/x"},
		{"dots inside are taken", "f a/../b 1\nf ./c/./d 2\nf a..b 3\nf /../e 4", "a..b b c c/d e"},
		{"the last of several entries", "f a 1\nf a 22", "a"},
		{"a directory takes the place of a file", "f a 1\nd a", "a"},
		{"hard links", "f a 1\nh b a\nh /c ./a", "a b c"},
		{"through a link inside", "d x\nl y x\nf y/z 1", "x x/z y"},
	} {
		index, err := ReadArchive(bytes.NewReader(archive(t, c.entries)), Limits{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		root, err := index.Apply(nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for p := range tree.Walk(root) {
			if p != "" {
				got = append(got, p)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	for _, c := range []struct {
		name, entries string
		want          error
	}{
		{"a name that leaves", "f ../x 1", ErrName},
		{"one that leaves later", "f a/../../x 1", ErrName},
		{"a hard link out", "h x ../../etc/passwd", ErrName},
		{"a hard link to nothing", "h x etc/passwd", fs.ErrNotExist},
		{"a hard link to what comes later", "h x a\nf a 1", fs.ErrNotExist},
		{"below a file", "f a 1\nf a/b 2", ErrConflict},
	} {
		if _, err := ReadArchive(bytes.NewReader(archive(t, c.entries)), Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
	}
}
