package stagetest

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
)

// File is one file of an image, or a directory or whatever else is at its path. Of a symbolic link it is what that leads to,
// inside the image; only [File.WantLink] is about the link itself.
type File struct {
	c    *Checks
	path string
	info fs.FileInfo // nil when the test was told that there is nothing
}

// File looks a path up. When nothing is there, the test fails with what the directory has, and what is wanted of the File is not
// looked at.
func (c *Checks) File(path string) *File {
	c.tb.Helper()
	f := &File{c: c, path: path}
	files := c.open()
	info, err := fs.Stat(files, inFS(path))
	if err != nil {
		// A link that leads nowhere can still be looked at as a link.
		if l, lerr := fs.Lstat(files, inFS(path)); lerr == nil && l.Mode().Type() == fs.ModeSymlink {
			f.info = l
			return f
		}
		c.tb.Errorf("stagetest: there is no %s; %s", path, neighbours(files, inFS(path)))
		return f
	}
	f.info = info
	return f
}

// neighbours says what the nearest directory above a path has.
func neighbours(files fs.FS, missing string) string {
	for dir := path.Dir(missing); ; dir = path.Dir(dir) {
		entries, err := fs.ReadDir(files, dir)
		if err != nil && dir != "." {
			continue
		}
		const most = 30
		var names []string
		for i, e := range entries {
			if i == most {
				names = append(names, fmt.Sprintf("and %d more", len(entries)-most))
				break
			}
			names = append(names, quote(e.Name()))
		}
		shown := "/" + strings.TrimPrefix(dir, ".")
		if len(names) == 0 {
			return shown + " is empty"
		}
		return shown + " has " + strings.Join(names, ", ")
	}
}

// Content returns the bytes, and nothing when there is no file.
func (f *File) Content() []byte {
	f.c.tb.Helper()
	b, _ := f.read()
	return b
}

func (f *File) read() (_ []byte, ok bool) {
	f.c.tb.Helper()
	if f.info == nil {
		return nil, false
	}
	if !f.info.Mode().IsRegular() {
		f.c.tb.Errorf("stagetest: %s is %s, not a file", f.path, kind(f.info.Mode()))
		return nil, false
	}
	b, err := fs.ReadFile(f.c.open(), inFS(f.path))
	if err != nil {
		f.c.fatal(f.path, err)
	}
	return b, err == nil
}

// WantContent wants the file to have exactly this content.
func (f *File) WantContent(want string) *File {
	f.c.tb.Helper()
	if got, ok := f.read(); ok {
		f.c.diffText("the content of "+f.path, want, string(got))
	}
	return f
}

// WantContains wants the content to have a text in it.
func (f *File) WantContains(text string) *File {
	f.c.tb.Helper()
	if got, ok := f.read(); ok && !strings.Contains(string(got), text) {
		f.c.tb.Errorf("stagetest: %s does not have %q in it; it is\n%s", f.path, text, excerpt(got))
	}
	return f
}

// excerpt is the beginning of a content, quoted where it is no text.
func excerpt(b []byte) string {
	const most = 2 << 10
	rest := ""
	if len(b) > most {
		b, rest = b[:most], fmt.Sprintf("… (%d bytes)", len(b))
	}
	if strings.ContainsFunc(string(b), func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r == '�' }) {
		return fmt.Sprintf("%q", b) + rest
	}
	return string(b) + rest
}

// WantMode wants the permission bits, with fs.ModeSetuid, fs.ModeSetgid and fs.ModeSticky. A directory also has fs.ModeDir, which
// may be left out.
func (f *File) WantMode(want fs.FileMode) *File {
	f.c.tb.Helper()
	if f.info != nil {
		got := f.info.Mode()
		if want.Type() == 0 {
			got &^= fs.ModeType
		}
		f.c.diff("the mode of "+f.path, want.String(), got.String())
	}
	return f
}

// WantOwner wants the numeric owner.
func (f *File) WantOwner(uid, gid int) *File {
	f.c.tb.Helper()
	if f.info != nil {
		f.c.diff("the owner of "+f.path, fmt.Sprintf("%d:%d", uid, gid), owner(f.info))
	}
	return f
}

// WantLink wants the path to be a symbolic link with this target, as it is written in the link.
func (f *File) WantLink(target string) *File {
	f.c.tb.Helper()
	if f.info == nil {
		return f
	}
	files := f.c.open()
	info, err := fs.Lstat(files, inFS(f.path))
	if err != nil {
		f.c.fatal(f.path, err)
	}
	if info.Mode().Type() != fs.ModeSymlink {
		f.c.tb.Errorf("stagetest: %s is %s, not a symbolic link", f.path, kind(info.Mode()))
		return f
	}
	got, err := fs.ReadLink(files, inFS(f.path))
	if err != nil {
		f.c.fatal(f.path, err)
	}
	f.c.diff("the target of "+f.path, target, got)
	return f
}

// owner is the owner of a file of tree.FS, empty of one that is none.
func owner(info fs.FileInfo) string {
	n, ok := info.Sys().(*tree.Node)
	if !ok {
		return ""
	}
	return fmt.Sprintf("%d:%d", n.Meta().UID, n.Meta().GID)
}
