package dockerfile

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"

	"github.com/stagewright/stagewright/stage"
)

// word is a text of a stage as a word of the Dockerfile, which still may hold blanks.
func (w *fileWriter) word(c *piece, at stage.Position, step, text string) string {
	if strings.ContainsAny(text, "\n\x00") {
		w.refuse(c, at, step, "a text of several lines", "an instruction has one line", "put the text into a file")
		return ""
	}
	r := c.parts.Rules
	if r == nil {
		word, ok := w.fromText(text)
		if !ok {
			w.refuse(c, at, step, "the text "+text, "what stands in its braces has no spelling in a Dockerfile", "set the text with Env before")
		}
		return word
	}
	if w.escapeOf(r) == w.escape || !strings.ContainsAny(text, "\\`") {
		return text
	}
	if value, ok := constantWord(text, r); ok {
		return w.quote(value)
	}
	w.refuse(c, at, step, "the text "+text, "its stage has another escape character than others", "use one DockerRules.Escape")
	return ""
}

func (w *fileWriter) escapeOf(r *stage.DockerRules) rune {
	if r.Escape == 0 {
		return '\\'
	}
	return r.Escape
}

// quote is a word that stands for a text, whatever is in it.
func (w *fileWriter) quote(text string) string {
	plain := func(r rune) bool {
		return r <= unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_./:@%+,=~^-*?[]!(){}&;|#>", r)) || r > unicode.MaxASCII && unicode.IsLetter(r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		if c := text[i]; c == '"' || c == '$' || rune(c) == w.escape {
			b.WriteRune(w.escape)
		}
		b.WriteByte(text[i])
	}
	b.WriteByte('"')
	return b.String()
}

// fromText turns a text of package stage, in which quotes are ordinary, into a word. It
// fails for a text that uses quotes or escapes inside of braces.
func (w *fileWriter) fromText(text string) (string, bool) {
	if !strings.Contains(text, "$") {
		return w.quote(text), true
	}
	var b strings.Builder
	quoted := false
	literal := func(c byte) {
		if c == '"' || c == '$' || rune(c) == w.escape {
			quoted = true
			b.WriteRune(w.escape)
		}
		if c == ' ' || c == '\t' || c == '\'' || c == '<' {
			quoted = true
		}
		b.WriteByte(c)
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			run := len(text[i:]) - len(strings.TrimLeft(text[i:], `\`))
			before := i+run < len(text) && text[i+run] == '$'
			slashes := run
			if before {
				slashes = run / 2
			}
			for range slashes {
				literal('\\')
			}
			i += run - 1
			if before && run%2 == 1 {
				literal('$')
				i++
			}
		case c == '$' && strings.HasPrefix(text[i:], "${"):
			end := closing(text[i:])
			if end < 0 || strings.ContainsAny(text[i:i+end], "\"'\\`") {
				return "", false
			}
			quoted = quoted || strings.ContainsAny(text[i:i+end], " \t")
			b.WriteString(text[i : i+end])
			i += end - 1
		case c == '$':
			b.WriteByte(c)
		default:
			literal(c)
		}
	}
	if quoted {
		return `"` + b.String() + `"`, true
	}
	return b.String(), true
}

// closing is the length of a text's first ${…}; negative when it does not end.
func closing(text string) int {
	depth := 0
	for i := range len(text) {
		switch {
		case strings.HasPrefix(text[i:], "${"):
			depth++
		case text[i] == '}' && depth > 0:
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// token is a word as it stands between blanks in ENV, LABEL and ARG: blanks that are not
// in quotes are.
func (w *fileWriter) token(word string) string {
	quote, bare, quotes := rune(0), false, false
	runes := []rune(word)
	for i := 0; i < len(runes); i++ {
		switch r := runes[i]; {
		case r == w.escape && quote != '\'':
			i++
			quotes = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote, quotes = r, true
		case unicode.IsSpace(r):
			bare = true
		}
	}
	switch {
	case !bare:
		return word
	case !quotes:
		return `"` + word + `"`
	}
	return w.escapeBlanks(word)
}

// escapeBlanks puts the escape character before each blank outside of quotes.
func (w *fileWriter) escapeBlanks(word string) string {
	var b strings.Builder
	quote := rune(0)
	escaped := false
	for _, r := range word {
		switch {
		case escaped:
			escaped = false
		case r == w.escape && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'':
			quote = r
		case unicode.IsSpace(r):
			b.WriteRune(w.escape)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// simple is a word without the quotes that only the blanks between words need.
func (w *fileWriter) simple(word string) string {
	return simpleWord(word, &stage.DockerRules{Escape: w.escape}, false)
}

// flag is a word as the value of a flag, whose reader takes quotes and escapes away once
// more.
func (w *fileWriter) flag(word string) string {
	var b strings.Builder
	for _, r := range word {
		if r == '"' || r == '\'' || r == w.escape || unicode.IsSpace(r) {
			b.WriteRune(w.escape)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// jsonList is a list in the form of JSON.
func jsonList(words []string) string {
	var b bytes.Buffer
	for i, word := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(word) // a string always has a form
		b.Truncate(b.Len() - 1)
	}
	return "[" + b.String() + "]"
}
