package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// expr evaluates POSIX's operators, lowest first: | & (= != < <= > >=) (+ -) (* / %) : and the words length, substr, index, match.
func expr(p *proc, args []string) error {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	e := &exprParser{rest: args}
	value, err := e.level(0)
	if err != nil {
		return err
	}
	if len(e.rest) > 0 {
		return usagef("syntax error: unexpected argument '%s'", e.rest[0])
	}
	fmt.Fprintln(p.out, value)
	if null(value) {
		return exitStatus(1)
	}
	return nil
}

type exprParser struct {
	rest  []string
	depth int
}

// maxExprDepth bounds parentheses, so that an argument list cannot exhaust the stack.
const maxExprDepth = 1000

func exprLevels() [][]string {
	return [][]string{{"|"}, {"&"}, {"=", "==", "!=", "<", "<=", ">", ">="}, {"+", "-"}, {"*", "/", "%"}, {":"}}
}

func (e *exprParser) level(n int) (string, error) {
	levels := exprLevels()
	if n == len(levels) {
		return e.primary()
	}
	left, err := e.level(n + 1)
	for err == nil && len(e.rest) > 0 {
		op := e.rest[0]
		if !slices.Contains(levels[n], op) {
			break
		}
		e.rest = e.rest[1:]
		var right string
		if right, err = e.level(n + 1); err == nil {
			left, err = apply(op, left, right)
		}
	}
	return left, err
}

func (e *exprParser) next() (string, error) {
	if len(e.rest) == 0 {
		return "", usagef("syntax error: missing argument")
	}
	word := e.rest[0]
	e.rest = e.rest[1:]
	return word, nil
}

func (e *exprParser) primary() (string, error) {
	word, err := e.next()
	if err != nil {
		return "", err
	}
	if len(e.rest) == 0 {
		return word, nil
	}
	arguments := map[string]int{"length": 1, "index": 2, "match": 2, "substr": 3}
	switch {
	case word == "(":
		if e.depth++; e.depth > maxExprDepth {
			return "", usagef("syntax error: too many parentheses")
		}
		value, err := e.level(0)
		if err != nil {
			return "", err
		}
		e.depth--
		if closing, err := e.next(); err != nil || closing != ")" {
			return "", usagef("syntax error: expecting ')'")
		}
		return value, nil
	case word == "+":
		return e.next()
	case arguments[word] > 0 && len(e.rest) >= arguments[word] && !isOperator(e.rest[0]):
		var values []string
		for range arguments[word] {
			value, err := e.primary()
			if err != nil {
				return "", err
			}
			values = append(values, value)
		}
		return exprWord(word, values)
	}
	return word, nil
}

func isOperator(s string) bool {
	for _, level := range exprLevels() {
		if slices.Contains(level, s) {
			return true
		}
	}
	return false
}

func exprWord(word string, v []string) (string, error) {
	switch word {
	case "length":
		return strconv.Itoa(utf8.RuneCountInString(v[0])), nil
	case "index":
		for i, r := range []rune(v[0]) {
			if strings.ContainsRune(v[1], r) {
				return strconv.Itoa(i + 1), nil
			}
		}
		return "0", nil
	case "match":
		return apply(":", v[0], v[1])
	}
	runes := []rune(v[0])
	from, err1 := strconv.Atoi(v[1])
	n, err2 := strconv.Atoi(v[2])
	if err1 != nil || err2 != nil || from < 1 || n < 1 || from > len(runes) {
		return "", nil
	}
	return string(runes[from-1 : from-1+min(n, len(runes)-from+1)]), nil
}

func null(s string) bool {
	n, err := strconv.ParseInt(s, 10, 64)
	return s == "" || err == nil && n == 0
}

func apply(op, a, b string) (string, error) {
	switch op {
	case "|":
		if !null(a) {
			return a, nil
		}
		if !null(b) {
			return b, nil
		}
		return "0", nil
	case "&":
		if null(a) || null(b) {
			return "0", nil
		}
		return a, nil
	case ":":
		return matchStart(a, b)
	}
	x, xerr := strconv.ParseInt(a, 10, 64)
	y, yerr := strconv.ParseInt(b, 10, 64)
	numbers := xerr == nil && yerr == nil
	if strings.Contains("= == != < <= > >=", op) {
		c := strings.Compare(a, b)
		if numbers {
			c = map[bool]int{true: 1}[x > y] - map[bool]int{true: 1}[x < y]
		}
		truth := map[string]bool{"=": c == 0, "==": c == 0, "!=": c != 0, "<": c < 0, "<=": c <= 0, ">": c > 0, ">=": c >= 0}[op]
		return map[bool]string{true: "1", false: "0"}[truth], nil
	}
	if !numbers {
		return "", usagef("non-integer argument")
	}
	return arithmetic(op, x, y)
}

func arithmetic(op string, x, y int64) (string, error) {
	overflow := usagef("result is out of range")
	var n int64
	switch op {
	case "+":
		if n = x + y; y != 0 && (n > x) != (y > 0) {
			return "", overflow
		}
	case "-":
		if n = x - y; y != 0 && (n < x) != (y > 0) {
			return "", overflow
		}
	case "*":
		if n = x * y; x != 0 && (n/x != y || x == -1 && y == math.MinInt64) {
			return "", overflow
		}
	default:
		if y == 0 {
			return "", usagef("division by zero")
		}
		if x == math.MinInt64 && y == -1 {
			return "", overflow
		}
		if n = x / y; op == "%" {
			n = x % y
		}
	}
	return strconv.FormatInt(n, 10), nil
}

// matchStart is `a : b`: the first group's text, or the number of characters matched, from the start of a.
func matchStart(a, b string) (string, error) {
	re, err := compileRegexp("^"+strings.TrimPrefix(b, "^"), false, false)
	if err != nil {
		return "", &usageError{err.Error()}
	}
	m := re.FindStringSubmatch(a)
	switch {
	case re.NumSubexp() > 0 && m == nil:
		return "", nil
	case re.NumSubexp() > 0:
		return m[1], nil
	case m == nil:
		return "0", nil
	}
	return strconv.Itoa(utf8.RuneCountInString(m[0])), nil
}
