// Package platform names the machines that images are built for.
//
// Start with two calls: [Parse] (or [ParseSet]) reads "linux/arm64" into a [Platform], and [Platform.Args] gives the
// TARGET and BUILD variables of a build.
//
// Guarantees: a Platform from Parse, ParseSet or Host is canonical, so equal platforms are equal with ==, and what it
// prints parses back to itself. Nothing depends on the machine but [Host].
//
// Limits: names are checked against the operating systems and architectures known to Go, variants against those of
// their architecture. Whether a machine can run a platform's programs by emulation is not asked here.
//
// Concurrency: everything may be called from several goroutines; a Platform is a plain value.
//
// Governing text: the platform object of the OCI image index specification, and containerd's platform specifiers,
// whose normalisation this package uses.
package platform

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
)

// A Platform is an operating system and a processor. The zero value means that none was chosen.
//
// Values from [Parse] are canonical: lower case, the names that Go uses, no variant where the architecture has a usual one (amd64
// and not amd64/v1, arm64 and not arm64/v8) but arm always with one (arm is arm/v7). Values from elsewhere, such as an
// image index, become so by [Platform.Normalize].
type Platform struct {
	OS           string // as GOOS, such as "linux"
	Architecture string // as GOARCH, such as "amd64"
	Variant      string // such as "v7" of arm; mostly empty
	OSVersion    string // such as "10.0.17763.1" of windows; mostly empty
}

// Parse reads "os/architecture", "os/architecture/variant" and "os(version)/architecture". Aliases such as "macos",
// "x86_64" and "aarch64" are taken. A lone "linux" or "arm64" is refused: the other half would
// depend on the machine. The error is a *[ParseError].
func Parse(s string) (Platform, error) {
	bad := func(msg string) (Platform, error) { return Platform{}, &ParseError{Text: s, Msg: msg} }
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 {
		return bad(shapeAdvice(s, parts))
	}
	words := slices.Clone(parts)
	var p Platform
	if os, version, ok := strings.Cut(parts[0], "("); ok {
		if p.OSVersion, ok = strings.CutSuffix(version, ")"); !ok {
			return bad(shapeAdvice(s, parts))
		}
		words[0] = os
		words = append(words, p.OSVersion)
	}
	for _, word := range words {
		if word == "" || strings.Trim(word, wordCharacters) != "" {
			return bad(shapeAdvice(s, parts))
		}
	}
	p.OS, p.Architecture = words[0], words[1]
	if len(parts) == 3 {
		p.Variant = words[2]
	}
	p = p.Normalize()
	if msg := p.unknown(); msg != "" {
		return bad(msg)
	}
	return p, nil
}

// ParseFor is Parse that takes a lone operating system or architecture too, as docker build does: "arm64" is it on
// machine's operating system, "linux" is it on machine's processor.
func ParseFor(s string, machine Platform) (Platform, error) {
	p, err := Parse(s)
	if err == nil || strings.Contains(s, "/") {
		return p, err
	}
	if p, err := Parse(machine.OS + "/" + s); err == nil {
		return p, nil
	}
	if p, other := Parse(s + strings.TrimPrefix(machine.String(), machine.OS)); other == nil && machine.OSVersion == "" {
		return p, nil
	}
	return p, err
}

// wordCharacters may stand in the parts of a platform.
const wordCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

// MustParse is Parse for constant texts: it panics where Parse has an error.
func MustParse(s string) Platform {
	p, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return p
}

// Host is the platform of the running program, read from the machine: of arm with the processor's variant, of windows
// with the system's version.
func Host() Platform { return fromSpec(platforms.DefaultSpec()) }

// Normalize gives the canonical form. Names are not checked, because an image index may list what nobody knows, such as
// unknown/unknown. The zero Platform stays zero.
func (p Platform) Normalize() Platform {
	s := platforms.Normalize(platforms.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	if p.OS == "" { // containerd would take the machine's
		s.OS = ""
	}
	return Platform{OS: s.OS, Architecture: s.Architecture, Variant: s.Variant, OSVersion: p.OSVersion}
}

func fromSpec(s platforms.Platform) Platform {
	return Platform{OS: s.OS, Architecture: s.Architecture, Variant: s.Variant, OSVersion: s.OSVersion}.Normalize()
}

// IsZero says that no platform was chosen.
func (p Platform) IsZero() bool { return p == Platform{} }

// String is the form that Parse reads, such as "linux/arm/v7" or "windows(10.0.17763)/amd64"; "" for the zero Platform.
func (p Platform) String() string {
	os := p.OS
	if p.OSVersion != "" {
		os += "(" + p.OSVersion + ")"
	}
	switch {
	case p.IsZero():
		return ""
	case p.Variant != "":
		return os + "/" + p.Architecture + "/" + p.Variant
	}
	return os + "/" + p.Architecture
}

// Args gives the variables that a build for p on the machine build has, as BuildKit names and fills them:
// TARGETPLATFORM, TARGETOS, TARGETOSVERSION, TARGETARCH and TARGETVARIANT, and the same five with BUILD.
// Parts that are empty are set and empty. The map belongs to the caller.
func (p Platform) Args(build Platform) map[string]string {
	withoutVersion := build
	withoutVersion.OSVersion = ""
	return map[string]string{
		"TARGETPLATFORM":  p.String(),
		"TARGETOS":        p.OS,
		"TARGETOSVERSION": p.OSVersion,
		"TARGETARCH":      p.Architecture,
		"TARGETVARIANT":   p.Variant,
		"BUILDPLATFORM":   withoutVersion.String(),
		"BUILDOS":         build.OS,
		"BUILDOSVERSION":  build.OSVersion,
		"BUILDARCH":       build.Architecture,
		"BUILDVARIANT":    build.Variant,
	}
}

// ParseError says that a text names no platform.
type ParseError struct {
	Text string // what was parsed
	Msg  string // what is wrong and what to write instead
}

// Error names the text and the mistake.
func (e *ParseError) Error() string { return fmt.Sprintf("platform %q: %s", e.Text, e.Msg) }
