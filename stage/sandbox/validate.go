package sandbox

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Validate reports the first thing in s that no Runner could make sense of, as
// an *InvalidSpecError, or nil. Runners call it; nothing on the machine is looked at.
func (s *Spec) Validate() error {
	if s == nil {
		return &InvalidSpecError{Field: "Spec", Reason: "is nil"}
	}
	if err := s.Root.validate(); err != nil {
		return err
	}
	if len(s.Args) == 0 || s.Args[0] == "" {
		return &InvalidSpecError{Field: "Args", Reason: "names no command"}
	}
	for i, a := range s.Args {
		if strings.IndexByte(a, 0) >= 0 {
			return invalid(fmt.Sprintf("Args[%d]", i), "contains a zero byte")
		}
	}
	for i, e := range s.Env {
		if strings.IndexByte(e, 0) >= 0 {
			return invalid(fmt.Sprintf("Env[%d]", i), "contains a zero byte")
		}
		if strings.IndexByte(e, '=') < 1 {
			return invalid(fmt.Sprintf("Env[%d]", i), fmt.Sprintf("is %q and should be NAME=value", e))
		}
	}
	if s.Dir != "" {
		if err := insidePath("Dir", s.Dir); err != nil {
			return err
		}
	}
	if len(s.Hostname) > 64 || strings.IndexByte(s.Hostname, 0) >= 0 {
		return invalid("Hostname", "is longer than 64 bytes or contains a zero byte")
	}
	if s.Network > NetworkNone {
		return invalid("Network", "is neither NetworkHost nor NetworkNone")
	}
	if err := s.User.validate(); err != nil {
		return err
	}
	if err := s.Limits.Validate(); err != nil {
		return err
	}
	if err := s.validatePlatform(); err != nil {
		return err
	}
	return s.validateMounts()
}

func (s *Spec) validatePlatform() error {
	if s.Platform.OS != "linux" && !s.Platform.IsZero() {
		return invalid("Platform", fmt.Sprintf("is %s, and only programs for linux can be run", s.Platform))
	}
	for _, arch := range slices.Sorted(maps.Keys(s.Emulators)) {
		if err := hostPath(fmt.Sprintf("Emulators[%q]", arch), s.Emulators[arch]); err != nil {
			return err
		}
	}
	return nil
}

// noID is not an id: setresuid(2) and chown(2) take it for "leave as it is".
const noID = 1<<32 - 1

func (u *User) validate() error {
	const reason = "is 4294967295, which is no id"
	if u.UID == noID {
		return invalid("User.UID", reason)
	}
	if u.GID == noID {
		return invalid("User.GID", reason)
	}
	if len(u.Groups) > 65536 { // NGROUPS_MAX
		return invalid("User.Groups", "has more than 65536 entries")
	}
	if i := slices.Index(u.Groups, noID); i >= 0 {
		return invalid(fmt.Sprintf("User.Groups[%d]", i), reason)
	}
	return nil
}

func (s *Spec) validateMounts() error {
	var data int
	for i := range s.Mounts {
		m := &s.Mounts[i]
		field := fmt.Sprintf("Mounts[%d]", i)
		if err := m.validate(field); err != nil {
			return err
		}
		if data += len(m.Data); data > MaxFileData {
			return invalid(field+".Data", fmt.Sprintf("takes the files of this spec beyond %d bytes; bind a file of the host instead", MaxFileData))
		}
	}
	return nil
}

func (r *Root) validate() error {
	if len(r.Lowers) == 0 && r.Upper == "" {
		return invalid("Root", "has neither Lowers nor Upper")
	}
	if len(r.Lowers) > MaxLowers {
		return invalid("Root.Lowers", fmt.Sprintf("has %d layers and the kernel takes %d; merge some first", len(r.Lowers), MaxLowers))
	}
	for i, l := range r.Lowers {
		if err := hostPath(fmt.Sprintf("Root.Lowers[%d]", i), l); err != nil {
			return err
		}
	}
	if (r.Upper == "") != (r.Work == "") {
		return invalid("Root", "needs both Upper and Work, or neither for a read-only root")
	}
	if r.Upper != "" {
		if err := hostPath("Root.Upper", r.Upper); err != nil {
			return err
		}
		if err := hostPath("Root.Work", r.Work); err != nil {
			return err
		}
	}
	if err := validateRanges("Root.IDs.UIDs", r.IDs.UIDs); err != nil {
		return err
	}
	if err := validateRanges("Root.IDs.GIDs", r.IDs.GIDs); err != nil {
		return err
	}
	if (len(r.IDs.UIDs) == 0) != (len(r.IDs.GIDs) == 0) {
		return invalid("Root.IDs", "needs both UIDs and GIDs, or neither")
	}
	if r.Idmapped && r.IDs.IsZero() {
		return invalid("Root.Idmapped", "needs Root.IDs, which say what the ids are outside")
	}
	return nil
}

// maxRanges is the number of lines that the kernel takes in a uid_map (user_namespaces(7)).
const maxRanges = 340

func validateRanges(field string, ranges []IDRange) error {
	if len(ranges) > maxRanges {
		return invalid(field, fmt.Sprintf("has %d ranges and the kernel takes %d", len(ranges), maxRanges))
	}
	zero := len(ranges) == 0
	for i, r := range ranges {
		if r.Size == 0 || uint64(r.Inside)+uint64(r.Size) > noID || uint64(r.Outside)+uint64(r.Size) > noID {
			return invalid(fmt.Sprintf("%s[%d]", field, i), "is empty or reaches beyond the largest id")
		}
		zero = zero || r.Inside == 0
	}
	if !zero {
		return invalid(field, "does not map id 0, which prepares the root")
	}
	return nil
}

func (m *Mount) validate(field string) error {
	if err := insidePath(field+".Target", m.Target); err != nil {
		return err
	}
	switch t := path.Clean(m.Target); {
	case t == "/":
		return invalid(field+".Target", "is the root itself; put the directory in Root.Lowers instead")
	case t == "/proc" || strings.HasPrefix(t, "/proc/"):
		return invalid(field+".Target", "is in /proc, which belongs to the sandbox")
	}
	if m.Mode&^0o7777 != 0 {
		return invalid(field+".Mode", fmt.Sprintf("is %#o; only the bits 07777 have a meaning", m.Mode))
	}
	if m.UID == noID || m.GID == noID {
		return invalid(field+".UID", "or GID is 4294967295, which is no id")
	}
	switch m.Type {
	case MountBind:
		return hostPath(field+".Source", m.Source)
	case MountTmpfs:
		if m.Size < 0 {
			return invalid(field+".Size", "is negative")
		}
		return nil
	case MountFile:
		return nil
	case MountSocket:
		if m.Serve == nil {
			return invalid(field+".Serve", "is nil, so nobody would answer")
		}
		return nil
	}
	return invalid(field+".Type", "is none of MountBind, MountTmpfs, MountFile and MountSocket")
}

func hostPath(field, p string) error {
	if !filepath.IsAbs(p) || strings.IndexByte(p, 0) >= 0 {
		return invalid(field, fmt.Sprintf("is %q and should be an absolute path of the host", p))
	}
	return nil
}

func insidePath(field, p string) error {
	if !strings.HasPrefix(p, "/") || strings.IndexByte(p, 0) >= 0 {
		return invalid(field, fmt.Sprintf("is %q and should be an absolute path inside the root", p))
	}
	if len(p) > 4095 {
		return invalid(field, "is longer than 4095 bytes")
	}
	return nil
}

func invalid(field, reason string) error {
	return &InvalidSpecError{Field: field, Reason: reason}
}
