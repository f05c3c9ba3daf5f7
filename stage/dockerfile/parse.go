package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagewright/stagewright/stage"
)

// maxText is the longest Dockerfile that is read, which is BuildKit's limit too.
const maxText = 16 << 20

// Options are what the meaning of a Dockerfile depends on beside its text. The
// zero value is a file without named contexts.
type Options struct {
	// Contexts are named contexts, as docker build --build-context NAME=PATH
	// gives them: COPY --from=NAME and a mount's from=NAME read from them, FROM
	// NAME begins with their files, and a stage that has the name is not built.
	Contexts map[string]stage.Source
	// ContextRefs are named contexts that are images: "docker-image://REF",
	// "oci-layout://DIR", or a plain reference.
	ContextRefs map[string]string
}

// File is a Dockerfile that was read. What it says never changes, and it is safe for
// concurrent use.
type File struct {
	name     string
	escape   rune
	opts     Options
	contexts contexts
	global   []argLine
	stages   []*buildStage
	byName   map[string][]int // the numbers of the stages with a name, in their order
	src      *source
	lint     *linter.Config
	warnings []Warning // what reading alone finds
	made     struct {
		sync.Mutex
		builders map[string]*builder // by target
	}
}

// buildStage is one FROM with what follows it.
type buildStage struct {
	instructions.Stage
	number int
	at     stage.Position
	lines  []line
}

// line is one instruction.
type line struct {
	command instructions.Command
	node    *parser.Node
	at      stage.Position
	trigger bool // an ONBUILD of the base put it here
}

// argLine is an ARG before the first FROM.
type argLine struct {
	instructions.ArgCommand
	at stage.Position
}

// Parse reads a Dockerfile. name is what positions call it, usually its path.
//
// The error is a [stage.Errors] with every mistake that was found, each with
// line, column and what to write instead; its causes are [SyntaxError],
// [UnknownError] and [UnsupportedError].
func Parse(name string, text []byte, o Options) (*File, error) {
	var p problems
	f := &File{name: name, opts: o, src: newSource(name, text)}
	if len(text) > maxText {
		p.add(f.src.at(1), "", &SyntaxError{Msg: fmt.Sprintf("the file has %d bytes", len(text))}, fmt.Sprintf("a Dockerfile has at most %d", maxText))
		return nil, p.err()
	}
	f.contexts = newContexts(o, &p)
	f.directives(text, &p)
	tree := f.tree(text, &p)
	if tree == nil {
		return nil, p.err()
	}
	f.escape = tree.EscapeToken
	f.read(tree, &p)
	f.checkNames(f.collector(&f.warnings))
	if len(f.stages) == 0 && len(p.list) == 0 {
		p.add(f.src.at(1), "", &SyntaxError{Msg: "the file has no stage"}, `begin one with FROM, as in "FROM alpine:3.22" or "FROM scratch"`)
	}
	f.checkSources(&p)
	if err := p.err(); err != nil {
		return nil, err
	}
	return f, nil
}

// directives checks the comments at the top of the file that are no comments.
func (f *File) directives(text []byte, p *problems) {
	f.lint = &linter.Config{}
	if ref, _, at, ok := parser.DetectSyntax(text); ok && !isDockerSyntax(ref) {
		p.add(f.src.at(firstLine(at)), "# syntax="+ref, &UnsupportedError{Feature: "the frontend " + ref, Why: "it is a program of its own that reads another language"},
			"only docker/dockerfile is read here; remove the line if the file is an ordinary Dockerfile")
	}
	if options, _, at, ok := parser.ParseDirective("check", text); ok {
		config, err := linter.ParseLintOptions(options)
		if err != nil {
			p.add(f.src.at(firstLine(at)), "# check="+options, &SyntaxError{Msg: err.Error()}, `write "# check=skip=RULE,RULE;error=true"`)
			return
		}
		f.lint = config
	}
}

// isDockerSyntax reports whether a frontend is one whose language this package
// reads. The tag makes no difference: each version reads what the ones before
// read, and what a later one adds is refused where it stands.
func isDockerSyntax(ref string) bool {
	repo, _, _ := strings.Cut(ref, "@")
	if i := strings.LastIndexByte(repo, ':'); i > strings.LastIndexByte(repo, '/') {
		repo = repo[:i]
	}
	for _, registry := range []string{"docker.io/", "index.docker.io/", "registry-1.docker.io/"} {
		repo = strings.TrimPrefix(repo, registry)
	}
	return repo == "docker/dockerfile" || repo == "docker/dockerfile-upstream"
}

func firstLine(at []parser.Range) int {
	if len(at) == 0 {
		return 1
	}
	return at[0].Start.Line
}

// maxAttempts bounds how often a text is read again without a line that cannot
// be read.
const maxAttempts = 20

// tree reads the lines. A line that cannot be read is reported and left out, so
// that the mistakes behind it are found in the same run. The result is nil when
// nothing can be read.
func (f *File) tree(text []byte, p *problems) *parser.Result {
	if len(bytes.TrimSpace(text)) == 0 {
		p.add(f.src.at(1), "", &SyntaxError{Msg: "the file is empty"}, `begin with FROM, as in "FROM alpine:3.22"`)
		return nil
	}
	if line, err := f.wrongDirective(); err != nil {
		p.add(f.src.at(line), "", &SyntaxError{Msg: err.Error()}, `a directive stands once at the top of the file: "# escape=\" or "# escape=`+"`\"")
		return nil
	}
	src := newSource(f.name, text)
	for range maxAttempts {
		result, err := parseLines(text)
		if err == nil {
			return result
		}
		first, last := 1, 1
		var where *parser.LocationError
		if errors.As(err, &where) && len(where.Locations) > 0 && len(where.Locations[0]) > 0 {
			lines := where.Locations[0]
			first, last = max(lines[0].Start.Line, 1), max(lines[len(lines)-1].End.Line, 1)
		}
		if strings.Contains(err.Error(), "file with no instructions") {
			if len(p.list) == 0 {
				p.add(src.at(1), "", &SyntaxError{Msg: "the file has no instruction"}, `begin with FROM, as in "FROM alpine:3.22"`)
			}
			return nil
		}
		word, _, _ := strings.Cut(strings.TrimSpace(string(src.lines[min(first, len(src.lines))-1])), " ")
		word = strings.ToUpper(word)
		p.add(src.at(first), word, &SyntaxError{Instruction: word, Msg: err.Error()}, lineFix(word, src.lines[min(first, len(src.lines))-1], err))
		text = src.blank(first, last)
		src = newSource(f.name, text)
	}
	return nil
}

// wrongDirective finds a parser directive that is given twice or has a wrong
// value. The parser's own report of it is one line off.
func (f *File) wrongDirective() (int, error) {
	var d parser.DirectiveParser
	for i, l := range f.src.lines {
		found, err := d.ParseLine(bytes.TrimSpace(l))
		if err != nil {
			return i + 1, err
		}
		if found == nil {
			return 0, nil
		}
		if found.Name == "escape" && found.Value != `\` && found.Value != "`" {
			return i + 1, fmt.Errorf("escape character %q", found.Value)
		}
	}
	return 0, nil
}

// documentEnd finds the word that ends a here-document.
var documentEnd = regexp.MustCompile(`<<-?\s*["']?([^\s"'<>|&;]+)`)

// lineFix says what to write for a line that could not be split into words.
func lineFix(word string, line []byte, err error) string {
	if strings.Contains(err.Error(), "unterminated heredoc") {
		end := "the word after <<"
		if m := documentEnd.FindSubmatch(line); m != nil {
			end = string(m[1])
		}
		return "end it with a line that holds " + end + " and nothing else"
	}
	return usageFix(word)
}

// read turns the lines into stages.
func (f *File) read(tree *parser.Result, p *problems) {
	collect := f.collector(&f.warnings)
	for _, w := range tree.Warnings {
		if w.URL == linter.RuleNoEmptyContinuation.URL && w.Location != nil {
			collect.Run(&linter.RuleNoEmptyContinuation, []parser.Range{*w.Location}, linter.RuleNoEmptyContinuation.Format())
		}
	}
	values := f.instructions(tree.AST.Children, collect, p)
	for i, node := range tree.AST.Children {
		value := values[i]
		if value == nil {
			continue
		}
		at := f.src.at(node.StartLine)
		switch c := value.(type) {
		case *instructions.Stage:
			f.stages = append(f.stages, &buildStage{Stage: *c, number: len(f.stages), at: at})
		case *instructions.ArgCommand:
			if len(f.stages) == 0 {
				f.global = append(f.global, argLine{*c, at})
				continue
			}
			f.add(line{command: c, node: node, at: at})
		case instructions.Command:
			if len(f.stages) == 0 {
				p.add(at, shortened(node), &SyntaxError{Instruction: strings.ToUpper(node.Value), Msg: "there is no stage yet"},
					"only ARG may stand before the first FROM")
				// One report is enough: what follows belongs to the missing stage.
				f.stages = append(f.stages, &buildStage{at: at})
			}
			f.add(line{command: c, node: node, at: at})
		}
	}
	f.byName = make(map[string][]int, len(f.stages))
	for i, s := range f.stages {
		f.byName[s.Name] = append(f.byName[s.Name], i)
	}
}

// manyNodes is how many instructions one goroutine reads as fast as two.
const manyNodes = 1000

// instructions reads all instructions. What has a mistake is nil.
func (f *File) instructions(nodes []*parser.Node, lint *linter.Linter, p *problems) []any {
	values := make([]any, len(nodes))
	half := len(nodes)
	if half >= manyNodes {
		half /= 2
	}
	// What another goroutine finds in the second half comes after what is found in the first.
	var warnings []Warning
	var below problems
	var beside sync.WaitGroup
	beside.Go(func() {
		collect := f.collector(&warnings)
		for i, node := range nodes[half:] {
			values[half+i] = f.instruction(node, collect, &below)
		}
	})
	for i, node := range nodes[:half] {
		values[i] = f.instruction(node, lint, p)
	}
	beside.Wait()
	f.warnings = append(f.warnings, warnings...)
	p.list = append(p.list, below.list[:min(len(below.list), max(0, maxProblems-len(p.list)))]...)
	return values
}

func (f *File) add(l line) {
	last := f.stages[len(f.stages)-1]
	last.lines = append(last.lines, l)
}

// instruction reads one instruction, or reports why it cannot and returns nil.
func (f *File) instruction(node *parser.Node, lint *linter.Linter, p *problems) any {
	before := len(p.list)
	f.checkWords(node, p)
	f.checkRun(node, p)
	if len(p.list) > before {
		return nil
	}
	value, err := instructions.ParseInstructionWithLinter(node, lint)
	if err != nil {
		name := strings.ToUpper(node.Value)
		p.add(f.src.at(node.StartLine), shortened(node), &SyntaxError{Instruction: name, Msg: err.Error()}, usageFix(name))
		return nil
	}
	return value
}
