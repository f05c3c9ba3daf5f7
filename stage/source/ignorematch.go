package source

import "strings"

// matched is the set of rules that match a directory or one above it. What is
// below a matched directory is matched without looking at its own name.
type matched []uint64

func (m matched) has(n int) bool { return n>>6 < len(m) && m[n>>6]&(1<<(n&63)) != 0 }
func (m matched) add(n int)      { m[n>>6] |= 1 << (n & 63) }

// match decides about p below a directory whose matching rules are above. by is
// the index of the rule that decided, -1 when none matched. own, for the
// children of p, is made only when wanted.
//
// The walk goes through the rules in their order and skips, as Docker's does,
// those that could not change the verdict so far. A skipped rule counts as not
// matching for the children, which decides some cases of nested exceptions.
func (i *Ignore) match(p string, above matched, children bool) (ignored bool, by int, own matched) {
	by = -1
	if i == nil {
		return false, by, nil
	}
	if children {
		own = make(matched, (len(i.rules)+63)/64)
	}
	depth := strings.Count(p, "/") + 1
	for n := range i.rules {
		r := &i.rules[n]
		if !above.has(n) && (r.exception != ignored || !r.match(p, depth)) {
			continue
		}
		if children {
			own.add(n)
		}
		ignored, by = !r.exception, n
	}
	return ignored, by, own
}

// match reports whether the pattern matches p itself, which has depth components.
func (r *ignoreRule) match(p string, depth int) bool {
	switch {
	case r.depth != 0 && r.depth != depth:
		return false
	case r.literal:
		return p == r.clean
	case !strings.HasPrefix(p, r.head) || !strings.HasSuffix(p, r.tail) || !strings.Contains(p, r.body):
		return false
	}
	rest, _, err := r.matcher.MatchesUsingParentResults(p, r.alone)
	return err == nil && !rest
}

// reincludesBelow reports whether a rule after number by, which ignores dir,
// could include something below dir again. It may err on the side of yes.
func (i *Ignore) reincludesBelow(dir string, by int) bool {
	if !i.exceptions {
		return false
	}
	depth := strings.Count(dir, "/") + 1
	for n := by + 1; n < len(i.rules); n++ {
		r := &i.rules[n]
		if !r.exception || (r.depth != 0 && r.depth <= depth) {
			continue
		}
		if len(r.head) <= len(dir) {
			if !r.literal && strings.HasPrefix(dir, r.head) {
				return true
			}
			continue
		}
		if r.head[len(dir)] == '/' && strings.HasPrefix(r.head, dir) {
			return true
		}
	}
	return false
}
