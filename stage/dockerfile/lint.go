package dockerfile

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"

	"github.com/stagewright/stagewright/arg"
	"github.com/stagewright/stagewright/platform"
	"github.com/stagewright/stagewright/stage"
)

// Warning is something in a Dockerfile that builds, and is probably not what was
// meant. Rules, messages and addresses are those of BuildKit's build checks.
type Warning struct {
	Rule        string // "StageNameCasing"
	Message     string // what is wrong here
	Description string // what the rule is about
	URL         string // a page that explains it; may be empty
	Pos         stage.Position
}

// String returns "Dockerfile:3: StageNameCasing: message".
func (w Warning) String() string { return fmt.Sprintf("%s: %s: %s", w.Pos, w.Rule, w.Message) }

// LintOptions are what warnings depend on beside the text. The zero value checks
// every stage for this machine's platform, with the defaults of all arguments and
// without a look at base images.
type LintOptions struct {
	// Target is the name or the number of the stage whose needs are checked; empty means
	// every stage.
	Target string
	// Args are the values of build arguments.
	Args arg.Values
	// Platform is what to build for; zero means BuildPlatform.
	Platform platform.Platform
	// BuildPlatform is the machine that builds; zero means this one, with Linux
	// as the operating system.
	BuildPlatform platform.Platform
	// Resolver tells what base images are. With nil, a variable that a base
	// image may define is never called undefined.
	Resolver stage.Resolver
	// Ignore are the rules of the context's ignore file, for CopyIgnoredFile.
	Ignore []string
}

func (o LintOptions) withDefaults() LintOptions {
	if o.BuildPlatform.IsZero() {
		o.BuildPlatform = platform.Host()
		o.BuildPlatform.OS = "linux"
	}
	if o.Platform.IsZero() {
		o.Platform = o.BuildPlatform
	}
	return o
}

// Warnings are what [File.Lint] finds in every stage without knowing more than
// the file, in the order of its lines. Rules that the file itself switches off
// with "# check=skip=RULE" are left out.
func (f *File) Warnings() []Warning {
	list, _ := f.Lint(context.Background(), LintOptions{})
	return list
}

// Lint checks the file with BuildKit's rules. The error says that the target is
// unknown, that an ignore rule is malformed, or it is the context's; what the
// Resolver cannot answer is left unchecked.
func (f *File) Lint(ctx context.Context, o LintOptions) ([]Warning, error) {
	l := f.linting(ctx, o.withDefaults())
	if len(o.Ignore) > 0 {
		m, err := patternmatcher.New(o.Ignore)
		if err != nil {
			return nil, fmt.Errorf("ignore rules: %w", err)
		}
		l.ignore = m
	}
	if o.Target == "" {
		for i := range f.stages {
			l.stage(i)
		}
	} else {
		i, err := f.index(o.Target)
		if n, e := strconv.Atoi(o.Target); err != nil && e == nil && n >= 0 && n < len(f.stages) {
			i, err = n, nil
		}
		if err != nil {
			return nil, err
		}
		l.reach(i)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return l.sorted(), nil
}

// collector is a linter with the file's own options that adds what it finds to
// list.
func (f *File) collector(list *[]Warning) *linter.Linter {
	config := *f.lint
	config.Warn = func(rule, description, url, message string, at []parser.Range) {
		*list = append(*list, Warning{Rule: rule, Message: message, Description: description, URL: url, Pos: f.src.at(firstLine(at))})
	}
	return linter.New(&config)
}

// checkNames finds what the stages' names and the instructions' letter case have
// against them.
func (f *File) checkNames(lint *linter.Linter) {
	seen := map[string]bool{}
	for _, s := range f.stages {
		if s.Name == "" {
			continue
		}
		if s.Name == "context" || s.Name == "scratch" {
			lint.Run(&linter.RuleReservedStageName, s.Location, linter.RuleReservedStageName.Format(s.Name))
		}
		if seen[s.Name] {
			lint.Run(&linter.RuleDuplicateStageName, s.Location, linter.RuleDuplicateStageName.Format(s.Name))
		}
		seen[s.Name] = true
	}
	type word struct {
		text string
		at   []parser.Range
	}
	var words []word
	for _, s := range f.stages {
		words = append(words, word{s.OrigCmd, s.Location})
		for _, l := range s.lines {
			words = append(words, word{l.command.Name(), l.command.Location()})
		}
	}
	lower := 0
	for _, w := range words {
		switch w.text {
		case strings.ToLower(w.text):
			lower++
		case strings.ToUpper(w.text):
			lower--
		}
	}
	for _, w := range words {
		want, name := strings.ToUpper(w.text), "uppercase"
		if lower > 0 {
			want, name = strings.ToLower(w.text), "lowercase"
		}
		if w.text != want {
			lint.Run(&linter.RuleConsistentInstructionCasing, w.at, linter.RuleConsistentInstructionCasing.Format(w.text, name))
		}
	}
}

// isSecretName reports whether a variable's name says that it holds a secret: a
// whole word of it does, and none says that it is no secret itself.
func isSecretName(name string) bool {
	secret := false
	for word := range strings.SplitSeq(strings.ToLower(name), "_") {
		switch word {
		case "apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token":
			secret = true
		case "public", "file", "version":
			return false
		}
	}
	return secret
}

// legacy reports pairs that are written with a space.
func legacy(lint *linter.Linter, c instructions.Command, pairs instructions.KeyValuePairs) {
	for _, kv := range pairs {
		if kv.NoDelim {
			lint.Run(&linter.RuleLegacyKeyValueFormat, c.Location(), linter.RuleLegacyKeyValueFormat.Format(c.Name()))
		}
	}
}

// warningsOf are the warnings of what stage i needs, without knowing more than the file.
func (f *File) warningsOf(i int) []Warning {
	l := f.linting(context.Background(), LintOptions{}.withDefaults())
	l.reach(i)
	return l.sorted()
}
