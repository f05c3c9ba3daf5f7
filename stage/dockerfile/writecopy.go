package dockerfile

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/stagewright/stagewright/stage"
)

// copyLine is a COPY or an ADD in pieces.
type copyLine struct {
	name    string
	flags   []string
	sources []string
	dest    string
	inline  []instructions.SourceContent
}

// copy is the instruction of a copy.
func (w *fileWriter) copy(c *piece, at stage.Position, op *stage.CopyOp) string {
	l := &copyLine{name: "COPY"}
	if op.Add {
		l.name = "ADD"
	}
	step := l.name + " " + strings.Join(op.Paths, " ")
	w.checkCopy(c, at, step, op)
	for _, p := range op.Paths {
		l.sources = append(l.sources, w.word(c, at, step, p))
	}
	if !w.copySource(c, at, step, op, l) {
		return ""
	}
	w.copyFlags(c, at, step, op, l)
	l.inline = w.inline(c, at, step, op.Inline)
	l.dest = w.word(c, at, step, op.Dest)
	return w.copyText(c, at, l)
}

// checkCopy refuses what an option of a copy means in Go alone.
func (w *fileWriter) checkCopy(c *piece, at stage.Position, step string, op *stage.CopyOp) {
	if op.ChmodDirs != "" {
		w.refuse(c, at, step, "stage.ChmodDirs", "--chmod is for files and directories", "use a symbolic mode, as in \"u=rwX,go=rX\"")
	}
	if op.Optional {
		w.refuse(c, at, step, "stage.Optional", "a path that is missing is an error", "use a wildcard, which may match nothing")
	}
	if op.Links != stage.LinksFollowed {
		w.refuse(c, at, step, "stage.WithLinks", "links among the sources are followed", "copy the directory above them, in which links are kept")
	}
	for _, o := range cacheRefusals(op.Cache) {
		w.refuse(c, at, step, "stage."+o.name, "COPY has no flag for it", o.fix)
	}
	if c.parts.Rules != nil {
		return
	}
	for _, p := range op.Paths {
		if strings.Contains(p, "**") && !op.Parents {
			w.refuse(c, at, step, "the wildcard ** without stage.Parents", "it is the same as * there", "add Parents, or list the directories")
		}
	}
}

// copySource sets what the source of a copy means: a flag, or the first word.
func (w *fileWriter) copySource(c *piece, at stage.Position, step string, op *stage.CopyOp, l *copyLine) bool {
	whole := len(op.Paths) == 1 && op.Paths[0] == "." && op.Add
	switch s := op.From.(type) {
	case stage.ContextSource:
		return true
	case stage.Stage, stage.ImageSource:
		if name, ok := w.fromName(c, at, step, s); ok {
			l.flags = append(l.flags, "--from="+name)
			return !op.Add || w.fail(c, at, step, "AddFrom of a stage or an image", "ADD has no --from", "use CopyFrom")
		}
		return false
	case stage.AddSource:
		l.sources = []string{w.word(c, at, step, s.Text)}
		w.addFlags(c, at, step, l, s.Checksum, s.KeepGit)
		return true
	case stage.HTTPSource:
		if !whole || s.Name != "" {
			return w.fail(c, at, step, "a part of a download, or one of another name", "ADD takes the whole file", "use AddFrom")
		}
		l.sources = []string{w.word(c, at, step, s.URL)}
		w.addFlags(c, at, step, l, s.Checksum, nil)
		return true
	case stage.GitSource:
		ref := gitText(s)
		if !whole || ref == "" {
			return w.fail(c, at, step, s.String(), "ADD takes whole repositories whose URL ends in .git", "use AddFrom")
		}
		l.sources = []string{w.word(c, at, step, ref)}
		var keep *bool
		if s.KeepGit {
			keep = &s.KeepGit
		}
		w.addFlags(c, at, step, l, s.Checksum, keep)
		return true
	}
	return w.fail(c, at, step, op.From.String(), "it is a further build context, which no Dockerfile names", "copy from the context, or from a stage")
}

func (w *fileWriter) fail(c *piece, at stage.Position, step, feature, why, fix string) bool {
	w.refuse(c, at, step, feature, why, fix)
	return false
}

// fromName is a stage or an image as --from names it.
func (w *fileWriter) fromName(c *piece, at stage.Position, step string, from stage.Source) (string, bool) {
	switch s := from.(type) {
	case stage.Stage:
		return w.piece(s).name, true
	case stage.ImageSource:
		ref, ok := s.Ref, !strings.Contains(s.Ref, "$")
		if ok && c.parts.Rules != nil {
			ref, ok = constantWord(s.Ref, c.parts.Rules)
		}
		if !ok {
			return "", w.fail(c, at, step, "an image whose reference has arguments", "--from is not expanded", "begin a stage with it: stage.From("+strconv.Quote(s.Ref)+")")
		}
		return ref, true
	}
	return "", w.fail(c, at, step, from.String(), "it is a further build context, which no Dockerfile names", "use the context, a stage or an image")
}

// gitText is a repository as ADD takes it; empty when it does not.
func gitText(s stage.GitSource) string {
	if !strings.HasSuffix(s.Remote, ".git") && !strings.HasPrefix(s.Remote, "git://") && !strings.HasPrefix(s.Remote, "git@") {
		return ""
	}
	if !s.Submodules {
		text := s.Remote + "?submodules=false"
		if s.Ref != "" {
			text += "&ref=" + s.Ref
		}
		if s.Subdir != "" {
			text += "&subdir=" + s.Subdir
		}
		return text
	}
	text := s.Remote
	if s.Ref != "" || s.Subdir != "" {
		text += "#" + s.Ref
	}
	if s.Subdir != "" {
		text += ":" + s.Subdir
	}
	return text
}

func (w *fileWriter) addFlags(c *piece, at stage.Position, step string, l *copyLine, checksum string, keep *bool) {
	if checksum != "" {
		l.flags = append(l.flags, "--checksum="+w.flag(w.word(c, at, step, checksum)))
		w.syntax = true
	}
	if keep != nil {
		l.flags = append(l.flags, "--keep-git-dir="+strconv.FormatBool(*keep))
		w.syntax = true
	}
}

func (w *fileWriter) copyFlags(c *piece, at stage.Position, step string, op *stage.CopyOp, l *copyLine) {
	usual := stage.UnpackNever
	switch op.From.(type) {
	case stage.ContextSource, stage.AddSource:
		if op.Add {
			usual = stage.UnpackArchives
		}
	}
	switch {
	case op.Unpack == usual:
	case !op.Add || op.Unpack == stage.UnpackArchives:
		w.refuse(c, at, step, "a copy that unpacks archives", "COPY does not", "use Add")
	default:
		w.syntax = true
		l.flags = append(l.flags, "--unpack="+strconv.FormatBool(op.Unpack == stage.UnpackAlways))
	}
	if op.Chown != "" {
		l.flags = append(l.flags, "--chown="+w.flag(w.word(c, at, step, op.Chown)))
	}
	if op.Chmod != "" {
		l.flags = append(l.flags, "--chmod="+w.flag(w.word(c, at, step, op.Chmod)))
		w.syntax = true
	}
	for name, on := range map[string]bool{"--link": op.Link, "--parents": op.Parents} {
		if on {
			l.flags = append(l.flags, name)
			w.syntax = true
		}
	}
	for _, pattern := range op.Exclude {
		l.flags = append(l.flags, "--exclude="+w.flag(pattern))
		w.syntax = true
	}
	slices.SortStableFunc(l.flags, func(a, b string) int { return flagOrder(a) - flagOrder(b) })
}

// flagOrder is the order in which flags are usually written.
func flagOrder(flag string) int {
	name, _, _ := strings.Cut(flag, "=")
	return slices.Index([]string{"--from", "--checksum", "--keep-git-dir", "--unpack", "--chown", "--chmod", "--link", "--parents", "--exclude"}, name)
}

// inline are the files of a copy that stand in the Dockerfile.
func (w *fileWriter) inline(c *piece, at stage.Position, step string, files []stage.InlineFile) []instructions.SourceContent {
	var list []instructions.SourceContent
	for _, f := range files {
		content := string(f.Content)
		if content != "" && !strings.HasSuffix(content, "\n") {
			w.refuse(c, at, step, "the inline file "+f.Name+", whose last line does not end", "a here-document always ends its lines", "end the content with \"\\n\", or copy the file from the context")
		}
		if f.Expand && c.parts.Rules == nil && strings.Contains(content, `\`) {
			w.refuse(c, at, step, "a backslash in stage.InlineText", "a here-document takes it away", "use Inline")
		}
		list = append(list, instructions.SourceContent{Path: f.Name, Data: content, Expand: f.Expand})
	}
	return list
}

// copyText writes the line, as a list in JSON where words have blanks.
func (w *fileWriter) copyText(c *piece, at stage.Position, l *copyLine) string {
	heads := make([]string, len(l.inline))
	tail := ""
	for i, f := range l.inline {
		w.syntax = true
		name := f.Path
		if !f.Expand && strings.ContainsAny(f.Data, "$\\") {
			name = "'" + name + "'"
		} else {
			l.inline[i].Expand = true // it makes no difference, and needs no quotes
		}
		heads[i] = "<<" + name
		tail += "\n" + f.Data + f.Path
	}
	words := slices.Concat(l.sources, heads, []string{l.dest})
	same := func(cmd any) bool { return l.same(cmd) }
	head := strings.Join(slices.Concat([]string{l.name}, l.flags), " ")
	line := head + " " + strings.Join(words, " ") + tail
	if cmd, _ := w.read(line); cmd == nil || !same(cmd) {
		for i, word := range l.sources {
			l.sources[i] = w.simple(word)
		}
		l.dest = w.simple(l.dest)
		line = head + " " + jsonList(slices.Concat(l.sources, heads, []string{l.dest})) + tail
	}
	return w.checked(c, at, line, same)
}

// same reports whether an instruction that was read is the one that was written.
func (l *copyLine) same(cmd any) bool {
	var got instructions.SourcesAndDest
	switch c := cmd.(type) {
	case *instructions.CopyCommand:
		got = c.SourcesAndDest
	case *instructions.AddCommand:
		got = c.SourcesAndDest
	}
	return slices.Equal(got.SourcePaths, l.sources) && got.DestPath == l.dest && slices.Equal(got.SourceContents, l.inline)
}

// addGroup writes a group of copies that were one ADD with several kinds of sources. It
// returns the index of the group's end, or i when there is no such group here.
func (w *fileWriter) addGroup(c *piece, i int) (int, string) {
	for j := i + 1; j < len(c.ops); j++ {
		group, ok := c.ops[j].Op.(*stage.LayerOp)
		if !ok || j-c.ops[j].Group != i || !strings.HasPrefix(group.Text, "ADD ") || c.parts.Rules == nil {
			continue
		}
		first, ok := c.ops[i].Op.(*stage.CopyOp)
		if !ok {
			return i, ""
		}
		l := &copyLine{name: "ADD"}
		at := c.ops[i].Pos
		for _, op := range c.ops[i:j] {
			cp, ok := op.Op.(*stage.CopyOp)
			if !ok || !cp.Add || !sameOptions(first, cp) || len(l.inline) > 0 {
				return i, ""
			}
			switch s := cp.From.(type) {
			case stage.ContextSource:
				for _, p := range cp.Paths {
					l.sources = append(l.sources, w.word(c, at, group.Text, p))
				}
			case stage.AddSource:
				l.sources = append(l.sources, w.word(c, at, group.Text, s.Text))
			case stage.HTTPSource: // as GoSource writes it
				l.sources = append(l.sources, w.word(c, at, group.Text, s.URL))
			default:
				return i, ""
			}
			l.inline = w.inline(c, at, group.Text, cp.Inline)
		}
		w.copyFlags(c, at, group.Text, first, l)
		l.dest = w.word(c, at, group.Text, first.Dest)
		return j, w.copyText(c, at, l)
	}
	return i, ""
}

func sameOptions(a, b *stage.CopyOp) bool {
	x, y := *a, *b
	for _, op := range []*stage.CopyOp{&x, &y} {
		if _, ok := op.From.(stage.HTTPSource); ok {
			op.Unpack = stage.UnpackArchives
		}
		op.From, op.Paths, op.Inline = nil, nil, nil
	}
	return reflect.DeepEqual(x, y)
}

// file is a File as a COPY of a here-document.
func (w *fileWriter) file(c *piece, at stage.Position, op *stage.FileOp) string {
	step := "FILE " + op.Path
	content := string(op.Content)
	if content != "" && !strings.HasSuffix(content, "\n") {
		w.refuse(c, at, step, "a file whose last line does not end", "a here-document always ends its lines", "end the content with \"\\n\", or copy the file from the context")
		return ""
	}
	l := &copyLine{name: "COPY", dest: w.word(c, at, step, op.Path)}
	if op.Owner != "" {
		l.flags = append(l.flags, "--chown="+w.flag(w.word(c, at, step, op.Owner)))
	}
	if op.Mode != 0o644 {
		l.flags = append(l.flags, "--chmod="+w.fileMode(op))
	}
	l.inline = []instructions.SourceContent{{Path: delimiter(content), Data: content}}
	return w.copyText(c, at, l)
}

// fileMode is the mode of a file: in octal when the directory is known to be there, since
// in Docker an octal mode is that of directories on the way, too.
func (w *fileWriter) fileMode(op *stage.FileOp) string {
	octal := fmt.Sprintf("%o", op.Mode)
	step := w.steps[op]
	if op.Mode == 0o755 || step == nil {
		return octal
	}
	dir := path.Dir(step.Op.(*stage.FileOp).Path)
	if dir == "/" || step.Config.WorkingDir == dir || strings.HasPrefix(step.Config.WorkingDir, dir+"/") {
		return octal
	}
	words := make([]string, 3)
	for i, who := range []string{"u", "g", "o"} {
		bits := op.Mode >> (6 - 3*i) & 7
		words[i] = who + "="
		for j, letter := range []string{"r", "w", "x"} {
			if bits&(4>>j) != 0 {
				words[i] += letter
			}
		}
		if op.Mode&(0o4000>>i) != 0 && i < 2 {
			words[i] += "s"
		}
	}
	if op.Mode&0o1000 != 0 {
		words = append(words, "+t")
	}
	return strings.Join(words, ",")
}

// delimiter is a word that no line of a text is.
func delimiter(content string) string {
	for i := 1; ; i++ {
		word := "EOF"
		if i > 1 {
			word += strconv.Itoa(i)
		}
		if !slices.Contains(strings.Split(content, "\n"), word) {
			return word
		}
	}
}
