package stage

import (
	"errors"
	"fmt"
	"strings"

	"github.com/stagewright/stagewright/internal/gitref"
)

// AddSource is what one word of a Dockerfile's ADD names: a URL, a git repository or a
// path of the build context, told by the text after its variables are replaced. It is a
// source of [Stage.AddFrom] in stages that are [Compatible]; elsewhere say which of
// the three is meant, with [HTTP], [Git] or [Stage.Add].
//
// With the Unpack that [Stage.Add] has, archives of the context are unpacked and
// downloads are not; [UnpackArchive] unpacks both, [NoUnpack] neither.
type AddSource struct {
	Text     string // may use ${NAME}
	Checksum string // of a URL or a git repository; empty for none; may use ${NAME}
	KeepGit  *bool  // --keep-git-dir; nil when it is not said
}

func (AddSource) source() {}

// String is the text.
func (a AddSource) String() string { return gitref.Redact(a.Text) }

// resolveAdd finds out what a word of ADD names, and sets the operation's source, its
// paths and what it unpacks. It returns the expanded word.
func (st *state) resolveAdd(op *CopyOp, a AddSource) (string, error) {
	if st.rules == nil {
		return "", errors.New("AddSource belongs to the rules of Dockerfiles; use stage.HTTP, stage.Git or Add")
	}
	text, err := st.expand(a.Text)
	if err != nil {
		return "", err
	}
	checksum, err := st.expand(a.Checksum)
	if err != nil {
		return "", err
	}
	op.Paths = []string{"."}
	ref, err := gitref.Parse(text)
	switch {
	case err == nil && !ref.LikeLocal:
		op.Unpack = UnpackNever
		op.From, err = gitSource(ref, checksum, a.KeepGit)
		return text, err
	case err != nil && !errors.Is(err, gitref.ErrNotGit):
		return "", err
	case strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://"):
		if op.Unpack == UnpackAlways {
			op.Unpack = UnpackArchives
		} else {
			op.Unpack = UnpackNever
		}
		op.From, err = checkedHTTP(HTTPSource{URL: text, Checksum: checksum, Unchecked: checksum == ""})
		return text, err
	case checksum != "":
		return "", fmt.Errorf("%q is a path of the build context, which has no checksum; --checksum belongs to a URL or a git repository", text)
	}
	if op.Unpack == UnpackAlways {
		op.Unpack = UnpackArchives
	}
	op.From, op.Paths = Context(), []string{text}
	return text, nil
}

// gitSource is a git reference as a source, with what the flags of ADD say.
func gitSource(ref gitref.Ref, checksum string, keep *bool) (Source, error) {
	switch {
	case keep != nil && ref.KeepGit != nil && *keep != *ref.KeepGit:
		return nil, errors.New("--keep-git-dir and the URL's keep-git-dir contradict each other; drop one")
	case checksum != "" && ref.Checksum != "" && checksum != ref.Checksum:
		return nil, fmt.Errorf("--checksum=%s and the URL's checksum %s contradict each other; drop one", checksum, ref.Checksum)
	}
	if ref.KeepGit != nil {
		keep = ref.KeepGit
	}
	if ref.Checksum != "" {
		checksum = ref.Checksum
	}
	return checkedGit(GitSource{
		Remote: ref.Remote, Ref: ref.Ref, Subdir: ref.Subdir, Checksum: checksum,
		KeepGit: keep != nil && *keep, Submodules: ref.Submodules == nil || *ref.Submodules,
	})
}
