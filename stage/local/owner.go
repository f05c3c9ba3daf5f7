package local

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/stagewright/stagewright/internal/tree"
	"github.com/stagewright/stagewright/stage/sandbox"
)

// maxAccounts bounds how much of /etc/passwd and /etc/group is read.
const maxAccounts = 16 << 20

// accounts are the users and groups of a stage's files: passwd(5), group(5).
type accounts struct {
	root *tree.Node
	open tree.Opener
	// independent says that no files are looked at, so that only numbers are known.
	independent bool
	// empty says that there are no files at all, where BuildKit looks no name up.
	empty bool
}

// find calls yield with the fields of each line of a colon separated file until
// it returns true. A file that is not there has no lines.
func (a accounts) find(file string, fields int, yield func([]string) bool) error {
	if a.independent {
		return &fixError{errors.New("names of users and groups cannot be looked up for a copy that is independent of the files below it"), "use numbers: uid:gid"}
	}
	_, n, err := tree.Resolve(a.root, file, true)
	if isNotThere(err) || err == nil && (n == nil || n.Kind() != tree.File) {
		return nil
	}
	if err != nil {
		return err
	}
	rc, err := a.open(n.Content())
	if err != nil {
		return fmt.Errorf("/%s: %w", file, err)
	}
	defer rc.Close()
	lines := bufio.NewScanner(io.LimitReader(rc, maxAccounts))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if f := strings.Split(line, ":"); len(f) >= fields && yield(f) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("/%s: %w", file, err)
	}
	return nil
}

// parseID reads a number in the range of ids; a name is not an error.
func parseID(s string) (uint32, bool) {
	id, err := strconv.ParseUint(s, 10, 31)
	return uint32(id), err == nil
}

type user struct {
	name     string
	uid, gid uint32
	home     string // of the first line with the uid
}

// user finds a user by name, or by number. known is false for a number that
// nobody has.
func (a accounts) user(spec string) (u user, known bool, err error) {
	id, numeric := parseID(spec)
	homes := map[uint32]string{}
	err = a.find("etc/passwd", 4, func(f []string) bool {
		uid, ok1 := parseID(f[2])
		gid, ok2 := parseID(f[3])
		if !ok1 || !ok2 {
			return false
		}
		if _, later := homes[uid]; !later && len(f) > 5 {
			homes[uid] = f[5]
		}
		if f[0] != spec && (!numeric || uid != id) {
			return false
		}
		u, known = user{name: f[0], uid: uid, gid: gid, home: homes[uid]}, true
		return true
	})
	if err == nil && !known {
		if !numeric {
			return u, false, fmt.Errorf("no user %q in the stage's /etc/passwd", spec)
		}
		u = user{uid: id}
	}
	return u, known, err
}

func (a accounts) group(spec string) (gid uint32, err error) {
	if id, ok := parseID(spec); ok {
		return id, nil
	}
	found := false
	err = a.find("etc/group", 3, func(f []string) bool {
		id, ok := parseID(f[2])
		if !ok || f[0] != spec {
			return false
		}
		gid, found = id, true
		return true
	})
	if err == nil && !found {
		err = fmt.Errorf("no group %q in the stage's /etc/group", spec)
	}
	return gid, err
}

// owner reads "user", "user:group" for a copy: a name alone has its group, a
// number alone the group of the same number.
func (a accounts) owner(spec string) (*owner, error) {
	if spec == "" {
		return nil, nil
	}
	name, group, both := strings.Cut(spec, ":")
	var o owner
	if id, ok := parseID(name); ok {
		o = owner{id, id}
	} else {
		u, _, err := a.user(name)
		if err != nil {
			return nil, err
		}
		o = owner{u.uid, u.gid}
	}
	if both {
		gid, err := a.group(group)
		if err != nil {
			return nil, err
		}
		o.gid = gid
	}
	return &o, nil
}

// compatibleOwner is owner as BuildKit reads it: who is not in the stage's files, or has
// no valid number there, is 0, "user:" is "user", and root is 0 without looking.
func (a accounts) compatibleOwner(spec string) (*owner, error) {
	if spec == "" {
		return nil, nil
	}
	name, group, _ := strings.Cut(spec, ":")
	var o owner
	if id, ok, err := compatibleID(name); err != nil {
		return nil, err
	} else if ok {
		o = owner{id, id}
	} else if a.empty {
		return nil, fmt.Errorf("no user %q: the stage is empty", name)
	} else if err := a.find("etc/passwd", 1, func(f []string) bool {
		if f[0] == name {
			o = owner{lenientID(f, 2), lenientID(f, 3)}
		}
		return f[0] == name
	}); err != nil {
		return nil, err
	}
	if group == "" {
		return &o, nil
	}
	if id, ok, err := compatibleID(group); err != nil {
		return nil, err
	} else if ok {
		o.gid = id
	} else if a.empty {
		return nil, fmt.Errorf("no group %q: the stage is empty", group)
	} else if err := a.find("etc/group", 1, func(f []string) bool {
		if f[0] == group {
			o.gid = lenientID(f, 2)
		}
		return f[0] == group
	}); err != nil {
		return nil, err
	}
	return &o, nil
}

// compatibleID reads a number, for which the name root and nothing stand, too.
func compatibleID(s string) (id uint32, ok bool, err error) {
	if s == "root" || s == "" {
		return 0, true, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, false, nil
	}
	if n < 0 {
		return 0, false, fmt.Errorf("owner %q: an id cannot be negative", s)
	}
	return uint32(n), true, nil
}

// lenientID is a field of an account, 0 where it is none.
func lenientID(fields []string, i int) uint32 {
	if i >= len(fields) {
		return 0
	}
	id, _ := parseID(fields[i])
	return id
}

// account is who a process runs as.
type account struct {
	sandbox.User
	home string
}

// process reads the USER of a Run step: a name or a known number has the groups
// of /etc/passwd and /etc/group, an unknown number group 0, and "user:group" that
// group alone. As in container engines the group itself is one of the supplementary
// groups.
func (a accounts) process(spec string) (account, error) {
	if spec == "" {
		spec = "0"
	}
	name, group, both := strings.Cut(spec, ":")
	u, known, err := a.user(name)
	if err != nil {
		return account{}, err
	}
	p := account{sandbox.User{UID: u.uid, GID: u.gid}, u.home}
	if !known {
		p.home = "/" // as runc has it
	}
	if both {
		p.GID, err = a.group(group)
		p.Groups = []uint32{p.GID}
		return p, err
	}
	p.Groups = []uint32{p.GID}
	if !known {
		return p, nil
	}
	err = a.find("etc/group", 4, func(f []string) bool {
		if id, ok := parseID(f[2]); ok && id != p.GID {
			for member := range strings.SplitSeq(f[3], ",") {
				if member == u.name {
					p.Groups = append(p.Groups, id)
					break
				}
			}
		}
		return false
	})
	return p, err
}
