package source

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/stagewright/stagewright/internal/spelling"
)

// cleanAsked makes a path that a message is about relative and clean; what
// would climb out stays at the root.
func cleanAsked(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// Why implements [Files].
func (d *Directory) Why(p string) (Verdict, error) {
	v := Verdict{Source: d.String(), Path: cleanAsked(p)}
	v.Ignored, v.Rule, v.Hidden = d.ignore.explain(v.Path)
	root, err := d.open(d.path)
	if err != nil {
		return v, fmt.Errorf("%s cannot be read: %w", d, err)
	}
	defer root.Close()
	if d.o.GitIgnore && !v.Ignored && cleanRelative(v.Path) {
		if err := d.gitVerdict(root, &v); err != nil {
			return v, fmt.Errorf("%s: %w", d, err)
		}
	}
	return v, v.look(func(p string) (fs.FileMode, error) {
		var e Entry
		err := root.lstat(p, &e)
		return e.Mode, err
	}, func(p string) ([]string, error) {
		h, err := root.openDir(p)
		if err != nil {
			return nil, err
		}
		defer h.Close()
		return h.names()
	})
}

// look fills what lstat and names tell of v.Path, where "" is the root.
func (v *Verdict) look(lstat func(string) (fs.FileMode, error), names func(string) ([]string, error)) error {
	if strings.IndexByte(v.Path, 0) >= 0 || len(v.Path) > maxPath {
		v.Missing = v.Path
		return nil
	}
	dir := ""
	for n := 0; n <= len(v.Path); n++ {
		if n < len(v.Path) && v.Path[n] != '/' {
			continue
		}
		part := v.Path[:n]
		mode, err := lstat(part)
		if err == nil {
			if v.Exists = n == len(v.Path); v.Exists {
				v.Mode = mode
				return nil
			}
			if !mode.IsDir() {
				v.NotDir, v.Mode = part, mode
				return nil
			}
			dir = part
			continue
		}
		if !isMissing(err) && !isReplaced(err) && !errors.Is(err, fs.ErrInvalid) {
			return fmt.Errorf("%s: %s: %w", v.Source, quote(part), err)
		}
		v.Missing = part
		break
	}
	there, err := names(dir)
	if err != nil {
		return nil // near names are a help, not the answer
	}
	prefix := dir
	if prefix != "" {
		prefix += "/"
	}
	wanted, _, _ := strings.Cut(v.Path[len(prefix):], "/")
	for _, name := range nearest(wanted, there) {
		v.Near = append(v.Near, prefix+name)
	}
	return nil
}

// nearest returns at most three of names that a person may have meant by wanted:
// same letters in another case first, then few edits, then the same beginning.
func nearest(wanted string, names []string) []string {
	const most, considered = 3, 20_000
	if wanted == "" || len(wanted) > 255 {
		return nil
	}
	type candidate struct {
		name string
		cost int
	}
	var near []candidate
	low := strings.ToLower(wanted)
	for _, name := range names[:min(len(names), considered)] {
		limit := 1 + len(wanted)/4
		cost := spelling.Distance(low, strings.ToLower(name), limit)
		stem := strings.TrimSuffix(low, path.Ext(low))
		if cost > limit && len(stem) >= 3 && strings.HasPrefix(strings.ToLower(name), stem) {
			cost = limit
		}
		if cost <= limit {
			near = append(near, candidate{name, cost})
		}
	}
	slices.SortFunc(near, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), strings.Compare(a.name, b.name))
	})
	var out []string
	for _, c := range near[:min(len(near), most)] {
		out = append(out, c.name)
	}
	return out
}

// String says it in a sentence, without a full stop: what a message about a
// missing file needs.
func (v Verdict) String() string {
	what := quote(cmp.Or(v.Path, "."))
	switch {
	case v.Exists && v.Ignored:
		by := fmt.Sprintf("%s:%d (%s) ignores it", v.Rule.File, v.Rule.Line, quoteRule(v.Rule.Pattern))
		if v.Hidden != "" && v.Hidden != v.Path {
			by = fmt.Sprintf("%s:%d (%s) ignores %s", v.Rule.File, v.Rule.Line, quoteRule(v.Rule.Pattern), quote(v.Hidden))
		}
		return fmt.Sprintf("%s is in %s, but %s", what, v.Source, by)
	case v.Exists:
		return fmt.Sprintf("%s is a %s in %s", what, kind(v.Mode), v.Source)
	}
	msg := fmt.Sprintf("%s is not in %s", what, v.Source)
	if v.NotDir != "" {
		return fmt.Sprintf("%s: %s is a %s", msg, quote(v.NotDir), kind(v.Mode))
	}
	if v.Missing != "" && v.Missing != v.Path {
		msg += fmt.Sprintf(": there is no %s", quote(v.Missing))
	}
	switch len(v.Near) {
	case 0:
	case 1:
		msg += fmt.Sprintf("; did you mean %s", quote(v.Near[0]))
	default:
		var names []string
		for _, n := range v.Near {
			names = append(names, quote(n))
		}
		msg += "; near names are " + strings.Join(names, ", ")
	}
	return msg
}

// quoteRule shows a pattern as it was written, spaces too.
func quoteRule(p string) string {
	if strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0xfffd }) {
		return fmt.Sprintf("%q", shorten(p))
	}
	return shorten(p)
}
