package main

import (
	"bufio"
	"io"
	"strings"
	"unicode/utf8"
)

// expandSet spells out a set of tr: ranges, [:class:], [=x=], escapes.
func expandSet(s string) ([]rune, error) {
	var set []rune
	for s != "" {
		if strings.HasPrefix(s, "[:") {
			if name, rest, ok := strings.Cut(s[2:], ":]"); ok {
				class, err := classRunes(name)
				if err != nil {
					return nil, err
				}
				set, s = append(set, class...), rest
				continue
			}
		}
		low, n := setRune(s)
		s = s[n:]
		if len(s) > 1 && s[0] == '-' {
			high, m := setRune(s[1:])
			if high < low {
				return nil, usagef("range-endpoints of '%c-%c' are in reverse order", low, high)
			}
			if int(high-low) > 1<<16 {
				return nil, usagef("the range '%c-%c' is too large", low, high)
			}
			for r := low; r <= high; r++ {
				set = append(set, r)
			}
			s = s[1+m:]
			continue
		}
		set = append(set, low)
	}
	return set, nil
}

func setRune(s string) (rune, int) {
	if s[0] != '\\' || len(s) == 1 {
		return utf8.DecodeRuneInString(s)
	}
	if s[1] >= '0' && s[1] <= '7' {
		value, n := 0, 1
		for n < len(s) && n < 4 && s[n] >= '0' && s[n] <= '7' {
			value = value*8 + int(s[n]-'0')
			n++
		}
		return rune(value & 0xff), n
	}
	switch s[1] {
	case 'a':
		return '\a', 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'v':
		return '\v', 2
	}
	if s[1] < 0x80 {
		return rune(unescape(s[1])), 2
	}
	r, n := utf8.DecodeRuneInString(s[1:])
	return r, n + 1
}

func classRunes(name string) ([]rune, error) {
	const punct = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
	const upper, lower, digit = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz", "0123456789"
	switch name {
	case "alnum":
		return []rune(digit + upper + lower), nil
	case "alpha":
		return []rune(upper + lower), nil
	case "digit":
		return []rune(digit), nil
	case "lower":
		return []rune(lower), nil
	case "upper":
		return []rune(upper), nil
	case "space":
		return []rune("\t\n\v\f\r "), nil
	case "blank":
		return []rune("\t "), nil
	case "punct":
		return []rune(punct), nil
	case "xdigit":
		return []rune(digit + "ABCDEFabcdef"), nil
	case "graph":
		return []rune(digit + upper + lower + punct), nil
	case "print":
		return []rune(" " + digit + upper + lower + punct), nil
	case "cntrl":
		set := []rune{0x7f}
		for r := range rune(0x20) {
			set = append(set, r)
		}
		return set, nil
	}
	return nil, usagef("invalid character class '%s'", name)
}

// eachRune calls f on each character and its bytes; a byte that is no UTF-8 is a character of its own, the negative of its value.
func eachRune(r io.Reader, f func(c rune, raw []byte) error) error {
	br := bufio.NewReader(r)
	for {
		c, n, err := br.ReadRune()
		if err != nil {
			return ignoreEOF(err)
		}
		raw := []byte(string(c))
		if c == utf8.RuneError && n == 1 {
			if err := br.UnreadRune(); err != nil {
				return err
			}
			b, err := br.ReadByte()
			if err != nil {
				return err
			}
			c, raw = -2-rune(b), []byte{b}
		}
		if err := f(c, raw); err != nil {
			return err
		}
	}
}
