package serve

import (
	"net/http"
	"regexp"
	"strings"
)

type kind uint8

const (
	version kind = iota // /v2/
	manifests
	blobs
	tags
	referrers
)

// target is what a path asks for.
type target struct {
	kind      kind
	repo      string
	reference string // tag or digest; empty for tags
}

// The forms of names are those of the OCI distribution specification 1.1, "Pulling manifests", and of the image specification's digests.
var (
	repoForm   = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagForm    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	digestForm = regexp.MustCompile(`^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{32,256}$`)
)

// maxRepo is the longest name of a repository that clients allow, in bytes (distribution/reference: NameTotalLengthMax).
const maxRepo = 255

// parse reads the path of a request. A repository may have parts that are called like what follows it, so it is read from its end.
func parse(path string) (target, *Error) {
	if path == "/v2" || path == "/v2/" {
		return target{kind: version}, nil
	}
	rest, ok := strings.CutPrefix(path, "/v2/")
	head, last := cutLast(rest)
	repo, what := cutLast(head)
	t := target{repo: repo, reference: last}
	switch {
	case !ok:
		return t, &Error{http.StatusNotFound, "UNSUPPORTED", "the path does not begin with /v2/"}
	case what == "manifests":
		t.kind = manifests
	case what == "blobs":
		t.kind = blobs
	case what == "referrers":
		t.kind = referrers
	case what == "tags" && last == "list":
		t.kind, t.reference = tags, ""
	default:
		return t, &Error{http.StatusNotFound, "UNSUPPORTED", "no such path; there are /v2/NAME/ and manifests/REFERENCE, blobs/DIGEST, tags/list or referrers/DIGEST"}
	}
	return t, t.check()
}

func (t target) check() *Error {
	if len(t.repo) > maxRepo || !repoForm.MatchString(t.repo) {
		return &Error{http.StatusBadRequest, "NAME_INVALID", "the repository must be 1 to 255 of a-z, 0-9, and single . _ - / between them"}
	}
	if t.kind == tags || t.kind == manifests && tagForm.MatchString(t.reference) {
		return nil
	}
	if !digestForm.MatchString(t.reference) {
		if t.kind == manifests && !strings.Contains(t.reference, ":") {
			return &Error{http.StatusNotFound, "MANIFEST_UNKNOWN", "a tag must be 1 to 128 of A-Z, a-z, 0-9, _ . - and not begin with . or -"}
		}
		return &Error{http.StatusBadRequest, "DIGEST_INVALID", "a digest is an algorithm, a colon and hexadecimal digits: sha256:…"}
	}
	if hex, ok := strings.CutPrefix(t.reference, "sha256:"); ok && (len(hex) != 64 || strings.Trim(hex, "0123456789abcdef") != "") {
		return &Error{http.StatusBadRequest, "DIGEST_INVALID", "a sha256 digest has 64 of 0-9 and a-f"}
	}
	return nil
}

// byDigest reports whether the reference is a digest. A tag has no colon.
func (t target) byDigest() bool { return strings.Contains(t.reference, ":") }

// cutLast cuts s at its last slash.
func cutLast(s string) (before, after string) {
	i := strings.LastIndexByte(s, '/')
	return s[:max(i, 0)], s[i+1:]
}
