package report

import (
	"strings"
	"unicode"
)

// wide are the blocks whose characters take two columns (Unicode Standard Annex
// 11, East Asian Width; emoji).
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0x4dbf, 1}, {0x4e00, 0xa4cf, 1}, {0xa960, 0xa97f, 1},
		{0xac00, 0xd7a3, 1}, {0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1faff, 1}, {0x20000, 0x3fffd, 1}},
}

// runeWidth is how many columns a character takes.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

func textWidth(text string) int {
	n := 0
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

// fit cuts a line at a width, with a mark where something is missing. A tab, which
// is as wide as where it stands, becomes a space.
func fit(line string, width int) string {
	line = strings.ReplaceAll(line, "\t", " ")
	if textWidth(line) <= width {
		return line
	}
	n := 0
	for i, r := range line {
		if n += runeWidth(r); n > width-1 {
			return line[:i] + "…"
		}
	}
	return line
}
