package source

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/stagewright/stagewright/internal/gitref"
)

const (
	maxSubmodules     = 1000
	maxSubmoduleDepth = 16
	// staleCheckout is how old a checkout of a process that was killed is before another
	// removes it.
	staleCheckout = 24 * time.Hour
)

// makeCheckout checks the commit out into a directory of its own: "files" is the work
// tree, beside it lie the indexes.
func (g *GitFiles) makeCheckout(ctx context.Context) error {
	base := cmp.Or(g.o.Temporary, filepath.Join(g.o.Dir, "checkouts"))
	if err := os.MkdirAll(base, 0o700); err != nil {
		return fmt.Errorf("%s: no directory for its files: %w", g, err)
	}
	if g.o.Temporary == "" {
		sweep(base)
	}
	dir, err := os.MkdirTemp(base, "git-")
	if err == nil {
		g.checkout = dir
		err = os.Mkdir(filepath.Join(dir, "files"), 0o755)
	}
	if err != nil {
		return fmt.Errorf("%s: no directory for its files: %w", g, err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "files"))
	if err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	defer root.Close()
	c := &gitCheckout{g: g, root: root, list: gitListing{source: g.String(), most: maxGitEntries, weight: maxGitBytes}, index: filepath.Join(dir, "index")}
	if err := c.repository(ctx, g.tree.Mirrors[0], "", 0); err != nil {
		return err
	}
	g.tree.Mirrors = c.from
	if g.want.KeepGit {
		if err := c.keepGit(ctx, g.tree.Mirrors[0]); err != nil {
			return err
		}
	}
	return c.onlyDirectories(g.want.Subdir, fmt.Sprintf("the commit has no directory %s", quote(g.want.Subdir)))
}

// sweep removes checkouts that killed processes left.
func sweep(base string) {
	items, err := os.ReadDir(base)
	if err != nil {
		return
	}
	for _, item := range items {
		if fi, err := item.Info(); err == nil && fi.IsDir() && time.Since(fi.ModTime()) > staleCheckout {
			_ = os.RemoveAll(filepath.Join(base, item.Name()))
		}
	}
}

// gitCheckout writes one commit, and those of its submodules, into a directory.
type gitCheckout struct {
	g     *GitFiles
	root  *os.Root // the work tree
	list  gitListing
	index string // file
	from  []gitCommit
}

// repository checks one commit out at a directory of the work tree, "" for the top.
func (c *gitCheckout) repository(ctx context.Context, from gitCommit, at string, depth int) error {
	m := c.g.mirror(from.Remote)
	if err := m.fetch(ctx, from.Commit, from.Ref); err != nil {
		return err
	}
	c.from = append(c.from, from)
	if len(c.from) > maxSubmodules || depth > maxSubmoduleDepth {
		return &LimitError{Source: c.g.String(), What: "number or depth of submodules", Limit: maxSubmodules, Path: at}
	}
	if err := c.onlyDirectories(at, "the submodule's directory is none"); err != nil {
		return err
	}
	links, err := c.write(ctx, m, from, at)
	if _, failed := errors.AsType[*GitError](err); failed && m.mend(ctx) {
		if err = m.fetch(ctx, from.Commit, from.Ref); err == nil {
			links, err = c.write(ctx, m, from, at)
		}
	}
	if err != nil {
		return err
	}
	if !c.g.want.Submodules || len(links) == 0 {
		return nil
	}
	return c.submodules(ctx, m, from, links, at, depth)
}

// write writes the files of a commit and returns its submodules.
func (c *gitCheckout) write(ctx context.Context, m *gitMirror, from gitCommit, at string) ([]gitlink, error) {
	links, err := c.list.list(ctx, m, from.Commit)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(c.root.Name(), filepath.FromSlash(at))
	if err := os.Remove(c.index); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	// With an index of its own and a work tree that is empty, this writes every file and
	// applies .gitattributes, and changes nothing in the mirror.
	_, err = c.g.git(ctx, gitCall{
		dir: dir, env: []string{"GIT_DIR=" + m.dir, "GIT_WORK_TREE=" + dir, "GIT_INDEX_FILE=" + c.index},
		args: []string{"read-tree", "--reset", "-u", from.Commit + "^{tree}"},
	})
	return links, err
}

// submodules checks out those of a commit that can be below the wanted directory.
func (c *gitCheckout) submodules(ctx context.Context, m *gitMirror, from gitCommit, links []gitlink, at string, depth int) error {
	known, err := declared(ctx, m, from.Commit)
	if err != nil {
		return err
	}
	for _, l := range links {
		where := path.Join(at, l.path)
		if !related(where, c.g.want.Subdir) {
			continue
		}
		fail := func(why error) error {
			return &GitError{Source: c.g.String(), Op: "submodule " + quote(where), Err: why}
		}
		d := known[l.path]
		switch {
		case d.update == "none":
			continue
		case d.url == "":
			return fail(errors.New(".gitmodules has no url for it; leave submodules out, or repair the repository"))
		case !cleanRelative(l.path) || strings.Contains("/"+strings.ToLower(l.path)+"/", "/.git/"):
			return fail(errors.New("its path is not one of a directory"))
		}
		remote, err := submoduleRemote(from.Remote, d.url)
		if err == nil {
			err = gitref.CheckRemote(remote)
		}
		if err != nil {
			return fail(err)
		}
		if err := c.repository(ctx, gitCommit{Remote: remote, Commit: l.commit}, where, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// related reports whether one of two paths contains the other; "" is everything.
func related(a, b string) bool {
	return a == b || a == "" || b == "" || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}

// submodule is what .gitmodules says of one.
type submodule struct{ path, url, update string }

// declared reads .gitmodules of a commit, by path.
func declared(ctx context.Context, m *gitMirror, commit string) (map[string]submodule, error) {
	blob := commit + ":.gitmodules"
	if _, err := m.git(ctx, "cat-file", "-e", blob); err != nil {
		return nil, nil
	}
	out, err := m.git(ctx, "config", "-z", "--blob", blob, "--list")
	if err != nil {
		return nil, err
	}
	byName := map[string]*submodule{}
	in := bufio.NewScanner(bytes.NewReader(out))
	in.Buffer(nil, len(out)+1)
	in.Split(func(data []byte, end bool) (int, []byte, error) {
		if n := bytes.IndexByte(data, 0); n >= 0 {
			return n + 1, data[:n], nil
		}
		return 0, nil, nil
	})
	for in.Scan() {
		key, value, _ := strings.Cut(in.Text(), "\n")
		rest, ok := strings.CutPrefix(key, "submodule.")
		dot := strings.LastIndexByte(rest, '.')
		if !ok || dot < 0 {
			continue
		}
		s := byName[rest[:dot]]
		if s == nil {
			s = &submodule{}
			byName[rest[:dot]] = s
		}
		switch rest[dot+1:] {
		case "path":
			s.path = value
		case "url":
			s.url = value
		case "update":
			s.update = value
		}
	}
	byPath := map[string]submodule{}
	for _, s := range byName {
		byPath[s.path] = *s
	}
	return byPath, in.Err()
}

// submoduleRemote is the remote of a submodule: a URL, or a path from that of the
// repository (gitmodules(5), url).
func submoduleRemote(parent, url string) (string, error) {
	if !strings.HasPrefix(url, "./") && !strings.HasPrefix(url, "../") {
		return url, nil
	}
	base := strings.TrimSuffix(parent, "/")
	for {
		switch {
		case strings.HasPrefix(url, "./"):
			url = url[2:]
			continue
		case strings.HasPrefix(url, "../"):
			url = url[3:]
			cut := strings.LastIndexAny(base, "/:")
			if cut < 0 || cut == len(base)-1 || strings.HasSuffix(base[:cut], "/") || strings.HasSuffix(base[:cut], ":") {
				return "", fmt.Errorf("its url leaves the host of %s", gitref.Redact(parent))
			}
			if base[cut] == ':' { // user@host:path
				cut++
			}
			base = base[:cut]
			continue
		}
		break
	}
	if strings.HasSuffix(base, ":") {
		return base + strings.TrimSuffix(url, "/"), nil
	}
	return base + "/" + strings.TrimSuffix(url, "/"), nil
}

// onlyDirectories checks that a path of the work tree is a directory that is reached
// without a link.
func (c *gitCheckout) onlyDirectories(p, otherwise string) error {
	for i := 0; p != "" && i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		if fi, err := c.root.Lstat(filepath.FromSlash(p[:i])); err != nil || !fi.IsDir() {
			return &GitError{Source: c.g.String(), Op: "checkout", Err: errors.New(otherwise)}
		}
	}
	return nil
}

// keepGit makes the directory .git: one commit, where the branch or tag that led to it
// has its name, the remote without a password, and no trace of this machine.
func (c *gitCheckout) keepGit(ctx context.Context, from gitCommit) error {
	m, work := c.g.mirror(from.Remote), c.root.Name()
	env := []string{"GIT_DIR=" + filepath.Join(work, ".git"), "GIT_WORK_TREE=" + work}
	init := []string{"init", "-q", "--template="}
	if len(from.Commit) == 64 {
		init = append(init, "--object-format=sha256")
	}
	kept := keepRef(from.Commit)
	if _, err := m.git(ctx, "rev-parse", "--verify", "-q", kept); err != nil {
		if _, err := m.git(ctx, "update-ref", kept, from.Commit); err != nil {
			return err
		}
	}
	refspec := "+" + kept
	if strings.HasPrefix(from.Ref, "refs/") {
		refspec += ":" + from.Ref
	}
	for _, args := range [][]string{
		init,
		{"fetch", "-q", "-u", "--depth=1", "--no-tags", "--", "file://" + m.dir, refspec},
		{"update-ref", "--no-deref", "HEAD", from.Commit},
		{"read-tree", from.Commit},
		{"remote", "add", "origin", gitref.Redact(from.Remote)},
	} {
		if _, err := c.g.git(ctx, gitCall{dir: work, env: env, protocols: "file", args: args}); err != nil {
			return err
		}
	}
	return errors.Join(c.root.RemoveAll(".git/logs"), c.root.RemoveAll(".git/FETCH_HEAD"))
}
