package main

import (
	"slices"
	"strings"
)

// options are a command's parsed flags.
type options struct {
	set    map[string]bool
	values map[string][]string // in the order given
	order  []optionValue       // flags with values, in the order given across names
}

type optionValue struct{ name, value string }

func (o *options) has(name string) bool { return o.set[name] }

// value is the last one given, or def.
func (o *options) value(name, def string) string {
	if v := o.values[name]; len(v) > 0 {
		return v[len(v)-1]
	}
	return def
}

// parse reads flags by POSIX's guidelines, with GNU's habits of long names and of flags behind operands.
//
// The specification is a list of words: `n` is a flag, `k:` one with a value, `i?` one whose value is optional and must be glued
// to it; `n/lines:` adds a long name. A POSIXLY word `+` stops at the first operand, for commands that run others.
func parse(spec string, args []string) (*options, []string, error) {
	o := &options{set: map[string]bool{}, values: map[string][]string{}}
	kinds, longs, stopAtOperand := readSpec(spec)
	add := func(name, value string) {
		o.set[name] = true
		o.values[name] = append(o.values[name], value)
		o.order = append(o.order, optionValue{name, value})
	}
	var operands []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return o, append(operands, args[i+1:]...), nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			if stopAtOperand {
				return o, append(operands, args[i:]...), nil
			}
			operands = append(operands, arg)
		case strings.HasPrefix(arg, "--"):
			long, value, glued := strings.Cut(arg[2:], "=")
			name, ok := longs[long]
			if !ok {
				return nil, nil, usagef("unrecognized option '%s'", arg)
			}
			kind := kinds[name]
			if kind == ':' && !glued {
				if i++; i == len(args) {
					return nil, nil, usagef("option '%s' requires an argument", arg)
				}
				value = args[i]
			}
			if kind == 0 {
				if glued {
					return nil, nil, usagef("option '--%s' doesn't allow an argument", long)
				}
				o.set[name] = true
				continue
			}
			add(name, value)
		default:
			for j := 1; j < len(arg); j++ {
				name := arg[j : j+1]
				kind, ok := kinds[name]
				if !ok {
					return nil, nil, usagef("invalid option -- '%s'", name)
				}
				if kind == 0 {
					o.set[name] = true
					continue
				}
				value := arg[j+1:]
				if value == "" && kind == ':' {
					if i++; i == len(args) {
						return nil, nil, usagef("option requires an argument -- '%s'", name)
					}
					value = args[i]
				}
				add(name, value)
				break
			}
		}
	}
	return o, operands, nil
}

func readSpec(spec string) (kinds map[string]byte, longs map[string]string, stopAtOperand bool) {
	kinds, longs = map[string]byte{}, map[string]string{}
	words := strings.Fields(spec)
	if i := slices.Index(words, "+"); i >= 0 {
		stopAtOperand = true
		words = slices.Delete(words, i, i+1)
	}
	for _, word := range words {
		var kind byte
		if last := word[len(word)-1]; last == ':' || last == '?' {
			kind, word = last, word[:len(word)-1]
		}
		names := strings.Split(word, "/")
		kinds[names[0]] = kind
		for _, long := range names[1:] {
			longs[long] = names[0]
		}
	}
	return kinds, longs, stopAtOperand
}
