//go:build linux

package snapshot

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/internal/tree"
)

const baseTree = `
	d / 0555 0:0
	d etc 0755 0:0 user.dir=yes
	f etc/passwd 0644 0:0 root:x:0:0
	f etc/shadow 0000 0:42 secret
	d usr 0755 0:0
	d usr/bin 0755 0:0
	f usr/bin/su 4755 0:0 setuid
	f usr/bin/a 0755 0:0 linked h:7
	f usr/bin/b 0755 0:0 linked h:7
	l bin 0777 0:0 usr/bin
	d var 0700 5:6
	d var/lib 2775 5:6
	f var/lib/data 0640 5:6 data user.note=kept security.selinux=label @-5
	d var/lib/many 0755 0:0
	f var/lib/many/one 0644 0:0 1
	f var/lib/many/two 0644 0:0 2
	d locked 0000 0:0
	f locked/in 0600 0:0 in
	p run 0600 0:0
	d dev 0755 0:0
	c dev/null 0666 0:0 1:3
	b dev/sda 0660 0:6 8:0
	f bad 0644 0:0 x user.overlay.whiteout=y trusted.overlay.opaque=y
	f empty 0644 0:0`

// actions are what children do; those of Scan tests act in the merged root, their working directory.
var actions = map[string]func(args []string) error{
	"nothing": func([]string) error { return nil },
	"look": func([]string) error {
		out, err := look(".")
		fmt.Print(out)
		return err
	},
	"change": func([]string) error {
		return first(
			os.WriteFile("etc/passwd", []byte("changed"), 0o644),
			os.Remove("etc/shadow"),
			os.Chmod("usr/bin/su", 0o755),
			os.RemoveAll("var/lib/many"),
			os.MkdirAll("new/deep/er", 0o750),
			os.WriteFile("new/deep/er/file", []byte("new"), 0o600),
			os.Symlink("../nowhere", "new/link"),
			unix.Mkfifo("new/fifo", 0o622),
		)
	},
	"touch": func([]string) error {
		now := time.Now()
		data, err := os.ReadFile("etc/passwd")
		return first(err, os.WriteFile("etc/passwd", data, 0o644), os.Chtimes("var/lib/data", now, now), os.Chtimes("usr/bin/a", now, now),
			os.WriteFile("etc/tmp", nil, 0o600), os.Remove("etc/tmp"), os.Chmod("dev/sda", 0o600), os.Chmod("dev/sda", 0o660))
	},
	"replace": func([]string) error {
		return first(
			os.RemoveAll("var/lib"), os.MkdirAll("var/lib", 0o775), // opaque
			os.WriteFile("var/lib/data", []byte("data"), 0o640), os.WriteFile("var/lib/aaa", nil, 0o600),
			os.Remove("etc/passwd"), os.Mkdir("etc/passwd", 0o755), os.WriteFile("etc/passwd/x", nil, 0o644),
			os.RemoveAll("usr"), os.WriteFile("usr", []byte("file"), 0o644),
			os.Remove("bin"), os.Symlink("elsewhere", "bin"),
		)
	},
	"links": func([]string) error {
		return first(os.WriteFile("z", []byte("zz"), 0o644), os.Link("z", "a"), os.Link("z", "etc/z"),
			os.Link("etc/passwd", "pw"), os.WriteFile("single", nil, 0o644), os.Link("single", "gone"), os.Remove("gone"))
	},
	"odd": func([]string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		fd2, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		return first(
			unix.Bind(fd, &unix.SockaddrUnix{Name: "sock"}), os.Remove("empty"), unix.Bind(fd2, &unix.SockaddrUnix{Name: "empty"}),
			os.Mkdir("shut", 0o755), os.WriteFile("shut/in", []byte("in"), 0), os.Chmod("shut/in", 0), os.Chmod("shut", 0),
			unix.Setxattr("etc", "user.dir", []byte("no"), 0), unix.Setxattr("var/lib/data", "user.more", []byte("1"), 0),
			os.Chmod("dev/null", 0o600), os.Chmod(".", 0o755),
			os.WriteFile("etc/\xff\n", nil, 0o644),
		)
	},
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// lookAt mounts the directories as an overlay and prints what a process in it sees.
func lookAt(t testing.TB, lowers ...string) string {
	t.Helper()
	if len(lowers) == 1 {
		lowers = append(lowers, emptyDir(t)) // overlayfs wants two lowers, or an upper
	}
	return inChild(t, childSpec{Action: "look", Lowers: lowers})
}

func emptyDir(t testing.TB) string {
	dir := filepath.Join(tempDir(t), "empty")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func digestOf(s string) tree.Digest { return new(contents).put(s) }

func mustLayer(t testing.TB, s *Store, c *contents, old, full *tree.Node) string {
	t.Helper()
	id := full.Identity()
	if old != nil {
		o := old.Identity()
		id = digestOf(string(o[:]) + id.String())
	}
	dir, err := s.Layer(t.Context(), id, full, tree.Diff(old, full), c.open)
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLayersCombineToTheTree(t *testing.T) {
	needOverlay(t)
	for name, second := range map[string]string{
		"empty":     `d / 0755 0:0`,
		"file2dir":  `d / 0755 0:0` + "\nd etc 0755 0:0\nd etc/passwd 0700 0:0\nf etc/passwd/x 0644 0:0 x",
		"dir2file":  `d / 0755 0:0` + "\nf etc 0644 0:0 x\nl usr 0777 0:0 etc\np var 0600 0:0",
		"kinds":     `d / 0755 0:0` + "\nd bin 0755 0:0\nf bin/x 0644 0:0 x\nf dev 0644 0:0\nc run 0666 0:0 1:5",
		"grandpar":  baseTree + "\nf var/lib/many/three 0644 0:0 3", // directories above have the tree's metadata
		"links":     baseTree + "\nf z 0644 0:0 zz h:9\nf etc/z 0644 0:0 zz h:9\nf usr/bin/z 0644 0:0 zz h:9",
		"whiteout0": baseTree + "\nc dev/zero 0666 0:0 0:5",
	} {
		t.Run(name, func(t *testing.T) {
			var c contents
			s := openStore(t, tempDir(t))
			base, full := c.parse(t, baseTree), c.parse(t, second)
			lower, upper := mustLayer(t, s, &c, nil, base), mustLayer(t, s, &c, base, full)
			mustDiff(t, "base alone", lookAt(t, lower), describe(base))
			mustDiff(t, "both", lookAt(t, upper, lower), describe(full))

			back := mustLayer(t, s, &c, full, base) // a third layer that undoes the second
			mustDiff(t, "undone", lookAt(t, back, upper, lower), describe(base))
			merged, err := s.Merged(t.Context(), digestOf(name), full, c.open)
			if err != nil {
				t.Fatal(err)
			}
			mustDiff(t, "merged", lookAt(t, merged), describe(full))
		})
	}
}

func TestOpaqueDirectoryHidesTheLowerOne(t *testing.T) {
	needOverlay(t)
	var c contents
	s := openStore(t, tempDir(t))
	base := c.parse(t, baseTree)
	changes := []tree.Change{{Path: "var/lib", Node: tree.NewDir(tree.Meta{Mode: 0o711, Mtime: 5}), Opaque: true}}
	full, err := tree.Apply(base, changes)
	if err != nil {
		t.Fatal(err)
	}
	upper, err := s.Layer(t.Context(), digestOf("opaque"), full, changes, c.open)
	if err != nil {
		t.Fatal(err)
	}
	mustDiff(t, "overlay", lookAt(t, upper, mustLayer(t, s, &c, nil, base)), describe(full))
}

func TestScanReadsBackWhatAStepDid(t *testing.T) {
	needOverlay(t)
	rootless := os.Geteuid() != 0
	who := func(root, user string) string {
		if rootless {
			return user
		}
		return root
	}
	sum := func(s string) string { return fmt.Sprintf("%d %s", len(s), digestOf(s).String()[:15]) }
	for action, want := range map[string]string{
		"nothing": "",
		"touch":   "",
		"change": `file "etc/passwd" 0644 0:0 @100 ` + sum("changed") + "\n- etc/shadow\n" + `directory "new" 0750 0:0 @100
directory "new/deep" 0750 0:0 @100
directory "new/deep/er" 0750 0:0 @100
file "new/deep/er/file" 0600 0:0 @100 ` + sum("new") + `
fifo "new/fifo" 0622 0:0 @100
symlink "new/link" 0777 0:0 @100 -> ../nowhere
file "usr/bin/su" 0755 0:0 @100 ` + sum("setuid") + "\n- var/lib/many\n",
		"replace": `symlink "bin" 0777 0:0 @100 -> elsewhere
directory "etc/passwd" 0755 0:0 @100
file "etc/passwd/x" 0644 0:0 @100 ` + sum("") + `
file "usr" 0644 0:0 @100 ` + sum("file") + `
directory "var/lib" 0775 ` + who("0:0", "5:6") + ` @100
file "var/lib/aaa" 0600 0:0 @100 ` + sum("") + `
file "var/lib/data" 0640 ` + who("0:0", "5:6") + ` @100 ` + sum("data") + ` security.selinux="label"
- var/lib/many
`,
		"links": `file "a" 0644 0:0 @100 ` + sum("zz") + ` h:1
file "etc/passwd" 0644 0:0 @100 ` + sum("root:x:0:0") + ` h:2
file "etc/z" 0644 0:0 @100 ` + sum("zz") + ` h:1
file "pw" 0644 0:0 @100 ` + sum("root:x:0:0") + ` h:2
file "single" 0644 0:0 @100 ` + sum("") + `
file "z" 0644 0:0 @100 ` + sum("zz") + ` h:1
`,
		"odd": `directory "" 0755 0:0 @100
character device "dev/null" 0600 0:0 @100
- empty
directory "etc" 0755 0:0 @100 user.dir="no"
file "etc/\xff\n" 0644 0:0 @100 ` + sum("") + `
directory "shut" 0000 0:0 @100
file "shut/in" 0000 0:0 @100 ` + sum("in") + `
file "var/lib/data" 0640 5:6 @100 ` + sum("data") + ` security.selinux="label" user.more="1" user.note="kept"
`,
	} {
		t.Run(action, func(t *testing.T) {
			var c contents
			s := openStore(t, tempDir(t))
			base := c.parse(t, baseTree)
			lower := mustLayer(t, s, &c, nil, base)
			u, err := s.NewUpper(t.Context(), base)
			if err != nil {
				t.Fatal(err)
			}
			inChild(t, childSpec{Action: action, Lowers: []string{lower}, Upper: u.Dir, Work: u.Work})
			changes, err := u.Scan(t.Context(), base, ScanOptions{Epoch: time.Unix(100, 0)})
			if err != nil {
				t.Fatal(err)
			}
			mustDiff(t, "changes", list(changes), want)
			full, err := tree.Apply(base, changes)
			if err != nil {
				t.Fatal(err)
			}
			id := digestOf(action)
			dir, err := u.Adopt(t.Context(), id, changes)
			if err != nil {
				t.Fatal(err)
			}
			seen := lookAt(t, dir, lower)
			// A step that broke a hard link, or wrote an equal directory anew, is where overlay and tree may differ in link names alone.
			if action != "touch" {
				mustDiff(t, "the adopted upper as a layer", seen, describe(full))
			}
			for _, ch := range changes {
				if ch.Node != nil {
					c.take(t, s.Opener(id, changes), ch.Node)
				}
			}
			again, err := openStore(t, tempDir(t)).Layer(t.Context(), id, full, changes, c.open)
			if err != nil {
				t.Fatal(err)
			}
			mustDiff(t, "a layer made from the changes", lookAt(t, again, lower), describe(full))
		})
	}
}

// take reads a file's bytes out of a layer into c.
func (c *contents) take(t testing.TB, open tree.Opener, n *tree.Node) {
	t.Helper()
	if n.Kind() != tree.File {
		return
	}
	r, err := open(n.Content())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b := make([]byte, n.Size()+1)
	k, _ := r.Read(b)
	if c.put(string(b[:k])) != n.Content() {
		t.Errorf("the layer gives %q for %s", b[:k], n.Content())
	}
}
