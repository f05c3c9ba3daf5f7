package local_test

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
)

// This is what COPY and the operations on files do, a second time, and plain: a map of
// paths, one rule after the other, from the documentation and from what BuildKit does. It
// shares nothing with package local. TestModel compares the two.

// mfile is one file of a model: 'd', 'f' or 'l'.
type mfile struct {
	kind     byte
	mode     uint32
	uid, gid int
	data     string // content, or target of a link
}

// mfs are files by their paths from the root, which is "".
type mfs map[string]mfile

var (
	errModel = errors.New("refused")
	errLoop  = errors.New("too many links")
)

func mjoin(dir, name string) string { return strings.Trim(dir+"/"+name, "/") }

func mparent(p string) string { return strings.Trim(path.Dir("/"+p), "/") }

func (m mfs) isDir(p string) bool { return m[p].kind == 'd' }

// resolve follows all links of a path. lexical takes ".." of a link's target by names.
func (m mfs) resolve(p string, lexical bool) (string, error) {
	for links := 0; ; links++ {
		if links > 300 {
			return "", errLoop
		}
		at, again := "", ""
		names := strings.Split(p, "/")
		for i, name := range names {
			if name == "" || name == "." {
				continue
			}
			if name == ".." {
				at = mparent(at)
				continue
			}
			if f, ok := m[at]; ok && f.kind != 'd' {
				return "", errModel
			}
			next := mjoin(at, name)
			if f := m[next]; f.kind == 'l' {
				rest := strings.Join(names[i+1:], "/")
				if strings.HasPrefix(f.data, "/") {
					again = f.data + "/" + rest
				} else {
					again = "/" + at + "/" + f.data + "/" + rest
				}
				if lexical {
					again = path.Clean(again)
				}
				break
			}
			at = next
		}
		if again == "" {
			return at, nil
		}
		p = again
	}
}

// mkdirs makes a directory and what is missing above it.
func (m mfs) mkdirs(p string, made mfile) error {
	if p != "" {
		if err := m.mkdirs(mparent(p), made); err != nil {
			return err
		}
	}
	if f, ok := m[p]; ok && f.kind != 'd' {
		return errModel
	} else if !ok {
		m[p] = made
	}
	return nil
}

func (m mfs) below(p string) []string {
	var list []string
	for q := range m {
		if q != "" && (p == "" || strings.HasPrefix(q, p+"/")) {
			list = append(list, q)
		}
	}
	// Names are compared one by one, so that a directory comes before what is in it.
	slices.SortFunc(list, func(a, b string) int {
		return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/"))
	})
	return list
}

func (m mfs) removeAll(p string) {
	for _, q := range m.below(p) {
		delete(m, q)
	}
	delete(m, p)
}

// put is File and Symlink.
func (m mfs) put(p string, f mfile) error {
	dir, err := m.resolve(path.Dir(p), false)
	if err != nil {
		return err
	}
	if err := m.mkdirs(dir, mfile{kind: 'd', mode: 0o755}); err != nil {
		return err
	}
	at := mjoin(dir, path.Base(p))
	if m.isDir(at) {
		return errModel
	}
	m[at] = f
	return nil
}

// makeDir is Mkdir and Workdir.
func (m mfs) makeDir(p string, made, last mfile) error {
	at, err := m.resolve(p, false)
	if err != nil {
		return err
	}
	if f, ok := m[at]; ok {
		if f.kind != 'd' {
			return errModel
		}
		return nil
	}
	if err := m.mkdirs(mparent(at), made); err != nil {
		return err
	}
	m[at] = last
	return nil
}

// remove is Remove.
func (m mfs) remove(p string) error {
	dir, err := m.resolve(path.Dir(p), false)
	if err != nil {
		return err
	}
	at := mjoin(dir, path.Base(p))
	if _, ok := m[at]; !ok || at == "" {
		return errModel
	}
	m.removeAll(at)
	return nil
}

// mmode is a mode of Chmod, spelled and done.
type mmode struct {
	text  string
	octal bool
	of    func(mode uint32, dir bool) uint32
}

var mmodes = []mmode{
	{"755", true, func(uint32, bool) uint32 { return 0o755 }},
	{"4640", true, func(uint32, bool) uint32 { return 0o4640 }},
	{"u+x", false, func(m uint32, _ bool) uint32 { return m | 0o100 }},
	{"go-rwx", false, func(m uint32, _ bool) uint32 { return m &^ 0o077 }},
	{"a=rX", false, func(m uint32, dir bool) uint32 {
		keep := m & 0o1000
		if dir || m&0o111 != 0 {
			return keep | 0o555
		}
		return keep | 0o444
	}},
	{"u=rw,g=u,o-w", false, func(m uint32, _ bool) uint32 { return m&^0o4772 | 0o660 }},
	{"+t,u+s", false, func(m uint32, _ bool) uint32 { return m | 0o5000 }},
}

// mcopy is a copy.
type mcopy struct {
	paths         []string
	dest          string // absolute, may end in "/"
	chown         string // "", "u" or "u:g", numbers
	chmod         *mmode
	exclude       []string
	parents, link bool
	compatible    bool
}

// give is the metadata that a copied file gets.
func (c mcopy) give(f mfile) mfile {
	if c.chown != "" {
		f.uid, f.gid = mids(c.chown)
	}
	if c.chmod != nil && f.kind != 'l' {
		f.mode = c.chmod.of(f.mode, f.kind == 'd')
	}
	return f
}

func mids(owner string) (uid, gid int) {
	if n, _ := fmt.Sscanf(owner, "%d:%d", &uid, &gid); n == 1 {
		gid = uid
	}
	return uid, gid
}

// made is a directory that is made on the way.
func (c mcopy) made() mfile {
	d := mfile{kind: 'd', mode: 0o755}
	if c.chown != "" {
		d.uid, d.gid = mids(c.chown)
	}
	if c.compatible && c.chmod != nil && c.chmod.octal {
		d.mode = c.chmod.of(0, true) & 0o777
	}
	return d
}

// mpattern is a pattern of .dockerignore as a regular expression.
func mpattern(p string) *regexp.Regexp {
	p = strings.ReplaceAll(regexp.QuoteMeta(p), `\*\*/`, "\x00")
	p = strings.ReplaceAll(p, `\*\*`, "\x01")
	p = strings.ReplaceAll(p, `\*`, "[^/]*")
	p = strings.ReplaceAll(p, `\?`, "[^/]")
	return regexp.MustCompile("^" + strings.NewReplacer("\x00", "(.*/)?", "\x01", ".*").Replace(p) + "$")
}

// mmatches reports whether patterns match a path or a directory above it; the last one
// that does decides.
func mmatches(patterns []string, p string) bool {
	matched := false
	for _, pattern := range patterns {
		not := strings.HasPrefix(pattern, "!")
		re := mpattern(strings.TrimPrefix(pattern, "!"))
		for q := p; q != ""; q = mparent(q) {
			if re.MatchString(q) {
				matched = !not
				break
			}
		}
	}
	return matched
}

// msource is one thing that a copy selects: the file or directory at, by its name, and
// what of it is copied. passage are directories there for what is in them.
type msource struct {
	name    string
	at      string
	files   map[string]mfile // below at; "" is what is at at
	passage map[string]bool
	looked  []string // directories that are left out and have directories in them
}

// take makes a source of what is at a path; base stands before the paths that patterns
// see. in says whether the thing itself counts.
func (m mfs) take(name, at, base string, keep func(string) bool) msource {
	s := msource{name: name, at: at, files: map[string]mfile{"": m[at]}, passage: map[string]bool{}}
	if !m.isDir(at) {
		return s
	}
	for _, q := range m.below(at) {
		rel := strings.Trim(strings.TrimPrefix(q, at), "/")
		if !keep(mjoin(base, rel)) {
			if slices.ContainsFunc(m.below(q), m.isDir) {
				s.looked = append(s.looked, rel)
			}
			continue
		}
		s.files[rel] = m[q]
		for d := mparent(rel); d != ""; d = mparent(d) {
			if _, ok := s.files[d]; !ok {
				s.files[d] = m[mjoin(at, d)]
				s.passage[d] = true
			}
		}
	}
	return s
}

// wild reports whether a path of the test has a wildcard.
func wild(p string) bool { return strings.ContainsAny(p, "*?") }

// glob finds the paths that one pattern of path.Match for all of a path selects, links
// not followed on the way.
func (m mfs) glob(top, pattern string) []string {
	var list []string
	for _, q := range m.below(top) {
		if ok, _ := path.Match(pattern, strings.Trim(strings.TrimPrefix(q, top), "/")); ok {
			list = append(list, q)
		}
	}
	return list
}

// pickCompatible is what the paths select by BuildKit's rules.
func (m mfs) pickCompatible(c mcopy, p string) ([]msource, error) {
	var include []string
	needed := ""
	if c.parents {
		before, after, ok := strings.Cut(p, "/./")
		if !ok {
			before, after = ".", p
		}
		include = []string{after}
		if !wild(p) {
			needed = after
		}
		p = before
	}
	if p == "." {
		p = ""
	}
	keep := func(q string) bool {
		return (include == nil || mmatches(include, q)) && !mmatches(c.exclude, q)
	}
	var names []string
	if dir, rest := splitWild(p); rest == "" {
		names = []string{p}
	} else {
		top, err := m.resolve(dir, false)
		if err != nil {
			return nil, err
		}
		if _, ok := m[top]; !ok {
			return nil, errModel
		}
		names = m.glob(top, rest)
	}
	var list []msource
	found := needed == ""
	for _, name := range names {
		at, err := m.resolve(name, false)
		if err != nil {
			return nil, err
		}
		if _, ok := m[at]; !ok {
			return nil, errModel
		}
		s := m.take(name, at, "", keep)
		if _, ok := s.files[needed]; ok {
			found = true
		}
		list = append(list, s)
	}
	if !found {
		return nil, errModel
	}
	return list, nil
}

func splitWild(p string) (dir, rest string) {
	names := strings.Split(p, "/")
	for i, name := range names {
		if wild(name) {
			return strings.Join(names[:i], "/"), strings.Join(names[i:], "/")
		}
	}
	return p, ""
}

// copyCompatible copies by BuildKit's rules.
func (m mfs) copyCompatible(src mfs, c mcopy) error {
	for _, p := range c.paths {
		sources, err := src.pickCompatible(c, p)
		if err != nil {
			return err
		}
		for _, s := range sources {
			if err := m.placeCompatible(c, s); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m mfs) placeCompatible(c mcopy, s msource) error {
	// The directories of the destination, or with a slash all of it.
	above := c.dest
	if !strings.HasSuffix(above, "/") {
		above = path.Dir(above)
	}
	at, err := m.resolve(path.Clean(above), true)
	if err == nil {
		err = m.mkdirs(at, c.made())
	}
	if err != nil {
		return err
	}
	if at, err = m.resolve(path.Clean(c.dest), true); err != nil {
		return err
	}
	isDir := s.files[""].kind == 'd'
	if !isDir && m.isDir(at) {
		at = mjoin(at, path.Base(s.name))
	}
	// A link of the destination can lead below what is not there.
	needed := mparent(at)
	if _, there := m[at]; isDir && !there {
		needed = at
	}
	if err := m.mkdirs(needed, c.made()); err != nil {
		return err
	}
	// BuildKit asks for the directories in a directory that is left out, unless it can know
	// that nothing in it stays.
	again := slices.ContainsFunc(c.exclude, func(p string) bool { return strings.HasPrefix(p, "!") })
	for _, rel := range s.looked {
		if mmatches(c.exclude, rel) && !again {
			continue
		}
		if q, err := m.resolve(mjoin(at, rel), false); err != nil || m[q].kind != 0 && !m.isDir(q) {
			return errModel
		}
	}
	rels := slices.Sorted(maps.Keys(s.files))
	slices.SortFunc(rels, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
	for _, rel := range rels {
		f, to := s.files[rel], mjoin(at, rel)
		there, ok := m[to]
		switch {
		case f.kind != 'd' && m.isDir(to):
			return errModel
		case f.kind != 'd':
			m[to] = c.give(f)
		case ok && there.kind != 'd':
			return errModel
		case !ok:
			m[to] = c.give(f)
		case rel == "": // the destination itself stays
		case s.passage[rel]:
			there.mode = f.mode
			m[to] = there
		default:
			m[to] = c.give(f)
		}
	}
	return nil
}

// follow lists what a pattern of the Go API selects: links are followed at every
// element, "**" is any number of directories.
func (m mfs) follow(name string, elements []string, list *[]string) error {
	if len(elements) == 0 {
		if !slices.Contains(*list, name) {
			if at, err := m.resolve(name, false); err != nil {
				return err
			} else if _, ok := m[at]; !ok {
				return errModel // a link to nothing
			}
			*list = append(*list, name)
		}
		return nil
	}
	at, err := m.resolve(name, false)
	if err != nil || !m.isDir(at) {
		return nil
	}
	first, rest := elements[0], elements[1:]
	if first == "**" && len(rest) > 0 {
		if err := m.follow(name, rest, list); err != nil {
			return err
		}
	}
	for _, q := range m.below(at) {
		if mparent(q) != at {
			continue
		}
		next := rest
		ok, _ := path.Match(first, path.Base(q))
		if first == "**" {
			ok, next = m.isDir(q) || len(rest) == 0, elements
			if !m.isDir(q) {
				next = nil
			}
		}
		if ok {
			if err := m.follow(mjoin(name, path.Base(q)), next, list); err != nil {
				return err
			}
		}
	}
	return nil
}

// names are the paths that a path of the Go API selects below a directory.
func (m mfs) names(top, p string) ([]string, error) {
	if p == "." {
		p = ""
	}
	if wild(p) {
		var list []string
		return list, m.follow(top, strings.Split(p, "/"), &list)
	}
	name := mjoin(top, p)
	at, err := m.resolve(name, false)
	if _, ok := m[at]; ok && err == nil {
		return []string{name}, nil
	}
	if dir, err := m.resolve(mparent(name), false); err == errLoop || err == nil && m[mjoin(dir, path.Base(name))].kind == 'l' {
		return nil, errModel // a link to nothing
	}
	return nil, nil
}

// copyStrict copies by the rules of the Go API.
func (m mfs) copyStrict(src mfs, c mcopy) error {
	type item struct {
		msource
		above []string // directories of the source, of a copy that keeps them
	}
	var list []item
	for _, p := range c.paths {
		tops, after := []string{""}, p
		var err error
		if before, rest, ok := strings.Cut(p, "/./"); ok && c.parents {
			if tops, err = src.names("", before); err != nil {
				return err
			}
			after = rest
		}
		found := false
		for _, top := range tops {
			if top, err = src.resolve(top, false); err != nil {
				return err
			}
			names, err := src.names(top, after)
			if err != nil {
				return err
			}
			for _, name := range names {
				found = true
				at, _ := src.resolve(name, false)
				short := strings.Trim(strings.TrimPrefix(name, top), "/")
				base, self := "", path.Base(name)
				if c.parents {
					base, self = short, short
				}
				it := item{msource: src.take(short, at, base, func(q string) bool { return !mmatches(c.exclude, q) })}
				if out := mmatches(c.exclude, self); out && self != "" && self != "." && (c.parents || !src.isDir(at)) && len(it.files) == 1 {
					continue
				}
				if c.parents {
					for d := mparent(short); d != ""; d = mparent(d) {
						it.above = append([]string{mjoin(top, d)}, it.above...)
					}
				}
				list = append(list, it)
			}
		}
		if !found {
			return errModel
		}
	}
	directory := strings.HasSuffix(c.dest, "/")
	if len(list) > 1 && !directory || len(c.paths) > 1 && !directory {
		return errModel
	}
	at, err := m.resolve(c.dest, false)
	if err != nil {
		return err
	}
	directory = directory || m.isDir(at)
	for _, it := range list {
		to := at
		if len(it.above) > 0 {
			if err := m.mkdirs(at, c.made()); err != nil {
				return err
			}
			for _, d := range it.above {
				to = mjoin(to, path.Base(d))
				real, _ := src.resolve(d, false)
				if f, ok := m[to]; !ok {
					m[to] = c.give(src[real])
				} else if f.kind != 'd' {
					return errModel
				}
			}
			to = mjoin(to, path.Base(it.name))
		} else if it.files[""].kind == 'd' {
			if err := m.mkdirs(at, c.made()); err != nil {
				return err
			}
		} else {
			if directory {
				to = mjoin(at, path.Base(it.name))
			}
			if err := m.mkdirs(mparent(to), c.made()); err != nil {
				return err
			}
		}
		rels := slices.Sorted(maps.Keys(it.files))
		slices.SortFunc(rels, func(a, b string) int { return slices.Compare(strings.Split(a, "/"), strings.Split(b, "/")) })
		for _, rel := range rels {
			f, p := it.files[rel], mjoin(to, rel)
			there, ok := m[p]
			switch {
			case ok && (f.kind == 'd') != (there.kind == 'd'):
				return errModel
			case f.kind == 'd' && rel == "" && len(it.above) == 0:
			default:
				m[p] = c.give(f)
			}
		}
	}
	return nil
}

// copy does a copy; after an error the files are not to be used.
func (m mfs) copy(src mfs, c mcopy) error {
	do := mfs.copyStrict
	if c.compatible {
		do = mfs.copyCompatible
	}
	if !c.link || c.compatible && c.chmod != nil {
		return do(m, src, c)
	}
	// A copy on its own, laid over the files.
	alone := mfs{"": {kind: 'd', mode: 0o755}}
	if err := do(alone, src, c); err != nil {
		return err
	}
	for _, p := range alone.below("") {
		if f := alone[p]; f.kind != 'd' || !m.isDir(p) {
			m.removeAll(p)
		}
		m[p] = alone[p]
	}
	return nil
}
