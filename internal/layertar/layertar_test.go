package layertar

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stagewright/stagewright/internal/tree"
)

// contents are files by digest.
type contents map[tree.Digest]string

func (c contents) open(d tree.Digest) (io.ReadCloser, error) {
	s, ok := c[d]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(strings.NewReader(s)), nil
}

func (c contents) file(m tree.Meta, s string, group uint64) *tree.Node {
	d := tree.Digest(sha256.Sum256([]byte(s)))
	c[d] = s
	return tree.NewFile(m, d, int64(len(s)), group)
}

const golden = "sha256:a184338fdee3c3d8ebd1f958dfe1d52b6c110d151c0d75094f58559b9d02b104"

// everything is a list of changes with every kind and every reason for PAX.
func everything(c contents) []tree.Change {
	long := strings.Repeat("long-name-", 20)
	cap := []tree.Xattr{{Name: "security.capability", Value: []byte{1, 0, 0, 2, 0, 0xff}}, {Name: "user.é", Value: []byte("ü=\n")}}
	return []tree.Change{
		{Path: "", Node: tree.NewDir(tree.Meta{Mode: 0o750})},
		{Path: "a"},
		{Path: "bin", Node: tree.NewDir(tree.Meta{Mode: 0o755, Mtime: 1e9}), Opaque: true},
		{Path: "bin/one", Node: c.file(tree.Meta{Mode: 0o4755, Xattrs: cap}, "one", 5)},
		{Path: "bin/other", Node: c.file(tree.Meta{Mode: 0o755}, "one", 5)}, // same group, other mode: a file of its own
		{Path: "bin/two", Node: c.file(tree.Meta{Mode: 0o4755, Xattrs: cap}, "one", 5)},
		{Path: "big-ids", Node: c.file(tree.Meta{UID: math.MaxUint32 - 1, GID: 3_000_000}, "", 0)},
		{Path: "dev-null", Node: tree.NewDevice(tree.CharDevice, tree.Meta{Mode: 0o666}, 1, 3)},
		{Path: "dev-sda", Node: tree.NewDevice(tree.BlockDevice, tree.Meta{Mode: 0o660}, 8, 1<<19)},
		{Path: "fifo", Node: tree.NewFifo(tree.Meta{Mode: 0o600})},
		{Path: long, Node: tree.NewDir(tree.Meta{Mode: 0o755})},
		{Path: long + "/" + long, Node: tree.NewSymlink(tree.Meta{}, "/"+long+"/"+long)},
		{Path: "old-time", Node: c.file(tree.Meta{Mtime: -5}, "x", 0)},
		{Path: "tmp", Node: tree.NewDir(tree.Meta{Mode: 0o1777})},
		{Path: "nano", Node: c.file(tree.Meta{Mtime: 1_234_567_890_123_456_789}, "y", 0)},
		{Path: "ünï", Node: tree.NewSymlink(tree.Meta{}, "ü")},
	}
}

func write(t testing.TB, changes []tree.Change, c contents) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, changes, c.open); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	c := contents{}
	changes := everything(c)
	b := write(t, changes, c)
	if got := fmt.Sprintf("sha256:%x", sha256.Sum256(b)); got != golden {
		t.Errorf("layer is %s, want %s", got, golden)
	}
	slices.SortFunc(changes, func(a, b tree.Change) int { return tree.ComparePaths(a.Path, b.Path) })
	for range 3 { // in any order
		slices.Reverse(changes)
		if !bytes.Equal(write(t, changes, c), b) {
			t.Error("the order of the argument matters")
		}
	}
	slices.Reverse(changes)
	x, err := Read(bytes.NewReader(b), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if x.Size != int64(len(b)) || x.DiffID != sha256.Sum256(b) || len(x.Links) != 0 {
		t.Errorf("size %d, digest %v, links %v", x.Size, x.DiffID, x.Links)
	}
	// bin/other is in the group but no link; everything else comes back as it was.
	for i := range changes {
		if changes[i].Path == "bin/other" {
			changes[i].Node = changes[i].Node.WithGroup(0)
		}
	}
	if got, want := tree.Marshal(x.Changes), tree.Marshal(changes); !bytes.Equal(got, want) {
		t.Errorf("read back\n%+v\nwant\n%+v", x.Changes, changes)
	}
	for path, off := range x.Offsets {
		i := slices.IndexFunc(x.Changes, func(c tree.Change) bool { return c.Path == path })
		n := x.Changes[i].Node
		if got := string(b[off : off+n.Size()]); got != c[n.Content()] {
			t.Errorf("%s at %d is %q", path, off, got)
		}
	}
	stored, err := UnmarshalIndex(x.Marshal())
	if err != nil || !reflect.DeepEqual(stored.Offsets, x.Offsets) || stored.DiffID != x.DiffID || stored.Size != x.Size {
		t.Errorf("stored: %+v, %v", stored, err)
	}
	open := stored.Opener(bytes.NewReader(b))
	var second bytes.Buffer
	if err := Write(&second, x.Changes, open); err != nil || !bytes.Equal(second.Bytes(), b) {
		t.Errorf("written again: %v, %d bytes", err, second.Len())
	}
	if _, err := open(tree.Digest{1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown digest: %v", err)
	}
}

// Others must read what Write makes; both know PAX.
func TestReadByOthers(t *testing.T) {
	c := contents{}
	b := write(t, everything(c), c)
	tr, links := tar.NewReader(bytes.NewReader(b)), 0
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uname+h.Gname != "" || !h.AccessTime.IsZero() || !h.ChangeTime.IsZero() || h.Format == tar.FormatGNU {
			t.Errorf("%s: %+v", h.Name, h)
		}
		if h.Typeflag == tar.TypeLink {
			links++
			if h.Name != "bin/two" || h.Linkname != "bin/one" {
				t.Errorf("link %s to %s", h.Name, h.Linkname)
			}
		}
		if base := h.Name[strings.LastIndexByte(h.Name, '/')+1:]; strings.HasPrefix(base, ".wh.") && (h.Mode != 0 || h.Size != 0 || h.ModTime.Unix() != 0) {
			t.Errorf("whiteout %+v", h)
		}
	}
	if links != 1 {
		t.Errorf("%d links", links)
	}
	path, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("no tar program on this machine")
	}
	dir := t.TempDir()
	for _, args := range [][]string{{"-tvf", "-"}, {"-C", dir, "--no-same-owner", "--exclude=dev-*", "-xf", "-"}} {
		cmd := exec.CommandContext(t.Context(), path, args...)
		cmd.Stdin = bytes.NewReader(b)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("tar %v: %v\n%s", args, err, out)
		}
	}
}

type entry = tar.Header

// makeTar makes a tar by hand; every regular file holds its own name.
func makeTar(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Typeflag == tar.TypeReg && !strings.Contains(h.Name, ".wh.") {
			h.Size = int64(len(h.Name))
		}
		if h.ModTime.IsZero() && h.Typeflag != tar.TypeXGlobalHeader {
			h.ModTime = time.Unix(0, 0)
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			io.WriteString(w, h.Name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// summary is an index in one line.
func summary(x *Index) string {
	var out []string
	for _, c := range x.Changes {
		s := "-" + c.Path
		if c.Node != nil {
			s = map[tree.Kind]string{tree.Dir: "d", tree.File: "f", tree.Symlink: "l"}[c.Node.Kind()] + c.Path
			if c.Node.Group() != 0 {
				s += fmt.Sprintf("#%d", c.Node.Group())
			}
			if c.Opaque {
				s += "!"
			}
		}
		out = append(out, s)
	}
	for _, l := range x.Links {
		out = append(out, l.Path+"=>"+l.Target)
	}
	return strings.Join(out, " ")
}

func TestReadForeign(t *testing.T) {
	dir := func(name string) entry { return entry{Name: name, Typeflag: tar.TypeDir, Mode: 0o755} }
	file := func(name string) entry { return entry{Name: name, Mode: 0o644} }
	link := func(name, to string) entry { return entry{Name: name, Linkname: to, Typeflag: tar.TypeLink} }
	sym := func(name, to string) entry { return entry{Name: name, Linkname: to, Typeflag: tar.TypeSymlink} }
	for _, c := range []struct {
		want    string
		entries []entry
	}{
		{"", nil},
		{"d da fa/b fc", []entry{dir("./"), dir("./a/"), file("./a//b"), file("/c")}},
		{"fa/b/c", []entry{file("a/b/c")}},
		{"fa", []entry{dir("a"), file("a/b"), file("a")}},
		{"da", []entry{file("a"), dir("a")}},
		{"da fa/b", []entry{dir("a"), file("a/b"), dir("a")}},
		{"-a -d/b", []entry{file(".wh.a"), file("d/.wh.b")}},
		{"fa", []entry{file(".wh.a"), file("a")}},
		{"fa", []entry{file("a"), file(".wh.a")}},
		{"da! fa/b", []entry{dir("a"), file("a/b"), file(".wh.a")}},
		{"-a fa/b", []entry{file(".wh.a"), file("a/b")}},
		{"da! fa/b", []entry{dir("a"), file("a/b"), file("a/.wh..wh..opq")}},
		{"da!", []entry{file("a/.wh..wh..opq")}},
		{"d!", []entry{file(".wh..wh..opq")}},
		{"fx", []entry{dir(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs"), file("x")}},
		{"fa#1 fb#1", []entry{file("a"), link("b", "./a")}},
		{"fa#1 fb#1 fc#1", []entry{file("b"), link("c", "/b"), link("a", "c")}},
		{"fa fb#1 fc#1", []entry{file("a"), link("b", "a"), link("c", "b"), file("a")}},
		{"b=>a", []entry{link("b", "a")}},
		{"fa b=>a", []entry{link("b", "a"), file("a")}},
		{"b=>low c=>low", []entry{link("b", "low"), link("c", "b")}},
		{"ll ll2", []entry{sym("l", "x"), link("l2", "l")}},
		{"la fa/b", []entry{sym("a", "d"), file("a/b")}},
		{"da", []entry{sym("a", "d"), file("a/b"), dir("a")}},
		{"f" + strings.Repeat("n", 200), []entry{{Name: strings.Repeat("n", 200), Format: tar.FormatGNU}}},
		{"fg", []entry{{Name: "pax", Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, file("g")}},
	} {
		b := makeTar(t, c.entries...)
		x, err := Read(bytes.NewReader(b), Limits{})
		if err != nil || summary(x) != c.want {
			t.Errorf("got %v, %v, want %q", x, err, c.want)
			continue
		}
		if _, err := tree.Unmarshal(tree.Marshal(x.Changes)); err != nil {
			t.Errorf("%q cannot be stored: %v", c.want, err)
		}
	}
}

// refused are tars that Read must refuse, by the cause.
func refused(t testing.TB) map[string]struct {
	tar  []byte
	want error
} {
	at := func(e entry) []byte { return makeTar(t, e) }
	good := at(entry{Name: "a"})
	return map[string]struct {
		tar  []byte
		want error
	}{
		"dot dot":          {at(entry{Name: "a/../../b"}), ErrName},
		"long name":        {at(entry{Name: strings.Repeat("n", 256)}), tree.ErrTooLong},
		"long path":        {at(entry{Name: strings.Repeat("n/", 2100) + "x"}), tree.ErrTooLong},
		"whiteout nothing": {at(entry{Name: "a/.wh."}), tree.ErrName},
		"whiteout dot":     {at(entry{Name: ".wh.."}), tree.ErrName},
		"whiteout dotdot":  {at(entry{Name: ".wh..."}), tree.ErrName},
		"whiteout dir":     {at(entry{Name: ".wh.a/b"}), ErrName},
		"uid":              {at(entry{Name: "a", Uid: math.MaxUint32}), ErrRange},
		"gid":              {at(entry{Name: "a", Gid: 1 << 40}), ErrRange},
		"time":             {at(entry{Name: "a", Format: tar.FormatPAX, ModTime: time.Unix(1<<40, 0)}), ErrRange},
		"device":           {at(entry{Name: "a", Typeflag: tar.TypeChar, Devmajor: 4096}), ErrRange},
		"empty symlink":    {at(entry{Name: "a", Typeflag: tar.TypeSymlink}), ErrRange},
		"link to root":     {at(entry{Name: "a", Typeflag: tar.TypeLink, Linkname: "/"}), ErrName},
		"link out":         {at(entry{Name: "a", Typeflag: tar.TypeLink, Linkname: "../a"}), ErrName},
		"link to itself":   {at(entry{Name: "a", Typeflag: tar.TypeLink, Linkname: "a"}), ErrConflict},
		"link to dir":      {makeTar(t, entry{Name: "d", Typeflag: tar.TypeDir}, entry{Name: "a", Typeflag: tar.TypeLink, Linkname: "d"}), ErrUnsupported},
		"below file":       {makeTar(t, entry{Name: "a"}, entry{Name: "a/b"}), ErrConflict},
		"root file":        {at(entry{Name: ".", Typeflag: tar.TypeFifo}), tree.ErrRoot},
		"unknown type":     {at(entry{Name: "a", Typeflag: 'Q'}), ErrUnsupported},
		"attribute":        {at(entry{Name: "a", PAXRecords: map[string]string{xattrPrefix: "x"}}), ErrRange},
		"cut off":          {good[:512], io.ErrUnexpectedEOF},
		"noise":            {bytes.Repeat([]byte{0x55}, 1024), tar.ErrHeader},
	}
}

func TestReadRefuses(t *testing.T) {
	for name, c := range refused(t) {
		x, err := Read(bytes.NewReader(c.tar), Limits{})
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v; want %v", name, x, err, c.want)
		}
	}
}

func TestSparseIsRefused(t *testing.T) {
	path, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("no tar program on this machine")
	}
	for _, format := range []string{"gnu", "pax"} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `cd "$0" && truncate -s 1M hole && "$1" --format=$2 -Scf - hole`, t.TempDir(), path, format)
		b, err := cmd.Output()
		if err != nil {
			t.Skip("tar makes no sparse archives here: ", err)
		}
		if _, err := Read(bytes.NewReader(b), Limits{}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestLimits(t *testing.T) {
	b := makeTar(t, entry{Name: "a/b/c/d"}, entry{Name: "x", PAXRecords: map[string]string{xattrPrefix + "user.x": strings.Repeat("v", 100)}})
	for _, lim := range []Limits{{Entries: 4}, {FileSize: 5}, {TotalSize: int64(len(b)) - 1}, {PathLen: 6}, {Xattrs: 105}, {Metadata: 100}} {
		_, err := Read(bytes.NewReader(b), lim)
		if _, ok := errors.AsType[*LimitError](err); !ok {
			t.Errorf("%+v: %v", lim, err)
		}
	}
	if _, err := Read(bytes.NewReader(b), Limits{Entries: 5, FileSize: 7, TotalSize: int64(len(b)), PathLen: 7, Xattrs: 106, Metadata: 200}); err != nil {
		t.Error(err)
	}
}

func TestApplyLinks(t *testing.T) {
	c := contents{}
	e := tree.Edit(nil)
	low := c.file(tree.Meta{Mode: 0o644}, "low", 0)
	if err := errors.Join(e.MkdirAll("usr/lib", tree.Meta{Mode: 0o755}), e.Put("usr/lib/low", low), e.Put("lib", tree.NewSymlink(tree.Meta{}, "usr/lib"))); err != nil {
		t.Fatal(err)
	}
	base := e.Tree()
	link := func(name, to string) entry { return entry{Name: name, Linkname: to, Typeflag: tar.TypeLink} }
	x, err := Read(bytes.NewReader(makeTar(t, link("new/l1", "lib/low"), link("lib/l2", "usr/lib/low"))), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := x.Apply(base)
	if err != nil {
		t.Fatal(err)
	}
	g := tree.Lookup(got, "usr/lib/low").Group()
	for _, p := range []string{"new/l1", "usr/lib/l2"} {
		if n := tree.Lookup(got, p); n == nil || n.Content() != low.Content() || n.Group() != g || g == 0 {
			t.Errorf("%s: %+v, group %d", p, n, g)
		}
	}
	if _, err := x.Apply(nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the lower layer: %v", err)
	}
	if d := tree.Diff(base, got); len(d) != 4 {
		t.Errorf("%d changes: %v", len(d), d)
	}
}

func TestWriteRefuses(t *testing.T) {
	c := contents{}
	f := c.file(tree.Meta{}, "abc", 0)
	for name, changes := range map[string][]tree.Change{
		"whiteout name": {{Path: "a/.wh.b", Node: f}},
		"whiteout dir":  {{Path: ".wh.b/c", Node: f}},
		"twice":         {{Path: "a", Node: f}, {Path: "a"}},
		"root removed":  {{Path: ""}},
		"root file":     {{Path: "", Node: f}},
		"path":          {{Path: "../a", Node: f}},
		"device":        {{Path: "a", Node: tree.NewDevice(tree.CharDevice, tree.Meta{}, math.MaxUint32, 0)}},
	} {
		if err := Write(io.Discard, changes, c.open); !is[*EntryError](err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, n := range map[string]*tree.Node{
		"short": tree.NewFile(tree.Meta{}, f.Content(), 4, 0), "long": tree.NewFile(tree.Meta{}, f.Content(), 2, 0),
		"empty": tree.NewFile(tree.Meta{}, f.Content(), 0, 0), "absent": tree.NewFile(tree.Meta{}, tree.Digest{1}, 3, 0),
	} {
		if err := Write(io.Discard, []tree.Change{{Path: "f", Node: n}}, c.open); !is[*ContentError](err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c[f.Content()] = "abd"
	err := Write(io.Discard, []tree.Change{{Path: "f", Node: f}}, c.open)
	if ce, ok := errors.AsType[*ContentError](err); !ok || ce.Path != "f" || ce.Want != f.Content() || ce.Got == ce.Want {
		t.Errorf("other bytes: %v", err)
	}
}

func is[E error](err error) bool { _, ok := errors.AsType[E](err); return ok }

func FuzzRead(f *testing.F) {
	c := contents{}
	f.Add(write(f, everything(c), c))
	seeds := refused(f)
	if len(seeds) < 20 {
		f.Fatalf("only %d seeds", len(seeds))
	}
	for _, s := range seeds {
		f.Add(s.tar)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := Read(bytes.NewReader(b), Limits{Entries: 1000, FileSize: 1 << 20, TotalSize: 1 << 22})
		if err != nil {
			return
		}
		if x.Size != int64(len(b)) {
			t.Errorf("size %d of %d", x.Size, len(b))
		}
		if _, err := tree.Unmarshal(tree.Marshal(x.Changes)); err != nil {
			t.Errorf("changes cannot be stored: %v", err)
		}
		x.Links = nil
		after, err := x.Apply(nil)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := Write(&out, tree.Diff(nil, after), x.Opener(bytes.NewReader(b))); err != nil {
			t.Fatalf("cannot be written: %v", err)
		}
		again, err := Read(&out, Limits{})
		if err != nil {
			t.Fatalf("cannot be read back: %v", err)
		}
		if root, err := again.Apply(nil); err != nil || root.Identity() != after.Identity() {
			t.Errorf("round trip changes the tree: %v", err)
		}
	})
}

func TestUnmarshalIndex(t *testing.T) {
	link := entry{Name: "l", Linkname: "low", Typeflag: tar.TypeLink}
	x, err := Read(bytes.NewReader(makeTar(t, entry{Name: "a"}, entry{Name: "b"}, link)), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b := x.Marshal()
	got, err := UnmarshalIndex(b)
	if err != nil || summary(got) != "fa fb l=>low" || string(got.Marshal()) != string(b) {
		t.Errorf("%v, %v", got, err)
	}
	for n := range len(b) {
		if _, err := UnmarshalIndex(b[:n]); !errors.Is(err, tree.ErrFormat) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := UnmarshalIndex(append(b, 0)); !errors.Is(err, tree.ErrFormat) {
		t.Errorf("trailing byte: %v", err)
	}
	x.Offsets["b"] = x.Size
	if _, err := UnmarshalIndex(x.Marshal()); !errors.Is(err, tree.ErrFormat) {
		t.Errorf("offset beyond the end: %v", err)
	}
}
