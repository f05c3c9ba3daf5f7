package dockerfile

import (
	"fmt"
	"go/token"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// textWidth is how long a text may be before it is broken, and lineWidth how long a list
// of arguments.
const (
	textWidth = 88
	lineWidth = 100
)

// goString is a text as a Go expression: a raw string where that reads better, several
// lines where there are several.
func goString(s string) string {
	trimmed := strings.TrimSuffix(s, "\n")
	switch {
	case strings.Contains(trimmed, "\n"):
		if canBackquote(s) {
			return "`" + s + "`"
		}
		return concat(strings.SplitAfter(trimmed, "\n"), s[len(trimmed):])
	case len(s) > textWidth:
		if parts := breakText(s); len(parts) > 1 {
			return concat(parts, "")
		}
		if parts := breakCommand(s); len(parts) > 1 {
			return concat(parts, "")
		}
	}
	return goLine(s)
}

// goLine is a text of one line as one literal.
func goLine(s string) string {
	if strings.ContainsAny(s, "\"\\") && strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

// canBackquote reports whether a text of several lines can stand in a raw string.
func canBackquote(s string) bool {
	for line := range strings.SplitSeq(s, "\n") {
		if !strconv.CanBackquote(line) {
			return false
		}
	}
	return true
}

// concat is the sum of texts, one a line. last is added to the last one.
func concat(parts []string, last string) string {
	if n := len(parts); n > 0 {
		parts[n-1] += last
	}
	quoted := make([]string, len(parts))
	for i, part := range parts {
		quoted[i] = goLine(part)
	}
	return strings.Join(quoted, " +\n")
}

// breakText breaks a long line where it was broken before: a line that goes on in the
// next one of a Dockerfile leaves several blanks, of which the first one ends it.
func breakText(s string) []string {
	var parts []string
	start := 0
	for i := 1; i+1 < len(s); i++ {
		if isBlank(s[i]) && isBlank(s[i+1]) && !isBlank(s[i-1]) {
			parts = append(parts, s[start:i+1])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// breakCommand breaks a long line of a shell behind "&&" and ";".
func breakCommand(s string) []string {
	var parts []string
	start := 0
	for i := 2; i < len(s); i++ {
		if s[i-1] == ' ' && (s[i-2] == ';' || strings.HasSuffix(s[:i-1], "&&")) && i-start > textWidth/2 {
			parts = append(parts, s[start:i])
			start = i
		}
	}
	return append(parts, s[start:])
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// goList is texts as arguments.
func goList(texts []string) string {
	list := make([]string, len(texts))
	for i, text := range texts {
		list[i] = goString(text)
	}
	return strings.Join(list, ", ")
}

// goDuration is a duration as a Go expression.
func goDuration(d time.Duration) string {
	units := []struct {
		unit time.Duration
		name string
	}{{time.Hour, "time.Hour"}, {time.Minute, "time.Minute"}, {time.Second, "time.Second"}, {time.Millisecond, "time.Millisecond"}, {time.Microsecond, "time.Microsecond"}}
	for _, u := range units {
		switch {
		case d == u.unit:
			return u.name
		case d%u.unit == 0:
			return fmt.Sprintf("%d*%s", d/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%d*time.Nanosecond", d)
}

// goBytes is a number of bytes, as a shift where it is one.
func goBytes(n int64) string {
	for shift := 40; shift >= 10; shift -= 10 {
		if n > 0 && n%(1<<shift) == 0 {
			return fmt.Sprintf("%d<<%d", n>>shift, shift)
		}
	}
	return strconv.FormatInt(n, 10)
}

// identifiers hands out names that are free.
type identifiers map[string]bool

// reserved are the names that mean something else in the function.
const reserved = "any append arg bool byte cap clear close complex copy delete docker error false fs int io iota len make max min new nil panic platform print println " +
	"real recover rune s stage string time true init"

// reservedInMain are those that mean something else where the function is called.
const reservedInMain = " args build context ctx err errors fmt os stagewright"

func newIdentifiers(names string) identifiers {
	ids := identifiers{}
	for name := range strings.FieldsSeq(names) {
		ids[name] = true
	}
	return ids
}

// name is a free identifier for a text: "build-env" is buildEnv, GO_VERSION goVersion.
// One that is taken gets the suffix, then a number.
func (ids identifiers) name(text, suffix string) string {
	base := camel(text)
	if base == "" {
		base = strings.ToLower(suffix)
	}
	name := base
	if ids[name] || token.IsKeyword(name) {
		name = base + suffix
	}
	for i := 2; ids[name] || token.IsKeyword(name); i++ {
		name = base + strconv.Itoa(i)
	}
	ids[name] = true
	return name
}

// initialisms are written in capitals, except at the beginning of a name.
var initialisms = map[string]string{"ID": "ID", "UID": "UID", "GID": "GID", "URL": "URL", "OS": "OS", "API": "API", "HTTP": "HTTP", "HTTPS": "HTTPS", "IP": "IP", "SSH": "SSH", "CPU": "CPU", "VM": "VM"}

// compounds are names that Docker writes in one word.
var compounds = strings.NewReplacer("TARGETPLATFORM", "TARGET_PLATFORM", "TARGETOS", "TARGET_OS", "TARGETARCH", "TARGET_ARCH", "TARGETVARIANT", "TARGET_VARIANT", "TARGETSTAGE", "TARGET_STAGE",
	"BUILDPLATFORM", "BUILD_PLATFORM", "BUILDOS", "BUILD_OS", "BUILDARCH", "BUILD_ARCH", "BUILDVARIANT", "BUILD_VARIANT")

// camel is a text as an identifier; empty when nothing in it can be part of one.
func camel(text string) string {
	words := strings.FieldsFunc(compounds.Replace(text), func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	name := ""
	for _, word := range words {
		upper := strings.ToUpper(word)
		switch {
		case name == "" && word == upper:
			name = strings.ToLower(word)
		case name == "":
			name = strings.ToLower(word[:1]) + word[1:]
		case initialisms[upper] != "":
			name += initialisms[upper]
		case word == upper:
			name += upper[:1] + strings.ToLower(word[1:])
		default:
			name += upper[:1] + word[1:]
		}
	}
	if name != "" && unicode.IsDigit(rune(name[0])) {
		name = "v" + name
	}
	return name
}
