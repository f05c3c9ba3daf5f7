package dockerfile

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// longLine is what a line may have for lineReader: from 64 KiB on, BuildKit's parser refuses it.
const longLine = 60_000

// parseLines is parser.Parse, at a tenth of its cost for most texts: it splits plain lines itself and asks BuildKit's parser for each of the
// others. What has a mistake, a here-document, or a line that cannot be read alone, is read by BuildKit's parser as a whole.
func parseLines(text []byte) (*parser.Result, error) {
	r := lineReader{rest: string(text), escape: parser.DefaultEscapeToken, root: &parser.Node{StartLine: -1}}
	if !r.read() || r.root.StartLine < 0 {
		return parser.Parse(bytes.NewReader(text))
	}
	return &parser.Result{AST: r.root, EscapeToken: r.escape, Warnings: r.warnings}, nil
}

// lineReader reads a Dockerfile line by line. Its methods that return a bool return false for what it does not read.
type lineReader struct {
	rest       string
	number     int // of the line that was read last
	directives parser.DirectiveParser
	escape     rune
	comments   []string // since the last instruction
	root       *parser.Node
	warnings   []parser.Warning
	nodes      []parser.Node // to be used: one allocation serves many
}

// next returns the next line, without its end.
func (r *lineReader) next() (line string, ok bool) {
	if r.rest == "" {
		return "", false
	}
	line, r.rest, _ = strings.Cut(r.rest, "\n")
	if r.number++; r.number == 1 {
		line = strings.TrimPrefix(line, "\xef\xbb\xbf")
	}
	return strings.TrimRight(line, "\r"), true
}

func (r *lineReader) read() bool {
	top := true // only directives so far
	for {
		whole, ok := r.next()
		if !ok {
			return true
		}
		if len(whole) > longLine {
			return false
		}
		line := strings.TrimLeftFunc(whole, unicode.IsSpace)
		comment := strings.HasPrefix(line, "#")
		if comment {
			r.comment(whole)
		}
		if top {
			if top, ok = r.directive(line); !ok {
				return false
			}
		}
		if comment || line == "" {
			continue
		}
		if ok := r.instruction(line); !ok {
			return false
		}
	}
}

// comment remembers a comment for the instruction behind it. As in BuildKit, one that is indented keeps its sign.
func (r *lineReader) comment(line string) {
	text := strings.TrimSpace(line[1:])
	if text == "" {
		r.comments = nil
		return
	}
	r.comments = append(r.comments, text)
}

// directive reads a line at the top, and reports whether it is a directive, which is no comment.
func (r *lineReader) directive(line string) (is, ok bool) {
	d, err := r.directives.ParseLine([]byte(line))
	if err != nil {
		return false, false
	}
	if d == nil {
		return false, true
	}
	if len(r.comments) > 0 {
		r.comments = r.comments[:len(r.comments)-1]
	}
	if d.Name == "escape" {
		if d.Value != `\` && d.Value != "`" {
			return false, false
		}
		r.escape = rune(d.Value[0])
	}
	return true, true
}

// instruction reads the lines of an instruction, of which the first is given.
func (r *lineReader) instruction(line string) bool {
	first := r.number
	text, more := r.continued(line)
	if more {
		return r.continuation(first, text)
	}
	return r.add(first, text)
}

// continued takes the sign of continuation off a line.
func (r *lineReader) continued(line string) (text string, more bool) {
	end := strings.TrimRight(line, " \t")
	n := len(end) - 1
	if n < 0 || rune(end[n]) != r.escape || n > 0 && rune(end[n-1]) == r.escape {
		return line, false
	}
	return end[:n], true
}

// continuation reads the lines behind the first of an instruction.
func (r *lineReader) continuation(first int, line string) bool {
	var all strings.Builder
	all.WriteString(line)
	empty := false
	for more := true; more; {
		line, ok := r.next()
		if !ok {
			break
		}
		if len(line) > longLine {
			return false
		}
		switch text := strings.TrimLeftFunc(line, unicode.IsSpace); {
		case text == "":
			empty = true
			continue
		case text[0] == '#':
			continue
		}
		line, more = r.continued(line)
		all.WriteString(line)
	}
	if empty {
		at := parser.Position{Line: r.number}
		r.warnings = append(r.warnings, parser.Warning{URL: linter.RuleNoEmptyContinuation.URL, Location: &parser.Range{Start: at, End: at}})
	}
	return r.add(first, all.String())
}

// add adds an instruction.
func (r *lineReader) add(first int, line string) bool {
	if strings.Contains(line, "<<") || len(line) > longLine {
		return false
	}
	node := r.plain(line)
	if node == nil {
		if node = r.other(line); node == nil {
			return false
		}
	}
	node.PrevComment = r.comments
	r.comments = nil
	r.root.AddChild(node, first, r.number)
	return true
}

// other has BuildKit's parser read one instruction.
func (r *lineReader) other(line string) *parser.Node {
	result, err := parser.Parse(strings.NewReader("# escape=" + string(r.escape) + "\n" + line))
	if err != nil || len(result.AST.Children) != 1 || len(result.Warnings) > 0 {
		return nil
	}
	node := result.AST.Children[0]
	if node.Original != line {
		return nil // together the lines end like one that goes on
	}
	return node
}

// plain reads an instruction without quotes, escapes, JSON or anything but ASCII where these make a difference; nil when it is another.
func (r *lineReader) plain(line string) *parser.Node {
	name, rest := cutSpace(strings.TrimSpace(line))
	flags, rest, ok := r.flags(rest)
	if !ok {
		return nil
	}
	rest = strings.TrimSpace(rest)
	if rest == "" || rest[0] == '[' {
		return nil
	}
	node := r.node(name)
	node.Original, node.Flags = line, flags
	switch strings.ToLower(name) {
	case "add", "copy", "volume", "from", "expose":
		at := node
		for rest != "" {
			var word string
			word, rest = cutSpace(rest)
			at.Next = r.node(word)
			at = at.Next
		}
	case "run", "cmd", "entrypoint", "shell", "maintainer", "stopsignal", "user", "workdir":
		node.Next = r.node(rest)
	default:
		return nil
	}
	return node
}

// flags cuts the flags off the arguments of an instruction.
func (r *lineReader) flags(args string) (flags []string, rest string, ok bool) {
	flags = []string{}
	for {
		if args == "" || args[0] >= 0x80 || unicode.IsSpace(rune(args[0])) {
			return nil, "", false
		}
		if !strings.HasPrefix(args, "--") {
			return flags, args, true
		}
		word, rest := cutSpace(args)
		for i := range len(word) {
			if c := word[i]; c >= 0x80 || c == '"' || c == '\'' || rune(c) == r.escape || c == '\n' {
				return nil, "", false
			}
		}
		if word == "--" || rest == "" {
			return nil, "", false
		}
		flags, args = append(flags, word), rest
	}
}

// cutSpace cuts a text around the first spaces that separate words.
func cutSpace(text string) (before, after string) {
	const spaces = "\t\v\f\r "
	i := strings.IndexAny(text, spaces)
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimLeft(text[i:], spaces)
}

func (r *lineReader) node(value string) *parser.Node {
	if len(r.nodes) == 0 {
		r.nodes = make([]parser.Node, 64)
	}
	n := &r.nodes[0]
	r.nodes = r.nodes[1:]
	n.Value = value
	return n
}
