package stagetest

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
)

// WantTree wants the files to be those that a golden file lists, relative to the directory of the test's package. It has a line a
// file, in the order of a walk:
//
//	drwxr-xr-x 0:0 /etc
//	-rw-r--r-- 0:0 12 sha256:0f1e2d3c4b5a6978 /etc/app.conf
//	Lrwxrwxrwx 0:0 /etc/link -> app.conf
//
// which is the mode as Go writes it, the owner, of a file its size in bytes and the beginning of its content's digest, the path,
// and where a link leads. A name with spaces or with characters that do not print is quoted as in Go. Times, extended attributes
// and hard links are not in it.
//
// With further arguments only those paths and what is below them are listed. How the file is written is told in the package
// comment.
func (c *Checks) WantTree(golden string, under ...string) *Checks {
	c.tb.Helper()
	got := c.listing(under...)
	want, err := os.ReadFile(golden)
	switch {
	case err == nil && updating():
		if string(want) != got {
			c.write(golden, got)
		}
	case errors.Is(err, fs.ErrNotExist):
		c.write(golden, got)
		if !updating() {
			c.tb.Errorf("stagetest: %s was not there; it is written now: look at it, and run the test again", golden)
		}
	case err != nil:
		c.fatal("the golden file", err)
	default:
		text := strings.ReplaceAll(string(want), "\r\n", "\n") // git may have changed the line ends
		if text != got {
			c.diff("the files of the image and "+golden, lines(text), lines(got))
			c.tb.Logf("stagetest: if that is right, remove %s, or set the test's flag -update, and run the test again", golden)
		}
	}
	return c
}

func (c *Checks) write(golden, text string) {
	c.tb.Helper()
	err := os.MkdirAll(filepath.Dir(golden), 0o777)
	if err == nil {
		err = os.WriteFile(golden, []byte(text), 0o666)
	}
	if err != nil {
		c.tb.Fatalf("stagetest: writing a golden file: %v", err)
	}
}

// updating reports whether the test binary has a flag "update" of its own that is set.
func updating() bool {
	f := flag.Lookup("update")
	if f == nil {
		return false
	}
	g, ok := f.Value.(flag.Getter)
	if !ok {
		return false
	}
	set, _ := g.Get().(bool)
	return set
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

// listing is the form of a golden file.
func (c *Checks) listing(under ...string) string {
	c.tb.Helper()
	files := c.open()
	if len(under) == 0 {
		under = []string{"/"}
	}
	var b strings.Builder
	for _, root := range under {
		err := fs.WalkDir(files, inFS(root), func(name string, d fs.DirEntry, err error) error {
			if err != nil || name == "." {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			line, err := listed(files, name, info)
			b.WriteString(line + "\n")
			return err
		})
		if errors.Is(err, fs.ErrNotExist) {
			c.tb.Errorf("stagetest: there is no %s; %s", root, neighbours(files, inFS(root)))
		} else if err != nil {
			c.fatal(root, err)
		}
	}
	return b.String()
}

// digits is how much of a digest a golden file has: 64 bits tell files apart, and leave the line readable.
const digits = len("sha256:") + 16

func listed(files fs.FS, name string, info fs.FileInfo) (string, error) {
	line := info.Mode().String() + " " + owner(info)
	if info.Mode().IsRegular() {
		n, ok := info.Sys().(*tree.Node)
		if !ok {
			return "", fmt.Errorf("%s is not a file of a tree", name)
		}
		line += fmt.Sprintf(" %d %s", info.Size(), n.Content().String()[:digits])
	}
	line += " " + quote(path.Join("/", name))
	if info.Mode().Type() == fs.ModeSymlink {
		target, err := fs.ReadLink(files, name)
		if err != nil {
			return "", err
		}
		line += " -> " + quote(target)
	}
	return line, nil
}

// quote writes a name so that a line has one meaning.
func quote(name string) string {
	if q := strconv.QuoteToGraphic(name); q[1:len(q)-1] != name || strings.ContainsAny(name, " ") {
		return q
	}
	return name
}
