package arg

import (
	"fmt"
	"strings"
	"unicode"
)

// QuoteMode says how quotes and backslashes of a text are read. The package comment has the table.
type QuoteMode uint8

const (
	Text QuoteMode = iota // strings in Go: quotes are ordinary, backslashes matter only before '$'; strict
	Word                  // words of a Dockerfile: quotes and backslashes are processed and removed, as in BuildKit
	Body                  // Dockerfile here-documents: as Word, but quotes are ordinary
)

// Options of an expansion. The zero value reads a Go string with '\' as the escape character.
type Options struct {
	Quotes QuoteMode // default Text
	Escape rune      // '\\' (also when zero) or '`', as the Dockerfile directive "escape" allows; patterns always use '\\'
	Strict bool      // a plain reference ($A, ${A}, ${A#p}, ${A/p/w}) to an unset variable is an *UnsetError
}

func (o Options) withDefaults() Options {
	if o.Escape == 0 {
		o.Escape = '\\'
	}
	return o
}

// docker says whether BuildKit's behaviour is wanted where Text is strict.
func (o Options) docker() bool { return o.Quotes != Text }

// Lookup answers the value of a variable, and whether it is set: an empty value may be set or not.
type Lookup func(name string) (value string, ok bool)

// Values are arguments' values by name, for instance what a user gave on the command line.
type Values map[string]string

// Lookup answers from the map, so that a Values can be given to [Expand].
func (v Values) Lookup(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

// maxText bounds a text and a result, in bytes.
const maxText = 1 << 20

// Expand substitutes the variables of text and, in the modes that have them, removes quotes and escapes.
// A nil lookup knows no variable.
//
// Errors: *[SyntaxError], *[UnsetError], and one that wraps [ErrLimit].
func Expand(text string, lookup Lookup, o Options) (string, error) {
	if !strings.ContainsAny(text, special) && len(text) <= maxText && o.withDefaults().check() == nil {
		return text, nil // most texts
	}
	nodes, e, err := prepare(text, lookup, o)
	if err != nil {
		return "", err
	}
	return e.join(nodes)
}

// special are the characters that mean something in some mode. A text without them stands for itself.
const special = "$'\"\\`<"

// ExpandWords is [Expand] followed by a split at white space. Values are split too, as EXPOSE does it: with
// P="80 443" the text "$P 22" has three words. White space that is quoted or escaped in text does not split, nor does a
// value between double quotes; in mode [Text], where quotes are ordinary, nothing protects it. Empty words are dropped.
//
// Errors: as Expand.
func ExpandWords(text string, lookup Lookup, o Options) ([]string, error) {
	nodes, e, err := prepare(text, lookup, o)
	if err != nil {
		return nil, err
	}
	var words []string
	var word strings.Builder
	size := 0
	for i := range nodes {
		s, err := e.node(&nodes[i])
		if err != nil {
			return nil, err
		}
		if size += len(s); size > maxText {
			return nil, e.tooLarge()
		}
		if nodes[i].quoted {
			word.WriteString(s)
			continue
		}
		for len(s) > 0 {
			end := strings.IndexFunc(s, unicode.IsSpace)
			if end < 0 {
				word.WriteString(s)
				break
			}
			word.WriteString(s[:end])
			if word.Len() > 0 {
				words = append(words, word.String())
				word.Reset()
			}
			s = strings.TrimLeftFunc(s[end:], unicode.IsSpace)
		}
	}
	if word.Len() > 0 {
		words = append(words, word.String())
	}
	return words, nil
}

// A Ref is one use of a variable in a text.
type Ref struct {
	Name     string
	Offset   int    // byte offset of the '$'
	Operator string // "", "-", ":-", "+", ":+", "?", ":?", "#", "##", "%", "%%", "/" or "//"
	Nested   bool   // it stands in the operand of another variable, so that it may not be evaluated at all
}

// Optional says that the form has an answer of its own for an unset variable: ${A-w}, ${A:-w}, ${A+w} or ${A:+w}.
func (r Ref) Optional() bool {
	switch r.Operator {
	case "-", ":-", "+", ":+":
		return true
	}
	return false
}

// Names lists every variable that text refers to, in the order of their offsets, operands included.
// Quoted and escaped dollar signs are no references. Repeated uses are repeated.
//
// Errors: *[SyntaxError], and one that wraps [ErrLimit].
func Names(text string, o Options) ([]Ref, error) {
	nodes, _, err := prepare(text, nil, o)
	if err != nil {
		return nil, err
	}
	return appendRefs(nil, nodes, false), nil
}

func appendRefs(refs []Ref, nodes []node, nested bool) []Ref {
	for _, n := range nodes {
		if n.sub == nil {
			continue
		}
		if n.sub.name != "" {
			refs = append(refs, Ref{Name: n.sub.name, Offset: n.sub.offset, Operator: n.sub.op, Nested: nested})
		}
		refs = appendRefs(refs, n.sub.word, true)
		refs = appendRefs(refs, n.sub.with, true)
	}
	return refs
}

// Escape gives a text of mode [Text] that expands to s, whatever s contains.
func Escape(s string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	slashes := 0
	for i := range len(s) {
		switch s[i] {
		case '\\':
			slashes++
		case '$':
			for range slashes + 1 {
				b.WriteByte('\\')
			}
			slashes = 0
		default:
			slashes = 0
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (o Options) check() error {
	if o.Quotes > Body {
		return fmt.Errorf("arg: unknown QuoteMode %d; use Text, Word or Body", o.Quotes)
	}
	if o.Escape != '\\' && o.Escape != '`' {
		return fmt.Errorf("arg: Options.Escape is %q; only '\\\\' and '`' are possible", o.Escape)
	}
	return nil
}

// prepare checks the options and parses text.
func prepare(text string, lookup Lookup, o Options) ([]node, *evaluator, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	e := &evaluator{text: text, lookup: lookup, options: o, effort: maxEffort}
	if len(text) > maxText {
		return nil, nil, e.tooLarge()
	}
	p := parser{text: text, options: o}
	nodes, err := p.until(0, plain)
	return nodes, e, err
}
