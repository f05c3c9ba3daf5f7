package platform

import (
	"fmt"
	"strings"

	"github.com/stagewright/stagewright/internal/spelling"
)

// knownOS and knownArch are the names of Go's syslist that images use.
func knownOS() []string {
	return []string{"linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly", "solaris", "illumos", "aix",
		"android", "ios", "plan9", "js", "wasip1", "wasi", "zos"}
}

func knownArch() []string {
	return []string{"amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "s390x", "loong64", "mips64le", "mips64", "mipsle", "mips",
		"ppc64", "ppc", "riscv", "s390", "sparc64", "sparc", "wasm"}
}

// knownVariants lists an architecture's variants besides none; nil when they are not known, so that any is taken.
func knownVariants(arch string) []string {
	switch arch {
	case "arm":
		return []string{"v5", "v6", "v7", "v8"}
	case "amd64":
		return []string{"v2", "v3", "v4"}
	case "arm64":
		return []string{"v8", "v8.1", "v8.2", "v8.3", "v8.4", "v8.5", "v8.6", "v8.7", "v8.8", "v8.9", "v9", "v9.0", "v9.1", "v9.2", "v9.3", "v9.4", "v9.5"}
	case "386", "s390x", "wasm":
		return []string{}
	}
	return nil
}

// unknown says which part of p is no known name, and which one was probably meant; "" when all are known.
func (p Platform) unknown() string {
	if msg := unknownName("operating system", p.OS, knownOS()); msg != "" {
		return msg
	}
	if msg := unknownName("architecture", p.Architecture, knownArch()); msg != "" {
		return msg
	}
	variants := knownVariants(p.Architecture)
	if p.Variant == "" || variants == nil {
		return ""
	}
	if len(variants) == 0 {
		return fmt.Sprintf("architecture %s has no variants; leave %q out", p.Architecture, p.Variant)
	}
	return unknownName("variant of "+p.Architecture, p.Variant, variants)
}

func unknownName(what, name string, known []string) string {
	const longest, most = 20, 2 // more edits are another word
	best, least := "", most+1
	for _, k := range known {
		if k == name {
			return ""
		}
		if len(name) > longest {
			continue
		}
		if d := spelling.Distance(name, k, most); d < least && d < len(k) {
			best, least = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("unknown %s %q; did you mean %q?", what, name, best)
	}
	return fmt.Sprintf("unknown %s %q; known are %s", what, name, strings.Join(known, ", "))
}

// shapeAdvice explains a specifier that has too few or too many parts.
func shapeAdvice(s string, parts []string) string {
	name := strings.ToLower(s)
	switch {
	case s == "":
		return `is empty; write os/architecture, such as "linux/amd64"`
	case len(parts) == 1 && unknownName("", name, knownOS()) == "":
		return fmt.Sprintf("names no architecture; write %q, say", name+"/amd64")
	case len(parts) == 1 && unknownName("", name, knownArch()) == "":
		return fmt.Sprintf("names no operating system; write %q", "linux/"+name)
	case strings.Contains(s, ","):
		return "is a list; use ParseSet"
	}
	return `not of the form os/architecture[/variant], such as "linux/arm/v7"`
}
