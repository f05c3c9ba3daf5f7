package namespaces

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/stagewright/stagewright/stage/sandbox"
)

// machine is what this process may do.
type machine struct {
	privileged bool // mount and give any id without a user namespace
	initial    bool // in the initial user namespace
	setgroups  bool // setgroups(2) is allowed, user_namespaces(7)
	ids        sandbox.IDs
	lastCap    uint
}

var thisMachine = sync.OnceValue(func() machine {
	m := machine{lastCap: 40}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&hdr, &data[0]) == nil {
		m.privileged = os.Geteuid() == 0 && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
	}
	m.ids = sandbox.IDs{UIDs: readMap("/proc/self/uid_map"), GIDs: readMap("/proc/self/gid_map")}
	m.initial = slices.Equal(m.ids.UIDs, allIDs) && slices.Equal(m.ids.GIDs, allIDs)
	if b, err := os.ReadFile("/proc/self/setgroups"); err == nil {
		m.setgroups = strings.TrimSpace(string(b)) == "allow"
	}
	if b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap"); err == nil {
		if v, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 6); err == nil {
			m.lastCap = uint(v)
		}
	}
	return m
})

// allIDs is the map of the initial user namespace.
var allIDs = []sandbox.IDRange{{Size: 1<<32 - 1}}

// readMap reads the id map of this process, user_namespaces(7).
func readMap(path string) []sandbox.IDRange {
	b, err := os.ReadFile(path)
	if err != nil {
		return allIDs // a kernel without user namespaces
	}
	var out []sandbox.IDRange
	for line := range strings.Lines(string(b)) {
		var r sandbox.IDRange
		if _, err := fmt.Sscan(line, &r.Inside, &r.Outside, &r.Size); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// identity is how a Spec's ids become real ones.
type identity struct {
	userNS     bool // make a user namespace
	ids        sandbox.IDs
	setgroups  bool // setgroups(2) is allowed inside
	viaHelpers bool // newuidmap and newgidmap write the maps
	// rootOutside: the user namespace has all ids of this process and is there for the
	// binfmt_misc that it can have; the root is mounted by this process.
	rootOutside bool
	// idmapped: id 0 of this process is none of the user namespace, and files have the ids
	// inside; see sandbox.Root.Idmapped. rootOutside is true as well.
	idmapped bool
}

// same reports whether two are one and the same to a starting process.
func (id *identity) same(o *identity) bool {
	return id.userNS == o.userNS && id.setgroups == o.setgroups && id.viaHelpers == o.viaHelpers && id.idmapped == o.idmapped &&
		slices.Equal(id.ids.UIDs, o.ids.UIDs) && slices.Equal(id.ids.GIDs, o.ids.GIDs)
}

// identify chooses the user namespace for root, where one of the step's own is needed or not.
func identify(m machine, root *sandbox.Root, own bool) identity {
	if root.Idmapped {
		return identity{userNS: true, ids: root.IDs, setgroups: true, rootOutside: true, idmapped: true}
	}
	if !root.IDs.IsZero() {
		own := ownIDs()
		return identity{
			userNS:     true,
			ids:        root.IDs,
			setgroups:  m.privileged || !sameIDs(root.IDs, own),
			viaHelpers: !m.privileged && !sameIDs(root.IDs, own),
		}
	}
	if m.privileged && own {
		return identity{userNS: true, ids: identical(m.ids), setgroups: m.setgroups, rootOutside: true}
	}
	if m.privileged {
		return identity{ids: m.ids, setgroups: m.setgroups}
	}
	return identity{userNS: true, ids: ownIDs()}
}

// identical maps all ids of a user namespace to themselves.
func identical(ids sandbox.IDs) sandbox.IDs {
	same := func(ranges []sandbox.IDRange) []sandbox.IDRange {
		out := slices.Clone(ranges)
		for i := range out {
			out[i].Outside = out[i].Inside
		}
		return out
	}
	return sandbox.IDs{UIDs: same(ids.UIDs), GIDs: same(ids.GIDs)}
}

// ownIDs is the one mapping that needs no privilege.
func ownIDs() sandbox.IDs {
	return sandbox.IDs{
		UIDs: []sandbox.IDRange{{Outside: uint32(os.Geteuid()), Size: 1}},
		GIDs: []sandbox.IDRange{{Outside: uint32(os.Getegid()), Size: 1}},
	}
}

func sameIDs(a, b sandbox.IDs) bool {
	return len(a.UIDs) == 1 && len(a.GIDs) == 1 && a.UIDs[0] == b.UIDs[0] && a.GIDs[0] == b.GIDs[0]
}

func has(ranges []sandbox.IDRange, v uint32) bool {
	_, ok := outside(ranges, v)
	return ok
}

// check refuses a Spec that needs an id which does not exist inside.
func (id *identity) check(s *sandbox.Spec) error {
	uid := func(what string, v uint32) error {
		if has(id.ids.UIDs, v) {
			return nil
		}
		return &sandbox.UnmappedIDError{What: what, ID: v}
	}
	gid := func(what string, v uint32) error {
		if has(id.ids.GIDs, v) {
			return nil
		}
		return &sandbox.UnmappedIDError{What: what, ID: v, Group: true}
	}
	err := cmp.Or(uid("User.UID", s.User.UID), gid("User.GID", s.User.GID))
	for i, g := range s.User.Groups {
		err = cmp.Or(err, gid(fmt.Sprintf("User.Groups[%d]", i), g))
	}
	for i, m := range s.Mounts {
		if m.Type != sandbox.MountBind {
			err = cmp.Or(err, uid(fmt.Sprintf("Mounts[%d].UID", i), m.UID), gid(fmt.Sprintf("Mounts[%d].GID", i), m.GID))
		}
	}
	return err
}

// apply sets up the process attributes of the child.
func (id *identity) apply(attr *syscall.SysProcAttr, m machine) {
	if !id.userNS {
		return
	}
	attr.Cloneflags |= syscall.CLONE_NEWUSER
	if id.viaHelpers {
		// Until the helpers have written the maps, the child is nobody in its
		// namespace. Ambient capabilities stay with it through execve, so that
		// it need not execute itself a second time afterwards.
		for c := uintptr(0); c <= uintptr(m.lastCap); c++ {
			attr.AmbientCaps = append(attr.AmbientCaps, c)
		}
		return
	}
	attr.UidMappings = goMap(id.ids.UIDs)
	attr.GidMappings = goMap(id.ids.GIDs)
	attr.GidMappingsEnableSetgroups = id.setgroups
	if id.idmapped {
		attr.Credential = &syscall.Credential{} // else it would be nobody there
	}
}

// outside is what an id inside is in the user namespace of this process.
func outside(ranges []sandbox.IDRange, v uint32) (int, bool) {
	for _, r := range ranges {
		if v >= r.Inside && uint64(v) < uint64(r.Inside)+uint64(r.Size) {
			return int(r.Outside + (v - r.Inside)), true
		}
	}
	return 0, false
}

func goMap(ranges []sandbox.IDRange) []syscall.SysProcIDMap {
	out := make([]syscall.SysProcIDMap, len(ranges))
	for i, r := range ranges {
		out[i] = syscall.SysProcIDMap{ContainerID: int(r.Inside), HostID: int(r.Outside), Size: int(r.Size)}
	}
	return out
}

// writeMaps has the setuid helpers write the maps of process pid.
func (id *identity) writeMaps(pid int) error {
	for _, h := range []struct {
		name   string
		ranges []sandbox.IDRange
	}{{"newuidmap", id.ids.UIDs}, {"newgidmap", id.ids.GIDs}} {
		program, err := findHelper(h.name)
		if err != nil {
			return err
		}
		args := []string{strconv.Itoa(pid)}
		for _, r := range h.ranges {
			for _, v := range []uint32{r.Inside, r.Outside, r.Size} {
				args = append(args, strconv.FormatUint(uint64(v), 10))
			}
		}
		cmd := exec.Command(program, args...)
		cmd.Env = []string{}
		if out, err := cmd.CombinedOutput(); err != nil {
			return &sandbox.UnavailableError{
				Cause: h.name + " refused the id ranges: " + string(bytes.TrimSpace(out)),
				Fix:   "give this user ranges in /etc/subuid and /etc/subgid (usermod --add-subuids), or leave Root.IDs empty",
				Err:   err,
			}
		}
	}
	return nil
}

func findHelper(name string) (string, error) {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"} {
		if st, err := os.Stat(dir + "/" + name); err == nil && st.Mode().IsRegular() {
			return dir + "/" + name, nil
		}
	}
	return "", &sandbox.UnavailableError{
		Cause: name + " is not installed, so an ordinary user has one id only",
		Fix:   "install it (Debian and Ubuntu: uidmap, Fedora: shadow-utils), or leave Root.IDs empty",
	}
}

// subordinateIDs reads the ranges of the current user.
func subordinateIDs() (sandbox.IDs, error) {
	for _, h := range []string{"newuidmap", "newgidmap"} {
		if _, err := findHelper(h); err != nil {
			return sandbox.IDs{}, err
		}
	}
	ids := ownIDs()
	for _, f := range []struct {
		path   string
		ranges *[]sandbox.IDRange
	}{{"/etc/subuid", &ids.UIDs}, {"/etc/subgid", &ids.GIDs}} {
		more, err := readSubIDs(f.path)
		if err != nil {
			return sandbox.IDs{}, err
		}
		next := uint32(1)
		for _, r := range more {
			r.Inside = next
			next += r.Size
			*f.ranges = append(*f.ranges, r)
		}
	}
	return ids, nil
}

// readSubIDs returns this user's ranges in a subuid(5) or subgid(5) file.
func readSubIDs(path string) ([]sandbox.IDRange, error) {
	none := &sandbox.UnavailableError{
		Cause: "this user has no id ranges in " + path,
		Fix:   "add some (usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME), or leave Root.IDs empty",
	}
	b, err := os.ReadFile(path)
	if err != nil {
		none.Err = err
		return nil, none
	}
	uid := strconv.Itoa(os.Getuid())
	login := loginName(uid)
	var out []sandbox.IDRange
	var total uint64
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) != 3 || f[0] != uid && (login == "" || f[0] != login) {
			continue
		}
		start, err1 := strconv.ParseUint(f[1], 10, 32)
		count, err2 := strconv.ParseUint(f[2], 10, 32)
		if err1 != nil || err2 != nil || count == 0 || start+count >= 1<<32-1 || total+count >= 1<<31 {
			return nil, fmt.Errorf("sandbox: %s: bad line %q", path, strings.TrimSpace(line))
		}
		total += count
		out = append(out, sandbox.IDRange{Outside: uint32(start), Size: uint32(count)})
	}
	if len(out) == 0 {
		return nil, none
	}
	return out, nil
}

// loginName looks the user up in /etc/passwd, "" when it is not there. Package
// os/user would bring cgo.
func loginName(uid string) string {
	b, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(line, ":"); len(f) > 2 && f[2] == uid {
			return f[0]
		}
	}
	return ""
}
