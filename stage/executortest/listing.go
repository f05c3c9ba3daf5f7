package executortest

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/stagewright/stagewright/internal/filemode"
)

// A listing has a line for each file, sorted by path:
//
//	d 0755 0:0 app
//	f 0644 0:0 app/hello "content"
//	l 0:0 app/link -> hello
//
// Of an fs.FS, which has no owners, the ids are left out.

// imageListing is the listing of an image's files, with all layers applied.
func imageListing(img v1.Image) (list []string, err error) {
	rc := mutate.Extract(img)
	defer func() { err = errors.Join(err, rc.Close()) }()
	tr := tar.NewReader(rc)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := strings.Trim(strings.TrimPrefix(h.Name, "./"), "/")
		if name == "" || name == "." {
			continue
		}
		owner := fmt.Sprintf("%d:%d ", h.Uid, h.Gid)
		switch h.Typeflag {
		case tar.TypeDir:
			list = append(list, fmt.Sprintf("d %04o %s%s", h.Mode&0o7777, owner, name))
		case tar.TypeReg:
			content, err := io.ReadAll(tr)
			if err != nil {
				return nil, err
			}
			list = append(list, fmt.Sprintf("f %04o %s%s %s", h.Mode&0o7777, owner, name, quote(content)))
		case tar.TypeSymlink:
			list = append(list, fmt.Sprintf("l %s%s -> %s", owner, name, h.Linkname))
		default:
			list = append(list, fmt.Sprintf("%c %s%s", h.Typeflag, owner, name))
		}
	}
	slices.SortFunc(list, byPath)
	return list, nil
}

// fsListing is the listing of a file system, without owners.
func fsListing(fsys fs.FS) (list []string, err error) {
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
			list = append(list, fmt.Sprintf("d %04o %s", filemode.Bits(mode), name))
		case mode.IsRegular():
			content, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			list = append(list, fmt.Sprintf("f %04o %s %s", filemode.Bits(mode), name, quote(content)))
		case mode.Type() == fs.ModeSymlink:
			target, err := fs.ReadLink(fsys, name)
			if err != nil {
				return err
			}
			list = append(list, fmt.Sprintf("l %s -> %s", name, target))
		default:
			list = append(list, fmt.Sprintf("%s %s", mode.Type(), name))
		}
		return nil
	})
	slices.SortFunc(list, byPath)
	return list, err
}

// quote shows a content, of a large file only its size.
func quote(content []byte) string {
	if len(content) > 1000 {
		return fmt.Sprintf("(%d bytes)", len(content))
	}
	return fmt.Sprintf("%q", content)
}

// pathOf is the field of a line that holds the path: the first that is neither
// kind, mode nor owner.
func pathOf(line string) string {
	for i, field := range strings.Fields(line) {
		if i > 0 && strings.Trim(field, "0123456789:") != "" {
			return field
		}
	}
	return line
}

func byPath(a, b string) int { return strings.Compare(pathOf(a), pathOf(b)) }

// withoutOwners is a listing of an image in the form of one of a file system.
func withoutOwners(list []string) []string {
	out := make([]string, len(list))
	for i, line := range list {
		fields := strings.SplitN(line, " ", 4)
		at := slices.IndexFunc(fields, func(s string) bool { return strings.Contains(s, ":") })
		if at < 0 {
			out[i] = line
			continue
		}
		out[i] = strings.Join(slices.Delete(fields, at, at+1), " ")
	}
	return out
}
