package dockerfile

import (
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/stagewright/stagewright/stage"
)

// copy adds a COPY to stage i.
func (b *builder) copy(i int, s stage.Stage, l line, c *instructions.CopyCommand) stage.Stage {
	options := copyOptions(c.Chown, c.Chmod, c.Link, c.ExcludePatterns)
	if c.Parents {
		options = append(options, stage.Parents())
	}
	options = append(options, inline(c.SourceContents)...)
	for _, src := range c.SourcePaths {
		if isRemote(src) {
			b.problems.add(b.file.src.find(l.node, src), shortened(l.node), &SyntaxError{Instruction: "COPY", Msg: src + " is no path of a context"},
				"write ADD, which fetches URLs and git repositories")
			return s
		}
	}
	from := stage.Source(stage.Context())
	if c.From != "" {
		var ok bool
		if from, ok = b.source(i, l, c.From, "COPY --from", true); !ok {
			return s
		}
	}
	return s.CopyFrom(from, stage.Files(c.SourcePaths...), c.DestPath, options...)
}

func copyOptions(chown, chmod string, link bool, exclude []string) []stage.CopyOption {
	var options []stage.CopyOption
	if chown != "" {
		options = append(options, stage.Chown(chown))
	}
	if chmod != "" {
		options = append(options, stage.Chmod(chmod))
	}
	if link {
		options = append(options, stage.Link())
	}
	if len(exclude) > 0 {
		options = append(options, stage.Exclude(exclude...))
	}
	return options
}

func inline(files []instructions.SourceContent) []stage.CopyOption {
	var options []stage.CopyOption
	for _, f := range files {
		if f.Expand {
			options = append(options, stage.InlineText(f.Path, f.Data))
		} else {
			options = append(options, stage.Inline(f.Path, f.Data))
		}
	}
	return options
}

// isRemote reports whether a source says by itself that it is no path.
func isRemote(src string) bool {
	for _, scheme := range []string{"http://", "https://", "ssh://", "git://"} {
		if strings.HasPrefix(src, scheme) {
			return true
		}
	}
	user, rest, ok := strings.Cut(src, "@")
	return ok && strings.Contains(rest, ":") && !strings.ContainsAny(user, "/:")
}

// add adds an ADD. Its sources can be of several kinds, and each kind but paths is an
// operation of its own; together they have one layer.
func (b *builder) add(s stage.Stage, l line, c *instructions.AddCommand) stage.Stage {
	options := copyOptions(c.Chown, c.Chmod, c.Link, c.ExcludePatterns)
	switch {
	case c.Unpack != nil && *c.Unpack:
		options = append(options, stage.UnpackArchive())
	case c.Unpack != nil:
		options = append(options, stage.NoUnpack())
	}
	if c.Checksum != "" && len(c.SourcePaths) != 1 {
		b.problems.add(b.file.src.find(l.node, "--checksum"), shortened(l.node), &SyntaxError{Instruction: "ADD", Msg: "--checksum with several sources"},
			"write an ADD for each of them")
		return s
	}
	options = slices.Clip(options)
	var parts []func(stage.Stage) stage.Stage
	var paths []string
	flush := func(more ...stage.CopyOption) {
		if len(paths)+len(more) == 0 {
			return
		}
		files, all := stage.Files(paths...), append(options, more...)
		parts = append(parts, func(s stage.Stage) stage.Stage { return s.Add(files, c.DestPath, all...) })
		paths = nil
	}
	for _, src := range c.SourcePaths {
		if !strings.Contains(src, "$") && !isRemote(src) && c.Checksum == "" {
			paths = append(paths, src)
			continue
		}
		flush()
		from := stage.AddSource{Text: src, Checksum: c.Checksum, KeepGit: c.KeepGitDir}
		parts = append(parts, func(s stage.Stage) stage.Stage {
			return s.AddFrom(from, c.DestPath, options...)
		})
	}
	flush(inline(c.SourceContents)...)
	if len(parts) == 1 {
		return parts[0](s)
	}
	return s.Layer(func(s stage.Stage) stage.Stage {
		for _, part := range parts {
			s = part(s)
		}
		return s
	}, addText(c))
}

// addText is what the history has of an ADD of several parts.
func addText(c *instructions.AddCommand) string {
	words := []string{"ADD"}
	if c.Chown != "" {
		words = append(words, "--chown="+c.Chown)
	}
	if c.Chmod != "" {
		words = append(words, "--chmod="+c.Chmod)
	}
	words = append(words, c.SourcePaths...)
	for _, f := range c.SourceContents {
		words = append(words, "<<"+f.Path)
	}
	return strings.Join(append(words, c.DestPath), " ")
}

// source is what --from of COPY and from= of a mount name, from inside stage i: a stage,
// a named context or an image. Only COPY takes numbers.
func (b *builder) source(i int, l line, name, what string, numbers bool) (stage.Source, bool) {
	j, isStage := b.file.named(name)
	if numbers && !isStage {
		var err error
		if j, isStage, err = b.file.from(name); err != nil {
			e := unknown("stage", name, b.file.Stages())
			b.problems.unknown(b.file.src.find(l.node, name), shortened(l.node), e)
			return nil, false
		}
	}
	switch {
	case isStage && j >= i && !b.file.replaced(b.file.stages[j]):
		msg, fix := " names a stage that is not defined yet", "move that stage above this one"
		if slices.Contains(b.file.reached(j, b.file.constantBase), i) {
			msg, fix = " is a circular dependency: that stage needs this one", "take what both need from a third stage"
		}
		b.problems.add(b.file.src.find(l.node, name), shortened(l.node), &SyntaxError{Instruction: strings.ToUpper(l.command.Name()), Msg: what + "=" + name + msg}, fix)
		return nil, false
	case isStage:
		return b.stage(j), true
	case name == "scratch":
		return stage.Scratch(stage.WrittenAt(l.at)), true
	}
	key := familiar(name)
	if ref, ok := b.file.contexts.refs[key]; ok {
		return stage.Image(escaped(ref)), true
	}
	if from, ok := b.file.contexts.sources[key]; ok {
		return from, true
	}
	return stage.Image(name), true
}
