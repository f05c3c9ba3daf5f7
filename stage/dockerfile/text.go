package dockerfile

import (
	"bytes"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/stagewright/stagewright/stage"
)

// source is a Dockerfile's text by lines, for positions: the parser knows lines
// only.
type source struct {
	name  string
	lines [][]byte
}

func newSource(name string, text []byte) *source {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	return &source{name: name, lines: bytes.Split(text, []byte("\n"))}
}

// at is the beginning of a line's text. Lines and columns are 1-based, columns
// count bytes.
func (s *source) at(line int) stage.Position {
	line = max(line, 1)
	column := 1
	if line <= len(s.lines) {
		l := s.lines[line-1]
		if rest := bytes.TrimLeft(l, " \t\v\f\r"); len(rest) > 0 {
			column += len(l) - len(rest)
		}
	}
	return stage.Position{File: s.name, Line: line, Column: column}
}

// find is the first place of a word in an instruction, or where the instruction
// begins.
func (s *source) find(node *parser.Node, word string) stage.Position {
	if word == "" {
		return s.at(node.StartLine)
	}
	for line := node.StartLine; line <= min(node.EndLine, len(s.lines)); line++ {
		if column := bytes.Index(s.lines[line-1], []byte(word)); column >= 0 {
			return stage.Position{File: s.name, Line: line, Column: column + 1}
		}
	}
	return s.at(node.StartLine)
}

// blank returns the text with lines first to last emptied, so that what stands
// around a mistake can be read too.
func (s *source) blank(first, last int) []byte {
	var b bytes.Buffer
	for i, line := range s.lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		if i+1 < first || i+1 > last {
			b.Write(line)
		}
	}
	return b.Bytes()
}

// shortened is an instruction for a message: its first line.
func shortened(node *parser.Node) string {
	line, _, more := strings.Cut(strings.TrimSpace(node.Original), "\n")
	if more {
		line += " …"
	}
	return line
}
