package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/stagewright/stagewright/internal/filelock"
	"github.com/stagewright/stagewright/internal/gitref"
	"github.com/stagewright/stagewright/internal/keep"
)

// gitProtocols are those that may be asked for a remote (git(1), GIT_ALLOW_PROTOCOL).
const gitProtocols = "http:https:ssh:git"

// gitMirror is a bare repository with the commits of one remote that were needed so
// far. Each is kept alive by a ref of its own.
type gitMirror struct {
	g      *GitFiles
	remote string
	dir    string
}

func (g *GitFiles) mirror(remote string) *gitMirror {
	name := sha256.Sum256([]byte(remote))
	return &gitMirror{g: g, remote: remote, dir: filepath.Join(g.o.Dir, "mirrors", hex.EncodeToString(name[:16]))}
}

// git runs a call on the mirror alone.
func (m *gitMirror) git(ctx context.Context, args ...string) ([]byte, error) {
	return m.g.git(ctx, gitCall{dir: m.dir, env: []string{"GIT_DIR=" + m.dir}, args: args})
}

// ask runs a call that talks to the remote.
func (m *gitMirror) ask(ctx context.Context, args ...string) ([]byte, error) {
	return m.g.git(ctx, gitCall{dir: m.dir, env: []string{"GIT_DIR=" + m.dir}, protocols: gitProtocols, args: args})
}

// has reports whether the mirror has the whole commit: its ref appears when all objects are there. A fetch that was cut short (a full
// disk) can leave the commit's own object without its files.
func (m *gitMirror) has(ctx context.Context, commit string) bool {
	return m.hasObject(ctx, keepRef(commit))
}

// hasObject reports whether the mirror has the object of a commit.
func (m *gitMirror) hasObject(ctx context.Context, name string) bool {
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err != nil {
		return false
	}
	_, err := m.git(ctx, "cat-file", "-e", name+"^{commit}")
	return err == nil
}

// hold keeps collectors off the mirror until the source is closed.
func (m *gitMirror) hold() error {
	if m.g.held[m.dir] != nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(m.dir), 0o700); err != nil {
		return fmt.Errorf("%s: no directory for its mirror: %w", m.g, err)
	}
	release, err := keep.Hold(m.dir)
	if err != nil {
		return fmt.Errorf("%s: %w", m.g, err)
	}
	if m.g.held == nil {
		m.g.held = map[string]func(){}
	}
	m.g.held[m.dir] = release
	return nil
}

// lock makes the mirror if it is missing, and keeps other processes off it.
func (m *gitMirror) lock(ctx context.Context, commit string) (unlock func(), err error) {
	if err := m.hold(); err != nil {
		return nil, err
	}
	unlock, err = filelock.Path(ctx, m.dir+keep.LockSuffix, filelock.Exclusive)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.g, err)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err == nil {
		m.removeLocks()
		return unlock, nil
	}
	args := []string{"init", "-q", "--bare", "--template="}
	if len(commit) == 64 {
		args = append(args, "--object-format=sha256")
	}
	// HEAD is written early, so the repository is made beside and renamed.
	fresh := m.dir + ".new"
	err = errors.Join(os.RemoveAll(fresh), os.RemoveAll(m.dir))
	if err == nil {
		_, err = m.g.git(ctx, gitCall{dir: filepath.Dir(m.dir), args: append(args, fresh)})
	}
	if err == nil {
		err = os.Rename(fresh, m.dir)
	}
	if err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// removeLocks removes what a git that was killed has left, with which every other git refuses to write. Nobody else writes to the mirror
// meanwhile: the caller has the lock. No ref has such a name.
func (m *gitMirror) removeLocks() {
	remove := func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, ".lock") {
			_ = os.Remove(path) // else git says that it is there
		}
		return nil
	}
	top, _ := os.ReadDir(m.dir)
	for _, e := range top {
		_ = remove(filepath.Join(m.dir, e.Name()), e, nil)
	}
	_ = filepath.WalkDir(filepath.Join(m.dir, "refs"), remove)
}

// keepRef is the ref that keeps a commit in the mirror.
func keepRef(commit string) string { return "refs/stagewright/" + commit }

// fetch makes sure that the mirror has the commit, to which ref led at the remote if it
// is not empty. Only what the commit needs is asked for, as long as the server allows
// that.
func (m *gitMirror) fetch(ctx context.Context, commit, ref string) error {
	if err := m.hold(); err != nil {
		return err
	}
	err := m.fetchOnce(ctx, commit, ref)
	if err != nil && m.mend(ctx, "--connectivity-only") {
		err = m.fetchOnce(ctx, commit, ref)
	}
	return err
}

// mend removes the mirror if it is damaged, and reports whether it was: it is there to save time, and what it had can be fetched again.
// It is asked when a call has failed, which need not be the mirror's fault.
func (m *gitMirror) mend(ctx context.Context, options ...string) bool {
	if _, err := os.Stat(filepath.Join(m.dir, "HEAD")); err != nil || ctx.Err() != nil {
		return false
	}
	if err := m.hold(); err != nil {
		return false
	}
	_, err := m.git(ctx, append([]string{"fsck", "--no-dangling", "--no-progress"}, options...)...)
	if err == nil || ctx.Err() != nil {
		return false
	}
	unlock, err := filelock.Path(ctx, m.dir+keep.LockSuffix, filelock.Exclusive)
	if err != nil {
		return false
	}
	defer unlock()
	// Without HEAD it is no mirror any more, whatever else is left of it.
	return errors.Join(os.Remove(filepath.Join(m.dir, "HEAD")), os.RemoveAll(m.dir)) == nil
}

func (m *gitMirror) fetchOnce(ctx context.Context, commit, ref string) error {
	if m.has(ctx, commit) {
		return nil
	}
	if m.g.o.Offline {
		return offlineError(m.g)
	}
	unlock, err := m.lock(ctx, commit)
	if err != nil {
		return err
	}
	defer unlock()
	if m.has(ctx, commit) {
		return nil
	}
	wanted := []string{"+" + commit + ":" + keepRef(commit)}
	if ref != "" { // what an old server gives, too
		wanted = []string{"+" + ref + ":" + keepRef(commit), wanted[0]}
	}
	for _, refspec := range wanted {
		_, err = m.ask(ctx, "fetch", "-q", "--depth=1", "--no-tags", "--", m.remote, refspec)
		if err == nil && m.has(ctx, commit) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if ferr := m.fetchAll(ctx); ferr != nil {
		return cmp.Or(err, ferr) // the first cause says more
	}
	if !m.hasObject(ctx, commit) {
		return &GitError{Source: m.g.String(), Op: "fetch", Err: fmt.Errorf("the remote %s has no commit %s on any branch or tag", gitref.Redact(m.remote), commit)}
	}
	_, err = m.git(ctx, "update-ref", keepRef(commit), commit)
	return err
}

// fetchAll gets all branches and tags with their history. The caller has the lock.
func (m *gitMirror) fetchAll(ctx context.Context) error {
	args := []string{"fetch", "-q", "--no-tags", "--force"}
	if _, err := os.Stat(filepath.Join(m.dir, "shallow")); err == nil {
		args = append(args, "--unshallow")
	}
	_, err := m.ask(ctx, append(args, "--", m.remote, "+refs/heads/*:refs/remotes/heads/*", "+refs/tags/*:refs/remotes/tags/*")...)
	return err
}

// resolve finds the commit of the wanted ref, which the store remembers for a build that is
// offline.
func (g *GitFiles) resolve(ctx context.Context) (gitCommit, error) {
	t := g.want
	if gitref.IsCommit(t.Ref) {
		return gitCommit{Remote: t.Remote, Commit: t.Ref}, g.checksum(t.Ref)
	}
	if g.o.Offline {
		return g.lastTip(ctx)
	}
	c, tip, err := g.lookUp(ctx)
	if err != nil {
		return gitCommit{}, err
	}
	if err := g.checksum(c.Commit, tip); err != nil {
		return gitCommit{}, err
	}
	return c, g.keepTip(ctx, c, tip)
}

// lookUp asks the remote for the wanted ref. tip is what the ref names: the commit, or an
// annotated tag.
func (g *GitFiles) lookUp(ctx context.Context) (c gitCommit, tip string, err error) {
	t := g.want
	asked := cmp.Or(t.Ref, "HEAD")
	if err := os.MkdirAll(g.o.Dir, 0o700); err != nil {
		return gitCommit{}, "", fmt.Errorf("%s: %w", g, err)
	}
	out, err := g.git(ctx, gitCall{dir: g.o.Dir, protocols: gitProtocols, args: []string{"ls-remote", "-q", "--", t.Remote, asked, asked + "^{}"}})
	if err != nil {
		return gitCommit{}, "", err
	}
	ref, tip, commit := pick(string(out), t.Ref)
	switch {
	case tip == "" && isAbbreviation(t.Ref):
		if commit, err = g.expand(ctx); err != nil && g.mirror(t.Remote).mend(ctx, "--connectivity-only") {
			commit, err = g.expand(ctx)
		}
		tip = commit
	case tip == "":
		err = &GitError{Source: g.String(), Op: "ls-remote", Err: fmt.Errorf("the remote has no branch or tag %q", asked)}
	case !gitref.IsCommit(tip) || !gitref.IsCommit(commit):
		err = &GitError{Source: g.String(), Op: "ls-remote", Err: fmt.Errorf("the remote names a commit %q", shorten(tip))}
	}
	return gitCommit{Remote: t.Remote, Commit: commit, Ref: ref}, tip, err
}

// pick chooses among the refs that a remote has of a name: what is named in whole,
// then a branch, then a tag, as git-checkout does. tip is what the ref names, commit is
// the same but for an annotated tag.
func pick(output, name string) (ref, tip, commit string) {
	found := map[string]string{}
	for line := range strings.Lines(output) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		found[ref] = id
	}
	if name == "" {
		return "HEAD", found["HEAD"], found["HEAD"]
	}
	for _, ref := range []string{
		"refs/" + strings.TrimPrefix(name, "refs/"), "refs/heads/" + strings.TrimPrefix(name, "refs/heads/"), "refs/tags/" + strings.TrimPrefix(name, "refs/tags/"),
	} {
		if tip := found[ref]; tip != "" {
			return ref, tip, cmp.Or(found[ref+"^{}"], tip)
		}
	}
	return "", "", ""
}

// isAbbreviation reports whether a ref can be the first digits of a commit.
func isAbbreviation(ref string) bool {
	return len(ref) >= 7 && len(ref) < 64 && strings.Trim(ref, "0123456789abcdef") == ""
}

// expand finds the one commit whose name begins with the wanted ref. No server answers
// that, so everything is fetched.
func (g *GitFiles) expand(ctx context.Context) (string, error) {
	m := g.mirror(g.want.Remote)
	unlock, err := m.lock(ctx, "")
	if err != nil {
		return "", err
	}
	defer unlock()
	find := func() (string, error) {
		out, err := m.git(ctx, "rev-parse", "--verify", "-q", g.want.Ref+"^{commit}")
		return strings.TrimSpace(string(out)), err
	}
	if _, err := os.Stat(filepath.Join(m.dir, "shallow")); err != nil {
		if commit, err := find(); err == nil { // all history that was fetched has one such commit
			return commit, nil
		}
	}
	if err := m.fetchAll(ctx); err != nil {
		return "", err
	}
	commit, err := find()
	if err != nil || !gitref.IsCommit(commit) {
		return "", &GitError{Source: g.String(), Op: "rev-parse", Err: fmt.Errorf("the remote has no branch or tag %q, and no single commit that begins so", g.want.Ref)}
	}
	_, err = m.git(ctx, "update-ref", keepRef(commit), commit)
	return commit, err
}

// checksum compares the commit with the wanted one. An annotated tag may be meant by
// its own name as well, as in BuildKit.
func (g *GitFiles) checksum(names ...string) error {
	want := g.want.Checksum
	for _, name := range names {
		if strings.HasPrefix(name, want) {
			return nil
		}
	}
	return &ChecksumError{Source: g.String(), Want: want, Got: names[0]}
}
