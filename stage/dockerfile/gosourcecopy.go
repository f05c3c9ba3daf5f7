package dockerfile

import (
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/stage"
)

// copy is the call of Copy, CopyFrom, Add or AddFrom.
func (w *goWriter) copy(c *piece, pos stage.Position, op *stage.CopyOp) string {
	_, context := op.From.(stage.ContextSource)
	_, word := op.From.(stage.AddSource)
	whole := len(op.Paths) == 1 && op.Paths[0] == "."
	var name string
	var args []string
	unpack := stage.UnpackNever // as the method has it
	switch {
	case op.Add && context:
		name, args, unpack = "Add", []string{w.paths(c, op.Paths)}, stage.UnpackArchives
	case op.Add && whole:
		name = "AddFrom"
		from := op.From
		if source, ok := w.plainAdd(c, op); ok {
			from = source
		} else if word {
			unpack = stage.UnpackArchives
		}
		args = []string{w.source(c, pos, from)}
	case op.Add:
		w.refuse(c, pos, "ADD "+strings.Join(op.Paths, " "), "a part of a source in AddFrom", "it takes the whole source", "use CopyFrom")
	case context:
		name, args = "Copy", []string{w.paths(c, op.Paths)}
	default:
		name, args = "CopyFrom", []string{w.source(c, pos, op.From), w.paths(c, op.Paths)}
	}
	args = append(args, w.word(c, op.Dest))
	options := w.copyOptions(c, op)
	if from, ok := w.plainAdd(c, op); ok && from != nil {
		return callWith(name, args, options)
	}
	switch {
	case op.Unpack == unpack:
	case op.Unpack == stage.UnpackAlways:
		options = append(options, "stage.UnpackArchive()")
	case op.Unpack == stage.UnpackNever:
		options = append(options, "stage.NoUnpack()")
	default:
		w.refuse(c, pos, "COPY "+strings.Join(op.Paths, " "), "a copy that unpacks archives", "only Add does", "use Add")
	}
	return callWith(name, args, options)
}

func (w *goWriter) paths(c *piece, paths []string) string {
	if len(paths) == 1 && !strings.ContainsRune(paths[0], 0) {
		return w.word(c, paths[0])
	}
	return "stage.Files(" + strings.Join(w.words(c, paths), ", ") + ")"
}

func (w *goWriter) copyOptions(c *piece, op *stage.CopyOp) []string {
	var options []string
	text := func(name, value string) {
		if value != "" {
			options = append(options, "stage."+name+"("+w.word(c, value)+")")
		}
	}
	flag := func(name string, on bool) {
		if on {
			options = append(options, "stage."+name+"()")
		}
	}
	text("Chown", op.Chown)
	text("Chmod", op.Chmod)
	text("ChmodDirs", op.ChmodDirs)
	flag("Parents", op.Parents)
	if len(op.Exclude) > 0 {
		options = append(options, "stage.Exclude("+goList(op.Exclude)+")")
	}
	flag("Link", op.Link)
	flag("Optional", op.Optional)
	flag("KeepModes", op.Keep)
	switch op.Links {
	case stage.LinksKept:
		options = append(options, "stage.WithLinks(stage.LinksKept)")
	case stage.LinksRefused:
		options = append(options, "stage.WithLinks(stage.LinksRefused)")
	}
	for _, f := range op.Inline {
		name := "Inline"
		if f.Expand && strings.ContainsAny(string(f.Content), "$\\") {
			name = "InlineText"
		}
		options = append(options, "stage."+name+"("+goString(f.Name)+", "+goString(string(f.Content))+")")
	}
	return append(options, w.cacheOptions(op.Cache)...)
}

// plainAdd is the URL that a word of ADD is, whatever the arguments are.
func (w *goWriter) plainAdd(c *piece, op *stage.CopyOp) (stage.Source, bool) {
	add, ok := op.From.(stage.AddSource)
	if !ok || op.Unpack != stage.UnpackArchives || add.KeepGit != nil || c.parts.Rules == nil {
		return nil, false
	}
	url, constant := constantWord(add.Text, c.parts.Rules)
	isHTTP := strings.HasPrefix(url, "http://") || strings.HasPrefix(url, "https://")
	if !constant || url != add.Text || !isHTTP || strings.ContainsAny(url, "@#") || strings.Contains(url, ".git") {
		return nil, false
	}
	return stage.HTTPSource{URL: url, Checksum: add.Checksum, Unchecked: add.Checksum == ""}, true
}

// source is a source as a Go value.
func (w *goWriter) source(c *piece, pos stage.Position, from stage.Source) string {
	switch s := from.(type) {
	case stage.Stage:
		return w.value(s)
	case stage.ContextSource:
		return "stage.Context()"
	case stage.ImageSource:
		return "stage.Image(" + w.word(c, s.Ref) + ")"
	case stage.DirSource:
		return w.dir(s)
	case stage.FSSource:
		name := w.parameter(c, pos, "files", "fs.FS", "io/fs", "a file system")
		if s.Name != "" {
			return "stage.FSSource{FS: " + name + ", Name: " + goString(s.Name) + "}"
		}
		return "stage.FS(" + name + ")"
	case stage.TarSource:
		name := w.parameter(c, pos, "archive", "func() (io.ReadCloser, error)", "io", "an archive")
		return "stage.Tar(" + name + ", " + goString(s.Name) + ")"
	case stage.HTTPSource:
		return w.http(c, s)
	case stage.GitSource:
		return w.git(c, s)
	case stage.AddSource:
		fields := []string{"Text: " + w.word(c, s.Text)}
		if s.Checksum != "" {
			fields = append(fields, "Checksum: "+w.word(c, s.Checksum))
		}
		if s.KeepGit != nil {
			fields = append(fields, "KeepGit: new("+strconv.FormatBool(*s.KeepGit)+")")
		}
		return "stage.AddSource{" + strings.Join(fields, ", ") + "}"
	}
	w.refuse(c, pos, "", "the source "+from.String(), "this package does not know it", "")
	return "nil"
}

// parameter is a new parameter of the function.
func (w *goWriter) parameter(c *piece, pos stage.Position, name, typ, path, kind string) string {
	w.imports[path] = true
	name = w.ids.name(name, "")
	w.params = append(w.params, goParam{name, typ, kind, pos})
	return name
}

func (w *goWriter) dir(s stage.DirSource) string {
	if s.IgnoreFile == "" && !s.GitIgnore {
		return "stage.Dir(" + goList(append([]string{s.Path}, s.Ignore...)) + ")"
	}
	fields := []string{"Path: " + goString(s.Path)}
	if s.IgnoreFile != "" {
		fields = append(fields, "IgnoreFile: "+goString(s.IgnoreFile))
	}
	if len(s.Ignore) > 0 {
		fields = append(fields, "Ignore: []string{"+goList(s.Ignore)+"}")
	}
	if s.GitIgnore {
		fields = append(fields, "GitIgnore: true")
	}
	return "stage.DirSource{" + strings.Join(fields, ", ") + "}"
}

func (w *goWriter) http(c *piece, s stage.HTTPSource) string {
	switch {
	case s.Name == "" && s.Unchecked && s.Checksum == "":
		return "stage.HTTPUnchecked(" + w.word(c, s.URL) + ")"
	case s.Name == "" && !s.Unchecked:
		return "stage.HTTP(" + w.word(c, s.URL) + ", " + w.word(c, s.Checksum) + ")"
	}
	fields := []string{"URL: " + w.word(c, s.URL)}
	if s.Checksum != "" {
		fields = append(fields, "Checksum: "+w.word(c, s.Checksum))
	}
	if s.Unchecked {
		fields = append(fields, "Unchecked: true")
	}
	if s.Name != "" {
		fields = append(fields, "Name: "+goString(s.Name))
	}
	return "stage.HTTPSource{" + strings.Join(fields, ", ") + "}"
}

func (w *goWriter) git(c *piece, s stage.GitSource) string {
	text := s.Remote
	if s.Ref != "" || s.Subdir != "" {
		text += "#" + s.Ref
	}
	if s.Subdir != "" {
		text += ":" + s.Subdir
	}
	if stage.Git(text) == s && (c.parts.Rules == nil || simpleWord(text, c.parts.Rules, false) == text) {
		return "stage.Git(" + goString(text) + ")"
	}
	fields := []string{"Remote: " + w.word(c, s.Remote)}
	for _, f := range []struct{ name, value string }{{"Ref", s.Ref}, {"Subdir", s.Subdir}, {"Checksum", s.Checksum}} {
		if f.value != "" {
			fields = append(fields, f.name+": "+w.word(c, f.value))
		}
	}
	if s.KeepGit {
		fields = append(fields, "KeepGit: true")
	}
	if s.Submodules {
		fields = append(fields, "Submodules: true")
	}
	return "stage.GitSource{" + strings.Join(fields, ", ") + "}"
}
