// Package gitref reads the ways in which Docker names a directory of a git
// repository: "https://host/x.git#ref:subdir", "git@host:x.git", "ssh://…",
// "git://…", "github.com/owner/x", each also with a query
// ("?branch=main&subdir=docs").
//
// [Parse] tells what a text means, [CheckRef] and [CheckRemote] whether git can be
// given it. It agrees with BuildKit 0.34 (frontend/dockerfile/dfgitutil) on which
// texts are git references and what they mean.
//
// Everything here is a pure function, safe for concurrent use.
package gitref

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// ErrNotGit says that a text does not name a git repository: it is a URL of
// something else, a path, or an image.
var ErrNotGit = errors.New("not a git repository")

// Ref is a git reference in its parts.
type Ref struct {
	// Remote is the repository as git takes it, with a user and a password if
	// they were written.
	Remote string
	// Ref is a branch, a tag, a commit, or a whole "refs/…"; empty means the
	// branch that the remote has checked out.
	Ref string
	// Subdir is a directory of the repository, slash separated and clean, empty
	// for all of it.
	Subdir string
	// Checksum is the commit that Ref must have, or the beginning of it.
	Checksum string
	// KeepGit and Submodules are nil when the text does not say.
	KeepGit, Submodules *bool
	// LikeLocal says that the text could be a relative path as well:
	// "github.com/owner/x". Docker takes it for a build context only.
	LikeLocal bool
}

// maxText is far more than any URL that a server takes.
const maxText = 8 << 10

var (
	scheme  = regexp.MustCompile(`^[a-zA-Z0-9]+://`)
	scpLike = regexp.MustCompile(`^([a-zA-Z0-9-_]+)@([a-zA-Z0-9-.]+):(.*?)(?:\?(.*?))?(?:#(.*))?$`)
)

// Parse reads a git reference. An error that wraps [ErrNotGit] means that the text
// is something else; any other, that it is a git reference with a mistake.
func Parse(text string) (Ref, error) {
	if len(text) > maxText || strings.ContainsAny(text, "\x00\r\n") {
		return Ref{}, ErrNotGit
	}
	switch {
	case strings.HasPrefix(text, "./"), strings.HasPrefix(text, "../"):
		return Ref{}, ErrNotGit
	case strings.HasPrefix(text, "github.com/"):
		r, err := fromURL("https://"+text, true)
		r.LikeLocal = true
		return r, err
	case scheme.MatchString(text):
		return fromURL(text, false)
	}
	m := scpLike.FindStringSubmatch(text)
	if m == nil {
		return Ref{}, ErrNotGit
	}
	query, err := url.ParseQuery(m[4])
	if err != nil {
		return Ref{}, fmt.Errorf("%w: query %q: %w", ErrNotGit, m[4], err)
	}
	return finish(m[1]+"@"+m[2]+":"+m[3], m[5], query)
}

// fromURL reads the form with a scheme. A URL of http is a git repository only when
// its path ends in ".git", or it must be one: others are files to download.
func fromURL(text string, must bool) (Ref, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Ref{}, fmt.Errorf("%w: %w", ErrNotGit, err)
	}
	if u.Host == "" {
		return Ref{}, ErrNotGit
	}
	switch u.Scheme {
	case "http", "https":
		if !must && !strings.HasSuffix(u.Path, ".git") {
			return Ref{}, ErrNotGit
		}
	case "ssh", "git":
	default:
		return Ref{}, fmt.Errorf("%w: git is not asked over %q", ErrNotGit, u.Scheme)
	}
	fragment, query := u.Fragment, u.Query()
	u.Fragment, u.RawFragment, u.RawQuery, u.ForceQuery = "", "", "", false
	return finish(u.String(), fragment, query)
}

// finish takes "ref:subdir" from a fragment, and what a query says.
func finish(remote, fragment string, query url.Values) (Ref, error) {
	r := Ref{Remote: remote}
	if fragment != "" {
		ref, subdir, _ := strings.Cut(fragment, ":")
		r.Ref, r.Subdir = ref, cleanSubdir(subdir)
	}
	if err := r.query(query); err != nil {
		return r, fmt.Errorf("git reference %s: %w", Redact(remote), err)
	}
	r.Subdir = cleanSubdir(r.Subdir)
	return r, nil
}

// cleanSubdir keeps a subdirectory inside the repository.
func cleanSubdir(p string) string {
	return strings.TrimPrefix(path.Join("/", p), "/")
}

// query takes the parts that stand in the query of the URL.
func (r *Ref) query(values url.Values) error {
	tag, branch := "", ""
	for k, v := range values {
		if len(v) > 1 {
			return fmt.Errorf("query %q has %d values; give one", k, len(v))
		}
		value := v[0]
		isFlag := k == "submodules" || k == "keep-git-dir" || k == "fetch-by-commit"
		if value == "" && !isFlag {
			return fmt.Errorf("query %q has no value", k)
		}
		var err error
		switch k {
		case "ref":
			err = merge(&r.Ref, "ref", value)
		case "subdir":
			err = merge(&r.Subdir, "subdir", value)
		case "tag":
			tag = withPrefix(value, "refs/tags/")
		case "branch":
			branch = withPrefix(value, "refs/heads/")
		case "checksum", "commit":
			err = merge(&r.Checksum, "checksum", value)
		case "keep-git-dir":
			r.KeepGit, err = flag(k, value)
		case "submodules":
			r.Submodules, err = flag(k, value)
		case "fetch-by-commit": // how BuildKit saves a question; what comes is the same
			_, err = flag(k, value)
		case "mtime": // times in our layers are set, whatever the files have
			if value != "checkout" && value != "commit" {
				err = fmt.Errorf("mtime %q; want checkout or commit", value)
			}
		default:
			err = fmt.Errorf("unknown query %q; want ref, branch, tag, commit, checksum, subdir, submodules, keep-git-dir, mtime or fetch-by-commit", k)
		}
		if err != nil {
			return err
		}
	}
	if tag != "" && branch != "" {
		return errors.New("it names a branch and a tag; name one")
	}
	if named := tag + branch; named != "" {
		return merge(&r.Ref, "ref", named)
	}
	return nil
}

// merge sets a part that may be written twice, but not differently.
func merge(to *string, what, value string) error {
	if *to != "" && *to != value {
		return fmt.Errorf("%s is both %q and %q; name one", what, *to, value)
	}
	*to = value
	return nil
}

func withPrefix(name, prefix string) string {
	if strings.HasPrefix(name, prefix) {
		return name
	}
	return prefix + name
}

func flag(name, value string) (*bool, error) {
	on := true
	if value != "" {
		var err error
		if on, err = strconv.ParseBool(value); err != nil {
			return nil, fmt.Errorf("%s %q; want true or false", name, value)
		}
	}
	return &on, nil
}

// IsCommit reports whether a ref is the whole name of a commit: 40 or 64
// lower-case hexadecimal digits.
func IsCommit(ref string) bool {
	return (len(ref) == 40 || len(ref) == 64) && strings.Trim(ref, "0123456789abcdef") == ""
}

// CheckChecksum reports why a text cannot be the beginning of a commit's name.
func CheckChecksum(sum string) error {
	if strings.Trim(sum, "0123456789abcdefABCDEF") != "" || len(sum) > 64 || sum == "" {
		return fmt.Errorf("checksum %q; want the hexadecimal digits of a commit, or the first of them", sum)
	}
	return nil
}

// CheckRef reports why git cannot be asked for a ref: the rules of
// git-check-ref-format(1), which also keep options and patterns out.
func CheckRef(ref string) error {
	bad := func(why string) error { return fmt.Errorf("git ref %q %s", ref, why) }
	switch {
	case ref == "":
		return nil
	case len(ref) > 1024:
		return fmt.Errorf("git ref of %d bytes; at most 1024 are taken", len(ref))
	case strings.HasPrefix(ref, "-"):
		return bad("begins with a dash")
	case strings.HasPrefix(ref, "/"), strings.HasSuffix(ref, "/"), strings.Contains(ref, "//"):
		return bad("has an empty part")
	case strings.Contains(ref, ".."), strings.HasSuffix(ref, "."), strings.Contains(ref, "@{"), ref == "@":
		return bad("is an expression; give the name of a branch, a tag or a commit")
	case strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:?*[\`, r) }):
		return bad("has a character that no ref has")
	}
	for part := range strings.SplitSeq(ref, "/") {
		if strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return bad("has a part that no ref has")
		}
	}
	return nil
}

// CheckRemote reports why git is not given a remote: only URLs of https, http, ssh
// and git are, and the form user@host:path.
func CheckRemote(remote string) error {
	bad := func(why string) error { return fmt.Errorf("git remote %q %s", Redact(remote), why) }
	if remote == "" {
		return errors.New("the git remote is empty")
	}
	if len(remote) > maxText || strings.ContainsFunc(remote, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return bad("has a space or a control character, or is too long")
	}
	host := ""
	if scheme.MatchString(remote) {
		u, err := url.Parse(remote)
		if err != nil {
			return bad("is not a URL")
		}
		switch u.Scheme {
		case "https", "http", "ssh", "git":
		default:
			return bad("is of a kind that is not asked; want https, http, ssh, git or user@host:path")
		}
		host = u.Hostname()
		if u.User != nil && strings.HasPrefix(u.User.Username(), "-") {
			return bad("has a user that begins with a dash")
		}
	} else if m := scpLike.FindStringSubmatch(remote); m != nil {
		host = m[2]
		if strings.HasPrefix(m[1], "-") || strings.HasPrefix(m[3], "-") {
			return bad("has a part that begins with a dash")
		}
	} else {
		return bad("is neither a URL nor user@host:path")
	}
	if host == "" || strings.HasPrefix(host, "-") {
		return bad("has no host that could be asked")
	}
	return nil
}

// Redact hides the password, or the token, of a URL, also of one that cannot be parsed.
func Redact(remote string) string {
	kind, rest, ok := strings.Cut(remote, "://")
	if !ok || !strings.Contains(rest, "@") {
		return remote
	}
	u, err := url.Parse(remote)
	if err != nil {
		host := rest
		if end := strings.IndexAny(rest, `/?#\\`); end >= 0 {
			host = rest[:end]
		}
		switch at := strings.LastIndexByte(host, '@'); {
		case at >= 0:
			return kind + "://xxxxx" + rest[at:]
		case strings.Contains(host, ":"): // of a password with a slash
			return kind + "://xxxxx" + rest[strings.LastIndexByte(rest, '@'):]
		}
		return remote
	}
	if u.User == nil {
		return remote
	}
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword("xxxxx", "xxxxx")
	} else if u.Scheme != "ssh" {
		u.User = url.User("xxxxx")
	}
	return u.String()
}
