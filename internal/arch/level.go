package arch

import (
	"slices"
	"strings"
)

// amd64Levels are the features that each level of x86-64 asks for beyond the one before it, by the names that Linux has for them. OSFXSR
// and OSXSAVE are the kernel's, which shows AVX only where it saves its registers. See the x86-64 psABI, "Micro-Architecture Levels".
var amd64Levels = [][]string{
	{"cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2"},
	{"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"},
	{"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}

// AMD64Level is the level of x86-64, 1 to 4, of the first processor that the content of /proc/cpuinfo tells of.
func AMD64Level(cpuinfo string) int {
	var flags []string
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "flags" {
			flags = strings.Fields(value)
			break
		}
	}
	level := 1
	for _, features := range amd64Levels {
		for _, f := range features {
			if !slices.Contains(flags, f) {
				return level
			}
		}
		level++
	}
	return level
}
