package layertar_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/stagewright/stagewright/internal/layertar"
	"github.com/stagewright/stagewright/internal/tree"
)

// contents keeps what Extract hands over.
type contents map[tree.Digest][]byte

func (c contents) add(r io.Reader) (tree.Digest, int64, error) {
	b, err := io.ReadAll(r)
	d := tree.Digest(sha256.Sum256(b))
	c[d] = b
	return d, int64(len(b)), err
}

func (c contents) open(d tree.Digest) (io.ReadCloser, error) {
	if b, ok := c[d]; ok {
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	return nil, fs.ErrNotExist
}

// archiveOf makes an archive of entries: "d/", "f", "l -> target", "h => target".
func archiveOf(t testing.TB, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e, Typeflag: tar.TypeReg, Mode: 0o640, Uid: 1, Gid: 2}
		if name, target, ok := strings.Cut(e, " -> "); ok {
			h.Name, h.Linkname, h.Typeflag = name, target, tar.TypeSymlink
		} else if name, target, ok := strings.Cut(e, " => "); ok {
			h.Name, h.Linkname, h.Typeflag, h.Mode = name, target, tar.TypeLink, 0o600
		} else if strings.HasSuffix(e, "/") {
			h.Typeflag, h.Mode = tar.TypeDir, 0o750
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func listed(root *tree.Node) string {
	var lines []string
	for p, n := range tree.Walk(root) {
		if p != "" {
			m := n.Meta()
			lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %s %04o %d:%d %s", p, n.Kind(), m.Mode, m.UID, m.GID, n.Target())))
		}
	}
	return strings.Join(lines, "\n")
}

func TestExtract(t *testing.T) {
	tests := []struct {
		name    string
		chroot  bool
		entries []string
		want    string // below "dir", or the error
	}{
		{"files and directories", false, []string{"./", "a/", "a/f", "b/c/g"}, "dir/a directory 0750 1:2\ndir/a/f file 0640 1:2\ndir/b directory 0755 0:0\ndir/b/c directory 0755 0:0\ndir/b/c/g file 0640 1:2"},
		{"a directory joins, a file replaces", false, []string{"there/f", "there/", "there/f/g/"}, "/there/f"},
		{"the last counts", false, []string{"a/f", "a", "b", "b/"}, "dir/a file 0640 1:2\ndir/b directory 0750 1:2"},
		{"hard links have what the last says", false, []string{"f", "g => f", "h => g"}, "dir/f file 0600 1:2\ndir/g file 0600 1:2\ndir/h file 0600 1:2"},
		{"names like whiteouts", false, []string{".wh.x"}, "dir/.wh.x file 0640 1:2"},
		{"through a link of the tree", false, []string{"l -> /other", "l/f"}, "dir/l symlink 0777 1:2 /other\nother/f file 0640 1:2"},
		{"through a link of the directory", true, []string{"s/", "l -> /s", "l/f"}, "dir/l symlink 0777 1:2 /s\ndir/s directory 0750 1:2\ndir/s/f file 0640 1:2"},
		{"upwards", true, []string{"../../f", "/g", "x => ../f"}, "dir/f file 0600 1:2\ndir/g file 0640 1:2\ndir/x file 0600 1:2"},
		{"upwards refused", false, []string{"../f"}, `".."`},
		{"a link to nothing", true, []string{"l -> none", "l/f"}, "file does not exist"},
		{"a loop", true, []string{"l -> l", "l/f"}, "too many levels"},
		{"a hard link to nothing", true, []string{"h => none"}, "file does not exist"},
		{"a hard link to a directory", true, []string{"d/", "h => d"}, "directory"},
		{"a hard link to itself", true, []string{"f", "f => f"}, "file does not exist"},
	}
	for _, test := range tests {
		e := tree.Edit(nil)
		for _, dir := range []string{"dir/there", "other"} {
			if err := e.MkdirAll(dir, tree.Meta{Mode: 0o755}); err != nil {
				t.Fatal(err)
			}
		}
		err := layertar.Extract(e, bytes.NewReader(archiveOf(t, test.entries...)), layertar.ExtractOptions{
			Dir: "dir", Chroot: test.chroot, Parent: tree.Meta{Mode: 0o755}, Content: contents{}.add,
		})
		if err != nil {
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: %v", test.name, err)
			}
			if entry := (*layertar.EntryError)(nil); !errors.As(err, &entry) {
				t.Errorf("%s: %T", test.name, err)
			}
			continue
		}
		got := strings.NewReplacer("dir directory 0755 0:0\n", "", "dir/there directory 0755 0:0\n", "", "\nother directory 0755 0:0", "", "\ndir/there directory 0755 0:0", "").Replace(listed(e.Tree()))
		if got != test.want {
			t.Errorf("%s: got\n%s\nwant\n%s", test.name, got, test.want)
		}
	}

	var limit *layertar.LimitError
	err := layertar.Extract(tree.Edit(nil), bytes.NewReader(archiveOf(t, "a/b/c/d/e/f")), layertar.ExtractOptions{Content: contents{}.add, Limits: layertar.Limits{Entries: 5}})
	if !errors.As(err, &limit) {
		t.Errorf("too many directories: %v", err)
	}
}

// What an archive makes is a tree that a layer can carry, unless it has names like
// whiteouts, and nothing outside of the directory without a link that leads there.
func FuzzExtract(f *testing.F) {
	f.Add(archiveOf(f, "a/", "a/f", "l -> /a", "l/g", "h => a/f"), true)
	f.Add(archiveOf(f, "../up", "x -> ..", "x/y"), true)
	f.Add(archiveOf(f, "f", "g => f", "f/", "f/f"), false)
	f.Fuzz(func(t *testing.T, data []byte, chroot bool) {
		e := tree.Edit(nil)
		if err := e.MkdirAll("dir", tree.Meta{Mode: 0o755}); err != nil {
			t.Fatal(err)
		}
		files := contents{}
		if err := layertar.Extract(e, bytes.NewReader(data), layertar.ExtractOptions{
			Dir: "dir", Chroot: chroot, Parent: tree.Meta{Mode: 0o755}, Content: files.add, Limits: layertar.Limits{Entries: 1000, TotalSize: 1 << 20},
		}); err != nil {
			return
		}
		root := e.Tree()
		if chroot && (root.Len() != 1 || !root.Child("dir").IsDir()) {
			t.Fatalf("it left its directory:\n%s", listed(root))
		}
		var b bytes.Buffer
		if err := layertar.Write(&b, tree.Diff(nil, root), files.open); err != nil {
			if errors.Is(err, layertar.ErrName) {
				return
			}
			t.Fatal(err)
		}
		x, err := layertar.Read(&b, layertar.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := x.Apply(nil)
		if err != nil || again.Identity() != root.Identity() {
			t.Fatalf("another tree came back (%v):\n%s\nwant\n%s", err, listed(again), listed(root))
		}
	})
}

// TestExtractBounds: what a small archive can grow to has limits, and ends with an error.
func TestExtractBounds(t *testing.T) {
	header := func(h *tar.Header) []byte {
		var b bytes.Buffer
		if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	attribute := func(name string, size int) []byte {
		return header(&tar.Header{
			Name: "d/", Typeflag: tar.TypeDir, Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.user." + name: strings.Repeat("x", size)},
		})
	}
	// GNU sparse 1.0 has its map in the data: here one hole.
	hole := func(name string) []byte {
		return slices.Concat(paxEntry("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", name, "GNU.sparse.realsize", "600000"),
			header(&tar.Header{Name: name, Mode: 0o644, Size: 512}), sparseMap(t, "1\n600000\n0\n"))
	}
	for _, c := range []struct {
		name string
		tar  []byte
		lim  layertar.Limits
		what string
	}{
		{"attributes of a directory that comes again and again", slices.Concat(attribute("a", 60), attribute("b", 60)), layertar.Limits{Xattrs: 100}, "bytes of extended attributes"},
		{"holes of several files", slices.Concat(hole("a"), hole("b")), layertar.Limits{TotalSize: 1 << 20}, "bytes of files"},
	} {
		var limit *layertar.LimitError
		err := layertar.Extract(tree.Edit(nil), bytes.NewReader(c.tar), layertar.ExtractOptions{
			Limits: c.lim, Content: func(r io.Reader) (tree.Digest, int64, error) {
				n, err := io.Copy(io.Discard, r)
				return tree.Digest{1}, n, err
			},
		})
		if !errors.As(err, &limit) || limit.What != c.what {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	again := slices.Concat(attribute("a", 60), attribute("a", 50))
	e := tree.Edit(nil)
	if err := layertar.Extract(e, bytes.NewReader(again), layertar.ExtractOptions{Limits: layertar.Limits{Xattrs: 100}}); err != nil {
		t.Fatal(err)
	}
	if got := e.Lookup("d").Meta().Xattrs; len(got) != 1 || len(got[0].Value) != 50 {
		t.Errorf("an attribute that is set twice: %v", got)
	}
}

// TestIsArchiveReadsLittle: a stream of records that never come to an entry is no archive.
func TestIsArchiveReadsLittle(t *testing.T) {
	if !layertar.IsArchive(bytes.NewReader(archiveOf(t, "f"))) || layertar.IsArchive(strings.NewReader("no archive")) {
		t.Error("archives are not told from others")
	}
	record := paxEntry("comment", "x")
	endless := &repeated{data: record}
	if layertar.IsArchive(endless) {
		t.Error("records alone are an archive")
	}
	if endless.n > 16<<20 {
		t.Errorf("%d bytes were read", endless.n)
	}
}

// repeated is a stream without end.
type repeated struct {
	data []byte
	n    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.n%len(r.data):])
	r.n += n
	return n, nil
}

// paxEntry is an extended header with records, which archive/tar does not write alone.
func paxEntry(records ...string) []byte {
	var body string
	for i := 0; i < len(records); i += 2 {
		text := " " + records[i] + "=" + records[i+1] + "\n"
		n := len(text) + 1
		for len(fmt.Sprint(n))+len(text) != n {
			n++
		}
		body += fmt.Sprint(n) + text
	}
	return slices.Concat(rawHeader('x', len(body)), padded(body))
}

func rawHeader(kind byte, size int) []byte {
	h := make([]byte, 512)
	copy(h, "x")
	copy(h[100:], "0000644\x000000000\x000000000\x00"+fmt.Sprintf("%011o\x00%011o\x00", size, 0))
	h[156] = kind
	copy(h[257:], "ustar\x0000")
	copy(h[148:156], "        ")
	sum := 0
	for _, b := range h {
		sum += int(b)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
	return h
}

func padded(body string) []byte {
	return append([]byte(body), make([]byte, (512-len(body)%512)%512)...)
}

func sparseMap(t testing.TB, text string) []byte {
	t.Helper()
	if len(text) > 512 {
		t.Fatal("a long map")
	}
	return padded(text)
}
