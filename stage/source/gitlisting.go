package source

import (
	"bytes"
	"context"
	"strconv"
	"strings"
)

// Limits of what is checked out, submodules together. A commit of a few kilobytes can
// name one directory any number of times.
const (
	maxGitEntries = 1 << 20
	maxGitBytes   = MaxTar
)

// gitlink is a commit of another repository in a tree.
type gitlink struct{ path, commit string }

// gitListing reads a listing of git as it comes: entries of the form
// "mode type id size TAB path NUL" (git-ls-tree(1)).
type gitListing struct {
	source       string
	entries      int
	bytes        int64
	links        []gitlink
	rest         []byte // of an entry
	err          error
	most, weight int64 // limits of entries and bytes
}

// list lists a commit, whose submodules it returns, and adds it up.
func (l *gitListing) list(ctx context.Context, m *gitMirror, commit string) ([]gitlink, error) {
	l.links, l.rest = nil, nil
	_, err := m.g.git(ctx, gitCall{
		dir: m.dir, env: []string{"GIT_DIR=" + m.dir}, output: l,
		args: []string{"ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit},
	})
	if l.err != nil {
		err = l.err
	}
	return l.links, err
}

// Write takes a part of the output. An error ends git.
func (l *gitListing) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && l.err == nil; {
		end := bytes.IndexByte(rest, 0)
		if end < 0 {
			l.rest = append(l.rest, rest...)
			break
		}
		l.entry(string(append(l.rest, rest[:end]...)))
		l.rest, rest = l.rest[:0], rest[end+1:]
	}
	if len(l.rest) > maxPath+200 {
		l.err = &LimitError{Source: l.source, What: "path length in bytes", Limit: maxPath}
	}
	if l.err != nil {
		return 0, l.err
	}
	return len(p), nil
}

func (l *gitListing) entry(text string) {
	about, path, _ := strings.Cut(text, "\t")
	fields := strings.Fields(about)
	if len(fields) != 4 {
		return
	}
	if fields[1] == "commit" {
		l.links = append(l.links, gitlink{path, fields[2]})
	}
	if size, err := strconv.ParseInt(fields[3], 10, 64); err == nil {
		l.bytes += size
	}
	switch l.entries++; {
	case int64(l.entries) > l.most:
		l.err = &LimitError{Source: l.source, What: "number of files", Limit: l.most, Path: path}
	case l.bytes < 0 || l.bytes > l.weight:
		l.err = &LimitError{Source: l.source, What: "size of all files in bytes", Limit: l.weight, Path: path}
	}
}
