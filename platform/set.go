package platform

import (
	"fmt"
	"slices"
	"strings"
)

// A Set is a list of different platforms in the order in which they were asked for, which is their order in an image index.
// A nil Set means that none was chosen.
type Set []Platform

// ParseSet reads platforms separated by commas, such as "linux/amd64,linux/arm64". Spaces around them are ignored.
// An empty text is refused, and so is a platform that is listed twice, in whatever spelling. The error is a *[ParseError].
func ParseSet(s string) (Set, error) {
	var set Set
	for part := range strings.SplitSeq(s, ",") {
		p, err := Parse(strings.TrimSpace(part))
		if err != nil {
			return nil, fmt.Errorf("platforms %q: %w", s, err)
		}
		set = append(set, p)
	}
	if err := set.Check(); err != nil {
		return nil, err
	}
	return set, nil
}

// MustParseSet is ParseSet for constant texts: it panics where ParseSet has an error.
func MustParseSet(s string) Set {
	set, err := ParseSet(s)
	if err != nil {
		panic(err)
	}
	return set
}

// Check finds what ParseSet would refuse in a Set that was put together by hand: unset, unknown and repeated platforms.
// The error is a *[ParseError].
func (s Set) Check() error {
	seen := make(map[Platform]Platform, len(s))
	for _, p := range s {
		if p.IsZero() {
			return &ParseError{Text: s.String(), Msg: "one platform is unset; leave it out"}
		}
		n := p.Normalize()
		if msg := n.unknown(); msg != "" {
			return &ParseError{Text: p.String(), Msg: msg}
		}
		if _, ok := seen[n]; ok {
			return &ParseError{Text: s.String(), Msg: fmt.Sprintf("%s is listed twice; drop one", n)}
		}
		seen[n] = p
	}
	return nil
}

// Contains says whether p, in whatever spelling, is in the set.
func (s Set) Contains(p Platform) bool {
	p = p.Normalize()
	return slices.ContainsFunc(s, func(q Platform) bool { return q.Normalize() == p })
}

// String is the form that ParseSet reads.
func (s Set) String() string {
	names := make([]string, len(s))
	for i, p := range s {
		names[i] = p.String()
	}
	return strings.Join(names, ",")
}
