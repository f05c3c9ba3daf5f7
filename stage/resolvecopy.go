package stage

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/internal/filemode"
)

func (c *compiler) resolveCopy(l *link, op *CopyOp, st *state, step *Step) (Op, error) {
	cp := *op
	cp.Compatible = st.rules != nil
	written, err := st.copySources(&cp)
	if err != nil {
		return nil, err
	}
	for i, p := range cp.Paths {
		if p == "" && st.rules == nil {
			return nil, errors.New("an empty source path; write \".\" for everything")
		}
		if cp.Paths[i], err = st.copyPath(&cp, p); err != nil {
			return nil, err
		}
	}
	if err := checkLinks(cp.Links, cp.Compatible); err != nil {
		return nil, err
	}
	dest, err := st.expand(op.Dest)
	if err != nil {
		return nil, err
	}
	if n := len(cp.Paths) + len(cp.Inline); n == 0 {
		return nil, errors.New("nothing to copy")
	} else if n > 1 && !isDirectoryPath(dest) && st.rules == nil {
		return nil, fmt.Errorf("%d sources, but the destination %q is not a directory; end it in \"/\"", n, dest)
	}
	cp.Dest = st.absolute(dest)
	if cp.Chown, err = st.expand(op.Chown); err != nil {
		return nil, err
	}
	if cp.Chmod, err = st.expand(op.Chmod); err != nil {
		return nil, err
	}
	if cp.ChmodDirs, err = st.expand(op.ChmodDirs); err != nil {
		return nil, err
	}
	if err := errors.Join(checkChmod(cp.Chmod), checkChmod(cp.ChmodDirs)); err != nil {
		return nil, err
	}
	if st.rules == nil {
		if err := checkOwner(cp.Chown); err != nil {
			return nil, err
		}
	} else if cp.Link && !isNumeric(cp.Chown) {
		return nil, fmt.Errorf("--chown=%s: names are looked up in the files below, which --link knows nothing of; give numbers", cp.Chown)
	}
	if err := checkInline(op.Inline); err != nil {
		return nil, err
	}
	if cp.Inline, err = st.expandInline(op.Inline); err != nil {
		return nil, err
	}
	_, named := op.From.(AddSource)
	if !named {
		if cp.From, err = c.resolveSource(op.From, l, st, step); err != nil {
			return nil, err
		}
		// What COPY of a Dockerfile takes from is a named context, which history does not name.
		if remoteSource(cp.From) && (cp.Add || st.rules == nil) {
			written, named = []string{cp.From.String()}, true
		}
	}
	step.History = copyText(&cp, written, dest)
	word, rest, _ := strings.Cut(step.History, " ")
	step.Text = strings.Join(slices.Concat([]string{word}, unrecorded(&cp, named), []string{rest}), " ")
	return &cp, nil
}

// sourceName is what a step's text calls a source: short, since it stands in one line
// with the paths.
func sourceName(from Source) string {
	switch s := from.(type) {
	case DirSource:
		return s.Path
	case FSSource:
		if s.Name == "" {
			return "fs"
		}
		return s.Name
	}
	return strings.TrimPrefix(from.String(), "stage ")
}

// remoteSource reports whether a source is its own path: a file at a URL, or a repository.
func remoteSource(from Source) bool {
	switch from.(type) {
	case HTTPSource, GitSource:
		return true
	}
	return false
}

// unrecorded are the flags of a copy that its history does not have. named says that its paths name the source.
func unrecorded(op *CopyOp, named bool) []string {
	var flags []string
	if _, context := op.From.(ContextSource); !context && !named {
		flags = append(flags, "--from="+sourceName(op.From))
	}
	if op.Link {
		flags = append(flags, "--link")
	}
	for _, pattern := range op.Exclude {
		flags = append(flags, "--exclude="+pattern)
	}
	return flags
}

// copyText is the copy as Docker's history has it, which never names the source.
func copyText(op *CopyOp, paths []string, dest string) string {
	words := []string{"COPY"}
	if op.Add {
		words[0] = "ADD"
	}
	if op.Parents {
		words = append(words, "--parents")
	}
	if op.Chown != "" {
		words = append(words, "--chown="+op.Chown)
	}
	if op.Chmod != "" {
		words = append(words, "--chmod="+op.Chmod)
	}
	words = append(words, paths...)
	for _, file := range op.Inline {
		words = append(words, "<<"+file.Name)
	}
	return strings.Join(append(words, dest), " ")
}

// copyPath is a path of a copy, where a trailing slash says nothing.
func (sc *scope) copyPath(op *CopyOp, p string) (string, error) {
	if !op.Parents {
		return sc.sourcePath(op.From, p)
	}
	// The element "." has a meaning, which cleaning would lose.
	before, after, pivot := strings.Cut(p, "/./")
	p, err := sc.sourcePath(op.From, before)
	if err != nil || !pivot {
		return p, err
	}
	after, err = sc.sourcePath(op.From, after)
	return strings.TrimPrefix(p+"/./"+after, "./"), err
}

func checkInline(files []InlineFile) error {
	for _, f := range files {
		if f.Name == "" || f.Name != path.Base(f.Name) {
			return fmt.Errorf("inline file name %q; want one path element", f.Name)
		}
	}
	return nil
}

func checkChmod(mode string) error {
	if mode == "" {
		return nil
	}
	_, err := filemode.Parse(mode)
	return err
}

func checkLinks(l LinkRule, compatible bool) error {
	switch l {
	case LinksFollowed:
		return nil
	case LinksKept, LinksRefused:
		if compatible {
			return fmt.Errorf("links: %q; by the rules of Dockerfiles links among the sources are followed", l)
		}
		return nil
	}
	return fmt.Errorf("links: %q; want LinksFollowed, LinksKept or LinksRefused", l)
}

// isNumeric reports whether an owner has no name in it.
func isNumeric(owner string) bool { return strings.Trim(owner, "0123456789:") == "" }

func isDirectoryPath(p string) bool {
	return strings.HasSuffix(p, "/") || p == "" || p == "." || strings.HasSuffix(p, "/.")
}

// sourcePath checks and cleans a path in a source. Stages and images have a root
// of their own, so "/" is the way to write their paths; the context and
// directories of this machine have not, and Docker's silent clamping of "/x" and
// "../x" there hides mistakes.
func (sc *scope) sourcePath(from Source, p string) (string, error) {
	var local bool
	switch from.(type) {
	case ContextSource, DirSource, FSSource, TarSource, GitSource, HTTPSource:
		local = sc.rules == nil
	}
	if strings.ContainsRune(p, 0) {
		return "", fmt.Errorf("path %q has a NUL byte", p)
	}
	clean := path.Clean(p)
	if local && strings.HasPrefix(clean, "/") && clean != "/" {
		return "", fmt.Errorf("path %q: paths are relative to %s; write %q", p, from, strings.TrimPrefix(clean, "/"))
	}
	if local && (clean == ".." || strings.HasPrefix(clean, "../")) {
		return "", fmt.Errorf("path %q leaves %s; use CopyFrom with stage.Dir for files outside of it", p, from)
	}
	clean = strings.TrimPrefix(path.Clean("/"+clean), "/")
	if clean == "" {
		return ".", nil
	}
	return clean, nil
}

// expandInline replaces the variables of inline files.
func (sc *scope) expandInline(files []InlineFile) ([]InlineFile, error) {
	files = slices.Clone(files)
	for i, f := range files {
		if !f.Expand {
			continue
		}
		var text string
		var err error
		if sc.rules != nil {
			text, err = sc.expandWord(string(f.Content), arg.Options{Quotes: arg.Body}) // whatever the escape directive says
		} else {
			text, err = sc.expand(string(f.Content))
		}
		if err != nil {
			return nil, fmt.Errorf("inline file %s: %w", f.Name, err)
		}
		files[i] = InlineFile{Name: f.Name, Content: []byte(text)}
	}
	return files, nil
}

// copySources expands what a copy takes, and returns it as it is written in the history.
func (st *state) copySources(cp *CopyOp) ([]string, error) {
	if add, ok := cp.From.(AddSource); ok {
		text, err := st.resolveAdd(cp, add)
		return []string{text}, err
	}
	var err error
	cp.Paths, err = st.expandAll(cp.Paths)
	return slices.Clone(cp.Paths), err
}
