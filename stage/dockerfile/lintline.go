package dockerfile

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/util/suggest"

	"github.com/stagewright/stagewright/arg"
)

// lineLint checks one instruction.
type lineLint struct {
	*linting
	*lintState
	line
	lint *linter.Linter
}

// line checks an instruction and does what it does to the variables.
func (l *linting) line(st *lintState, at line) {
	ll := lineLint{l, st, at, l.lint.WithMergedConfigFromComments(at.command.Comments())}
	switch c := at.command.(type) {
	case *instructions.ArgCommand:
		ll.arg(c)
	case *instructions.EnvCommand:
		legacy(ll.lint, c, c.Env)
		kvs := ll.pairs(c.Env)
		for i := 0; i < len(kvs); i += 2 {
			ll.secret("ENV", kvs[i])
			st.env[kvs[i]] = kvs[i+1]
		}
	case *instructions.LabelCommand:
		legacy(ll.lint, c, c.Labels)
		ll.pairs(c.Labels)
	case *instructions.WorkdirCommand:
		if dir := ll.words(c.Path)[0]; !st.workdir && !strings.HasPrefix(dir, "/") {
			ll.lint.Run(&linter.RuleWorkdirRelativePath, c.Location(), linter.RuleWorkdirRelativePath.Format(dir))
		}
		st.workdir = true
	case *instructions.ShellCommand:
		st.shell = true
	case *instructions.CmdCommand:
		ll.shellForm(c, c.PrependShell)
	case *instructions.EntrypointCommand:
		ll.shellForm(c, c.PrependShell)
	case *instructions.HealthCheckCommand:
		ll.alone(c)
	case *instructions.ExposeCommand:
		ll.expose(c)
	case *instructions.UserCommand:
		ll.words(c.User)
	case *instructions.VolumeCommand:
		ll.words(c.Volumes...)
	case *instructions.StopSignalCommand:
		ll.words(c.Signal)
	case *instructions.RunCommand:
		ll.mounts()
	case *instructions.CopyCommand:
		ll.copy(c, &c.SourcesAndDest, c.Chown, c.Chmod, "")
	case *instructions.AddCommand:
		ll.copy(c, &c.SourcesAndDest, c.Chown, c.Chmod, c.Checksum)
	}
}

// words expands texts and reports variables that nothing defines.
func (l *lineLint) words(texts ...string) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		e := expand(text, l.file.escape, l.env, arg.Word)
		l.undefined(e)
		out[i] = e.text
	}
	return out
}

func (l *lineLint) undefined(e expanded) {
	if l.unknown || e.err != nil {
		return
	}
	for _, name := range e.unmatched {
		if l.declared[name] {
			continue
		}
		var known []string
		for k := range l.env {
			known = append(known, k)
		}
		slices.Sort(known)
		near, _ := suggest.Search(name, known, true)
		l.lint.Run(&linter.RuleUndefinedVar, l.command.Location(), linter.RuleUndefinedVar.Format(name, near))
	}
}

func (l *lineLint) pairs(list instructions.KeyValuePairs) []string {
	return l.words(pairs(list)...)
}

func (l *lineLint) secret(instruction, name string) {
	if isSecretName(name) {
		l.lint.Run(&linter.RuleSecretsUsedInArgOrEnv, l.command.Location(), linter.RuleSecretsUsedInArgOrEnv.Format(instruction, name))
	}
}

func (l *lineLint) arg(c *instructions.ArgCommand) {
	for _, kv := range c.Args {
		l.secret("ARG", kv.Key)
		value, set := l.opts.Args[kv.Key]
		switch {
		case set:
		case kv.Value != nil:
			value, set = l.words(*kv.Value)[0], true
		default:
			value, set = l.global[kv.Key]
		}
		if set {
			l.env[kv.Key] = value
		}
		l.declared[kv.Key] = true
	}
}

// shellForm checks CMD and ENTRYPOINT.
func (l *lineLint) shellForm(c instructions.Command, shell bool) {
	l.alone(c)
	if shell && !l.shell {
		l.lint.Run(&linter.RuleJSONArgsRecommended, c.Location(), linter.RuleJSONArgsRecommended.Format(c.Name()))
	}
}

// alone reports the earlier one of two instructions of which only the last counts.
func (l *lineLint) alone(c instructions.Command) {
	key := strings.ToUpper(c.Name())
	if earlier, ok := l.once[key]; ok {
		l.lint.Run(&linter.RuleMultipleInstructionsDisallowed, earlier, linter.RuleMultipleInstructionsDisallowed.Format(c.Name()))
	}
	l.once[key] = c.Location()
}

func (l *lineLint) expose(c *instructions.ExposeCommand) {
	for _, text := range c.Ports {
		words, err := arg.ExpandWords(text, arg.Values(l.env).Lookup, arg.Options{Quotes: arg.Word, Escape: l.file.escape})
		if err != nil {
			return
		}
		for _, word := range words {
			host := strings.LastIndexByte(word, ':')
			_, proto, _ := strings.Cut(word[host+1:], "/")
			if proto != strings.ToLower(proto) {
				l.lint.Run(&linter.RuleExposeProtoCasing, c.Location(), linter.RuleExposeProtoCasing.Format(word))
			}
			if host > 0 && strings.Trim(word[:host], ":") != "" {
				l.lint.Run(&linter.RuleExposeInvalidFormat, c.Location(), linter.RuleExposeInvalidFormat.Format(word))
			}
		}
	}
}

func (l *lineLint) mounts() {
	for _, text := range flags(l.node, "mount") {
		m, err := parseMount(text)
		if err != nil {
			return
		}
		texts := []string{m.Path, m.Target, m.ID, m.Env}
		for _, s := range m.settings {
			_, value, _ := strings.Cut(s, "=")
			texts = append(texts, value)
		}
		l.words(texts...)
	}
}

func (l *lineLint) copy(c instructions.Command, s *instructions.SourcesAndDest, chown, chmod, checksum string) {
	paths := l.words(append([]string{chown, chmod, checksum}, append(s.SourcePaths[:len(s.SourcePaths):len(s.SourcePaths)], s.DestPath)...)...)
	for _, f := range s.SourceContents {
		if f.Expand {
			l.undefined(expand(f.Data, '\\', l.env, arg.Body))
		}
	}
	word := "Add"
	if copied, ok := c.(*instructions.CopyCommand); ok {
		if word = "Copy"; copied.From != "" {
			return
		}
	}
	for _, src := range paths[3 : len(paths)-1] {
		if !isRemote(src) && l.ignored(src) {
			l.lint.Run(&linter.RuleCopyIgnoredFile, c.Location(), linter.RuleCopyIgnoredFile.Format(word, path.Clean(src)))
		}
	}
}
