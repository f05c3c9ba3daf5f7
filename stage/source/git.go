package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/stagewright/stagewright/cache"
	"github.com/stagewright/stagewright/internal/gitref"
	"github.com/stagewright/stagewright/internal/tree"
)

// GitTree says which files of which repository are meant.
type GitTree struct {
	// Remote is a URL of https, http, ssh or git, or user@host:path.
	Remote string
	// Ref is a branch, a tag, a whole "refs/…" or a commit, also the first digits of
	// one (at least 7); empty means the remote's HEAD.
	Ref string
	// Subdir is a directory of the repository; empty means all of it.
	Subdir string
	// Checksum is the commit that Ref must have, or its first digits; empty for any.
	Checksum string
	// KeepGit keeps the directory .git, with one commit in it, unless Subdir is set.
	KeepGit bool
	// Submodules are part of the tree, theirs too.
	Submodules bool
}

// GitOptions say how [Git] works. Dir must be set.
type GitOptions struct {
	// Dir is a private directory for a mirror of each remote and for checkouts. It is
	// made (mode 0700) when it is needed; several processes may share it.
	Dir string
	// Temporary is a directory for checkouts, which the caller empties when the process has
	// died. Without one they are in Dir, and those of a process that was killed go a day later.
	Temporary string
	// Store remembers the files of a commit, so that an unchanged commit is not checked
	// out to know them; nil means memory.
	Store cache.Store
	// Offline asks no remote: a ref is the commit that it was when the remote was last asked,
	// and what the mirrors in Dir do not have is an error that wraps ErrOffline.
	Offline bool
	// Program is git; empty means the one in PATH.
	Program string
	// Env is all that git and ssh get of an environment, as NAME=value: proxies,
	// SSH_AUTH_SOCK, GIT_SSH_COMMAND. PATH is that of usual systems when it is not here.
	Env []string
}

// GitFiles are the files of a commit as a source. Regular files have mode 0644 or 0755,
// directories 0755, everything belongs to 0:0 and has no time. What .gitattributes says
// about line ends is done; filters such as LFS are not run.
//
// git asks nobody for a password, runs no hook, and reads no configuration of this
// machine; submodules are asked for with the same rules as the repository. A whole
// commit is looked for in the mirror before the remote is asked; other refs are
// looked up at the remote by the first List.
//
// The kept .git is complete for its one commit; its bytes depend on git's version. The
// submodules of a tree with KeepGit have none.
//
// GitFiles is safe for concurrent use. Close removes the checkout.
type GitFiles struct {
	want GitTree
	o    GitOptions

	mu       sync.Mutex
	commit   string // after load
	tree     *gitRecord
	files    *listed
	checkout string            // directory, "" before it is needed
	held     map[string]func() // mirrors, by their directories, and how to let go of them
	closed   bool
}

// Git returns the files of a repository. Nothing is asked before List. Errors are those
// of the texts in t.
func Git(t GitTree, o GitOptions) (*GitFiles, error) {
	t.Checksum = strings.ToLower(t.Checksum)
	err := errors.Join(gitref.CheckRemote(t.Remote), gitref.CheckRef(t.Ref))
	if t.Checksum != "" {
		err = errors.Join(err, gitref.CheckChecksum(t.Checksum))
	}
	if u, perr := url.Parse(t.Remote); perr == nil && u.User != nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		err = errors.Join(err, fmt.Errorf("git repository %s would send its password unencrypted; want https", quote(gitref.Redact(t.Remote))))
	}
	sub := cleanAsked(t.Subdir)
	if sub != "" && !cleanRelative(sub) || strings.Contains("/"+strings.ToLower(sub)+"/", "/.git/") {
		err = errors.Join(err, fmt.Errorf("git subdirectory %q; want a directory of the repository", shorten(t.Subdir)))
	}
	if o.Dir == "" {
		err = errors.Join(err, errors.New("GitOptions.Dir is empty; git needs a directory"))
	}
	if err != nil {
		return nil, err
	}
	t.Subdir = sub
	t.KeepGit = t.KeepGit && sub == ""
	if o.Store == nil {
		o.Store = cache.NewMemory()
	}
	return &GitFiles{want: t, o: o}, nil
}

// String names the repository for a message, without a password.
func (g *GitFiles) String() string {
	s := "git repository " + quote(gitref.Redact(g.want.Remote))
	if g.want.Ref != "" || g.want.Subdir != "" {
		s += "#" + g.want.Ref
	}
	if g.want.Subdir != "" {
		s += ":" + g.want.Subdir
	}
	return s
}

// Commit is the commit that Ref has, empty before List.
func (g *GitFiles) Commit() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.commit
}

// Remote is the address of the repository, without user and password where it is a URL of
// http or https.
func (g *GitFiles) Remote() string {
	u, err := url.Parse(g.want.Remote)
	if err != nil || u.User == nil {
		return g.want.Remote
	}
	if _, has := u.User.Password(); has || u.Scheme != "ssh" {
		u.User = nil
	}
	return u.String()
}

// List implements [Files]. Errors: *[GitError] of what git could not do,
// *[ChecksumError], *[LimitError], the context's.
func (g *GitFiles) List(ctx context.Context) ([]Entry, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.load(ctx); err != nil {
		return nil, err
	}
	return g.files.copied(), nil
}

// Hash implements [Files]. It makes sure that Open needs no network.
func (g *GitFiles) Hash(ctx context.Context, entries []*Entry) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.load(ctx); err != nil {
		return err
	}
	if len(entries) > 0 && g.checkout == "" {
		for _, m := range g.tree.Mirrors {
			if err := g.mirror(m.Remote).fetch(ctx, m.Commit, m.Ref); err != nil {
				return err
			}
		}
	}
	return g.files.fill(entries)
}

// Open implements [Files]. The first call checks the commit out.
func (g *GitFiles) Open(path string) (io.ReadCloser, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.files == nil || g.closed {
		return nil, fmt.Errorf("%s was not listed, or is closed", g)
	}
	if _, err := g.files.regular(path); err != nil {
		return nil, err
	}
	if g.checkout == "" {
		ctx, cancel := context.WithTimeout(context.Background(), gitDeadline)
		defer cancel()
		if err := g.makeCheckout(ctx); err != nil {
			return nil, err
		}
	}
	dir, err := g.directory()
	if err != nil {
		return nil, err
	}
	return dir.Open(path)
}

// Why implements [Files]. It knows nothing before List.
func (g *GitFiles) Why(path string) (Verdict, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.files == nil {
		return Verdict{}, fmt.Errorf("%s was not listed", g)
	}
	return g.files.why(path)
}

// Close removes the checkout. Mirrors stay. A second Close does nothing.
func (g *GitFiles) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, release := range g.held {
		release()
	}
	g.held = nil
	return g.dropCheckout()
}

func (g *GitFiles) dropCheckout() error {
	if g.checkout == "" {
		return nil
	}
	dir := g.checkout
	g.checkout = ""
	return os.RemoveAll(dir)
}

// load finds the commit and its files.
func (g *GitFiles) load(ctx context.Context) error {
	switch {
	case g.closed:
		return fmt.Errorf("%s: %w", g, errClosed)
	case g.files != nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	top, err := g.resolve(ctx)
	if err != nil {
		return err
	}
	root, err := g.remembered(ctx, top)
	if err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	if root == nil {
		g.tree = &gitRecord{Mirrors: []gitCommit{top}}
		if err := g.makeCheckout(ctx); err != nil {
			return errors.Join(err, g.dropCheckout())
		}
		if root, err = g.read(ctx); err == nil {
			err = g.remember(ctx, top, root)
		}
		if err != nil {
			return errors.Join(err, g.dropCheckout())
		}
	}
	g.commit = top.Commit
	g.files = newListed(g.String(), entriesOf(root))
	return nil
}

// directory is what the checkout has of the tree that is wanted.
func (g *GitFiles) directory() (*Directory, error) {
	return Dir(filepath.Join(g.checkout, "files", filepath.FromSlash(g.want.Subdir)), DirOptions{IgnoreFile: "-"})
}

// read makes a tree of the checkout, with the modes that git keeps.
func (g *GitFiles) read(ctx context.Context) (*tree.Node, error) {
	dir, err := g.directory()
	if err != nil {
		return nil, err
	}
	entries, err := dir.List(ctx)
	if err != nil {
		return nil, err
	}
	files := make([]*Entry, len(entries))
	for i := range entries {
		files[i] = &entries[i]
	}
	if err := dir.Hash(ctx, files); err != nil {
		return nil, err
	}
	e := tree.Edit(nil)
	for _, f := range files {
		meta := tree.Meta{Mode: 0o644}
		var n *tree.Node
		switch {
		case f.Mode.IsDir():
			meta.Mode = 0o755
			n = tree.NewDir(meta)
		case f.Mode.IsRegular():
			if f.Mode&0o100 != 0 {
				meta.Mode = 0o755
			}
			n = tree.NewFile(meta, tree.Digest(f.Digest), f.Size, 0)
		case f.Link != "":
			n = tree.NewSymlink(meta, f.Link)
		default:
			continue
		}
		if err := e.Put(f.Path, n); err != nil {
			return nil, fmt.Errorf("%s: %w", g, err)
		}
	}
	return e.Tree(), nil
}
