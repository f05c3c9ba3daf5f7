package platform

import (
	"strconv"
	"strings"
)

// Satisfies says whether an image of platform p can be used where want is asked: the same operating system and
// architecture, and a variant that want's processors run, such as arm/v6 for arm/v7 or amd64 for amd64/v3. Both sides may
// be in any form that [Platform.Normalize] takes. An image without a version is good for every version; otherwise p's
// version must be want's or start with it up to a dot, so that 10.0.17763.1234 is a 10.0.17763.
//
// Another architecture never satisfies. (containerd takes 386 for amd64 and 32-bit arm for arm64, which gives an image
// labelled with an architecture that its files do not have.)
func (p Platform) Satisfies(want Platform) bool {
	p, want = p.Normalize(), want.Normalize()
	if p.OS != want.OS || p.Architecture != want.Architecture || p.OS == "" {
		return false
	}
	if p.OSVersion != "" && want.OSVersion != "" && p.OSVersion != want.OSVersion && !strings.HasPrefix(p.OSVersion, want.OSVersion+".") {
		return false
	}
	return runs(want, p)
}

// Best gives the index of the platform in have that suits want best: the highest variant that want runs, among
// equals one with want's own version, then the earliest. False when none [Platform.Satisfies] it.
func Best(want Platform, have []Platform) (int, bool) {
	best := -1
	for i, p := range have {
		if p.Satisfies(want) && (best < 0 || better(p, have[best], want)) {
			best = i
		}
	}
	return best, best >= 0
}

// better compares two platforms that both satisfy want.
func better(p, q, want Platform) bool {
	p, q = p.Normalize(), q.Normalize()
	if p.Variant != q.Variant {
		return p.Variant == want.Normalize().Variant || !runs(q, p)
	}
	return p.OSVersion == want.OSVersion && q.OSVersion != want.OSVersion
}

// runs says whether processors of m's variant run programs of p's; both are canonical and of one architecture.
func runs(m, p Platform) bool {
	if m.Variant == p.Variant {
		return true
	}
	major, minor, ok := level(m)
	pMajor, pMinor, pOK := level(p)
	switch {
	case !ok || !pOK: // of unknown variants only none at all is certain to be the base of the others
		return p.Variant == ""
	case p.Architecture == "arm64" && major == 9 && pMajor == 8: // Armv9.N has what Armv8.(N+5) has
		return pMinor <= minor+5
	case p.Architecture == "arm64":
		return major == pMajor && pMinor <= minor
	case p.Architecture == "amd64" || p.Architecture == "arm":
		return pMajor <= major
	}
	return false
}

// level reads variants such as v7 and v8.2; an architecture's usual one when there is none.
func level(p Platform) (major, minor int, ok bool) {
	v := p.Variant
	if v == "" {
		switch p.Architecture {
		case "amd64":
			return 1, 0, true
		case "arm64":
			return 8, 0, true
		}
		return 0, 0, false
	}
	digits, found := strings.CutPrefix(v, "v")
	first, second, dotted := strings.Cut(digits, ".")
	major, err := strconv.Atoi(first)
	if !found || err != nil || major < 0 || major > 99 {
		return 0, 0, false
	}
	if dotted {
		if minor, err = strconv.Atoi(second); err != nil || minor < 0 || minor > 99 {
			return 0, 0, false
		}
	}
	return major, minor, true
}
